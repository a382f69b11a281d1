"""The order of tiles is the documented one, meets each tile once, and addresses follow it."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from mixdit_hw.engine.tiles import TileAddress, TileLoop
from mixdit_hw.formal.inside import find, open_unit
from mixdit_hw.formal.properties import assume, check, cover, implies, never_reset

BITS = 3
"""Of the number of tiles of either operand, here."""
WIDTH = 7
"""Of addresses, here."""


class TileOrder:
    """Where a walk through tiles is, as docs/programming.md says it.

    Members
    -------
    stationary, streamed, panel : value
        Of the walk.
    active : 1
        There is a present tile.
    t, s : int
        The present stationary and streamed tile.
    first, end : int
        The panel's first stationary tile, and the one behind its last.
    back : 1
        The panel goes backwards.
    in_panel, in_way, of_all : 1
        The present tile is the last of its panel's for a streamed tile; its streamed tile is its
        panel's last; its panel is the last.
    """

    def __init__(
        self, m: Module, start: Value, go_on: Value, sizes: tuple[Value, Value, Value], bits: int
    ) -> None:
        self.stationary, self.streamed, self.panel = sizes
        self.active, self.back = Signal(name="order_active"), Signal(name="order_back")
        self.t, self.s = Signal(bits, name="order_t"), Signal(bits, name="order_s")
        self.first, self.end = Signal(bits, name="order_first"), Signal(bits, name="order_end")
        behind = self.first + self.panel
        self.in_panel, self.in_way = self.t + 1 == self.end, self.s == self.edge(self.back)
        self.of_all = self.end == self.stationary
        m.d.comb += self.end.eq(Mux(behind < self.stationary, behind, self.stationary))
        with m.If(start):
            m.d.sync += [self.active.eq(1), self.back.eq(0)]
            m.d.sync += [self.t.eq(0), self.s.eq(0), self.first.eq(0)]
        with m.Elif(go_on):
            with m.If(~self.in_panel):
                m.d.sync += self.t.eq(self.t + 1)
            with m.Elif(~self.in_way):
                m.d.sync += self.t.eq(self.first)
                m.d.sync += self.s.eq(Mux(self.back, self.s - 1, self.s + 1))
            with m.Elif(~self.of_all):
                m.d.sync += [self.t.eq(self.end), self.first.eq(self.end), self.back.eq(~self.back)]
            with m.Else():
                m.d.sync += self.active.eq(0)

    @property
    def last(self) -> Value:
        """The present tile is the last of all."""
        return self.in_panel & self.in_way & self.of_all

    @property
    def starts_way(self) -> Value:
        """The present streamed tile is its panel's first."""
        return self.s == self.edge(~self.back)

    def edge(self, back: Value) -> Value:
        """Return the last streamed tile of a panel that goes backwards, or not."""
        return Mux(back, 0, self.streamed - 1)

    def way(self, s: Value) -> Value:
        """Return how many streamed tiles of the panel come before one."""
        return Mux(self.back, self.streamed - 1 - s, s)

    def met(self, t: Value, s: Value) -> Value:
        """Return whether a tile has been the present one, and is not any more."""
        in_this = (self.way(s) < self.way(self.s)) | ((s == self.s) & (t < self.t))
        return (t < self.first) | ((t < self.end) & in_this)

    def check_range(self, m: Module) -> None:
        """State that it stays among the tiles there are."""
        inside = (self.first <= self.t) & (self.t < self.end) & (self.s < self.streamed)
        check(m, "inside", implies(self.active, inside & (self.first < self.stationary)))


def check_loop(m: Module, loop: TileLoop, order: TileOrder) -> None:
    """Check that a loop's flags and counters are those of the order."""
    for name, condition in {
        "last_in_panel": loop.last_in_panel == order.in_panel,
        "last_streamed": loop.last_streamed == order.in_way,
        "last_panel": loop.last_panel == order.of_all,
        "first_panel": loop.first_panel == (order.first == 0),
        "first_streamed": loop.first_streamed == order.starts_way,
        "panel_tiles": loop.panel_tiles == order.end - order.first,
        "backwards": loop.backwards == order.back,
        "left": loop._left == order.stationary - order.first,
        "tile": loop._tile == order.t - order.first + 1,
        "step": loop._step == order.way(order.s) + 1,
    }.items():
        check(m, name, implies(order.active, condition))


def check_address(
    m: Module,
    name: str,
    unit: TileAddress,
    order: TileOrder,
    base: Value,
    steps: tuple[Value, Value],
) -> Signal:
    """Check that an address is a first one and so many steps of the two operands; return it."""
    panel_start = find(open_unit(unit), "panel_start")
    stationary_step, streamed_step = steps
    width = len(unit.address)
    across, here = Signal(width, name=f"{name}_across"), Signal(width, name=f"{name}_here")
    m.d.comb += [
        across.eq(base + order.s * streamed_step),
        here.eq(across + order.t * stationary_step),
    ]
    check(m, f"{name}_address", implies(order.active, unit.address == here))
    first = (across + order.first * stationary_step)[:width]
    check(m, f"{name}_panel_start", implies(order.active, panel_start == first))
    return here


class TilesProof(wiring.Component):
    """A loop and an address that follows it, through any GEMM of up to 7 x 7 tiles.

    Members
    -------
    start, next : 1
        A GEMM begins, if none is under way; the next tile, if one is.
    stationary, streamed, panel, base, stationary_step, streamed_step : int
        Of a GEMM, as long as it lasts.
    t, s : int
        Some tile, that is followed.
    """

    start: In(1)
    next: In(1)
    stationary: In(BITS)
    streamed: In(BITS)
    panel: In(BITS)
    base: In(WIDTH)
    stationary_step: In(WIDTH)
    streamed_step: In(WIDTH)
    t: In(BITS)
    s: In(BITS)

    def elaborate(self, platform: object) -> Module:
        """Walk beside them."""
        m = Module()
        never_reset(m)
        m.submodules.loop = loop = TileLoop()
        m.submodules.address = address = TileAddress(WIDTH)
        open_unit(loop)
        starts, goes_on = Signal(), Signal()
        sizes = (self.stationary, self.streamed, self.panel)
        order = TileOrder(m, starts, goes_on, sizes, BITS + 1)
        m.d.comb += [
            starts.eq(self.start & ~order.active),
            goes_on.eq(self.next & order.active),
            loop.start.eq(starts),
            loop.next.eq(goes_on),
            address.start.eq(starts),
            address.next.eq(goes_on),
            *(getattr(loop, n).eq(getattr(self, n)) for n in ("stationary", "streamed", "panel")),
            *(
                getattr(address, n).eq(getattr(loop, n))
                for n in ("last_in_panel", "last_streamed", "backwards")
            ),
            *(
                getattr(address, n).eq(getattr(self, n))
                for n in ("base", "stationary_step", "streamed_step")
            ),
        ]
        for size in sizes:
            assume(m, size != 0)
        for name in self.signature.members:
            if name not in ("start", "next"):
                value = getattr(self, name)
                before = Signal.like(value, name=f"{name}_before")
                m.d.sync += before.eq(value)
                assume(m, implies(order.active, value == before))
        order.check_range(m)
        check_loop(m, loop, order)
        steps = self.stationary_step, self.streamed_step
        check_address(m, "tile", address, order, self.base, steps)
        self._check_once(m, order, starts, goes_on)
        cover(m, "third_panel", order.active & order.last & (order.first == 4) & (order.s == 1))
        return m

    def _check_once(self, m: Module, order: TileOrder, starts: Value, goes_on: Value) -> None:
        """Check that a tile that there is has been the present one once at the end."""
        times = Signal(2)
        present = (order.t == self.t) & (order.s == self.s)
        with m.If(starts):
            m.d.sync += times.eq(0)
        with m.Elif(goes_on & present):
            m.d.sync += times.eq(times + (times != 3))
        exists = (self.t < self.stationary) & (self.s < self.streamed)
        check(m, "times", implies(order.active & exists, times == order.met(self.t, self.s)))
        once = (times + present) == 1
        check(m, "each_once", implies(order.active & order.last & exists, once))
