"""The order of a GEMM's tiles, and addresses that follow it (docs/engine.md)."""

from amaranth.hdl import Module, Mux, Signal, Value, ValueLike
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.sharing import Shared
from mixdit_sw.engine.commands import FIELDS

TILES = FIELDS["row_tiles"].width


class TileLoop(wiring.Component):
    """Walks through panels of stationary tiles, and for each through all streamed tiles.

    For each panel, for each streamed tile, for each tile of the panel. Every other panel goes
    through the streamed tiles backwards, so that the last one of a panel is the first of the next.

    Members
    -------
    start : 1
        Begin a GEMM with `stationary` and `streamed` tiles, `panel` stationary ones at a time.
    next : 1
        Go on to the next tile.
    stationary, streamed, panel : int
        Held by the user until the GEMM's end.
    first_panel, first_streamed, last_in_panel, last_streamed, last_panel : 1
        Of the present tile.
    panel_tiles : int
        Tiles of the present panel.
    backwards : 1
        The present panel goes backwards.
    """

    start: In(1)
    next: In(1)
    stationary: In(TILES)
    streamed: In(TILES)
    panel: In(TILES)
    first_panel: Out(1)
    first_streamed: Out(1)
    last_in_panel: Out(1)
    last_streamed: Out(1)
    last_panel: Out(1)
    panel_tiles: Out(TILES)
    backwards: Out(1)

    def elaborate(self, platform: object) -> Module:
        """Three counters, two of them from 1: comparing them needs no subtraction."""
        m = Module()
        left, tile, step = Signal(TILES), Signal(TILES), Signal(TILES)
        # What its proof speaks of (mixdit_hw.formal.tiles).
        self._left, self._tile, self._step = left, tile, step
        m.d.comb += [
            self.last_panel.eq(left <= self.panel),
            self.panel_tiles.eq(Mux(self.last_panel, left, self.panel)),
            self.last_in_panel.eq(Mux(self.last_panel, tile == left, tile == self.panel)),
            self.first_streamed.eq(step == 1),
            self.last_streamed.eq(step == self.streamed),
        ]
        with m.If(self.start):
            m.d.sync += [
                left.eq(self.stationary),
                tile.eq(1),
                step.eq(1),
                self.first_panel.eq(1),
                self.backwards.eq(0),
            ]
        with m.Elif(self.next):
            m.d.sync += tile.eq(Mux(self.last_in_panel, 1, tile + 1))
            with m.If(self.last_in_panel):
                m.d.sync += step.eq(Mux(self.last_streamed, 1, step + 1))
            with m.If(self.last_in_panel & self.last_streamed):
                m.d.sync += [
                    left.eq(left - self.panel),
                    self.first_panel.eq(0),
                    self.backwards.eq(~self.backwards),
                ]
        return m


class TileAddress(wiring.Component):
    """Address of what belongs to the present tile of a `TileLoop`.

    Members
    -------
    start : 1
        Begin at `base`.
    next, last_in_panel, last_streamed, backwards : 1
        Of the loop.
    base, stationary_step, streamed_step : int
        In bus words; the steps from a tile to the next of either operand.
    address : int
        Of the present tile.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        flags = ("start", "next", "last_in_panel", "last_streamed", "backwards")
        super().__init__(
            {
                **{name: In(1) for name in flags},
                "base": In(width),
                "stationary_step": In(width),
                "streamed_step": In(width),
                "address": Out(width),
            }
        )

    @property
    def module_name(self) -> str:
        """Name that encodes all parameters."""
        return f"tile_address_{self._width}"

    def elaborate(self, platform: object) -> Module:
        """Remember where the panel's first tile lies; one adder for each direction."""
        m = Module()
        here = Signal(self._width, reset_less=True)
        panel_start = Signal(self._width, reset_less=True)
        back = self.backwards.replicate(self._width)
        down, across = Signal(self._width), Signal(self._width)
        m.d.comb += [
            self.address.eq(here),
            down.eq(here + self.stationary_step),
            across.eq(panel_start + (self.streamed_step ^ back) + self.backwards),
        ]
        with m.If(self.start):
            m.d.sync += [here.eq(self.base), panel_start.eq(self.base)]
        with m.Elif(self.next):
            with m.If(~self.last_in_panel):
                m.d.sync += here.eq(down)
            with m.Elif(~self.last_streamed):
                m.d.sync += [here.eq(across), panel_start.eq(across)]
            with m.Else():
                m.d.sync += [here.eq(down), panel_start.eq(down)]
        return m


def connect_loop(m: Module, loop: TileLoop, command: data.View, start: Value) -> None:
    """Let a loop walk through the tiles of a command that is in registers from `start` on."""
    b = command.stationary_b
    m.d.comb += [
        loop.start.eq(start),
        loop.stationary.eq(Mux(b, command.col_tiles, command.row_tiles)),
        loop.streamed.eq(Mux(b, command.row_tiles, command.col_tiles)),
        loop.panel.eq(command.panel),
    ]


def tile_address(
    m: Module,
    name: str,
    loop: TileLoop,
    command: data.View,
    start: Value,
    distances: tuple[ValueLike, ValueLike],
) -> Value:
    """Return the address of what belongs to the loop's present tile, in bus words.

    Parameters
    ----------
    m, name
        Module of the loop; `<name>_address` is the command's field for the first tile.
    loop, command, start
        As for `connect_loop`.
    distances
        From a tile to the one below, and to the right.
    """
    base = command[f"{name}_address"]
    address = Shared(TileAddress(len(base)))
    m.submodules[f"{name}_address"] = address
    below, right = distances
    b = command.stationary_b
    m.d.comb += [
        address.start.eq(start),
        address.base.eq(base),
        address.stationary_step.eq(Mux(b, right, below)),
        address.streamed_step.eq(Mux(b, below, right)),
        *(
            getattr(address, flag).eq(getattr(loop, flag))
            for flag in ("next", "last_in_panel", "last_streamed", "backwards")
        ),
    ]
    return address.address
