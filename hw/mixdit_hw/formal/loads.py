"""The load walker asks for what a GEMM needs, each thing once, in the order of use."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, ValueLike
from amaranth.lib import wiring

from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.load_walker import LoadWalker
from mixdit_hw.engine.reader import Destination, request_layout
from mixdit_hw.engine.tiles import TileLoop
from mixdit_hw.formal.axi import check_stays
from mixdit_hw.formal.inside import find, open_unit, surround
from mixdit_hw.formal.properties import assume, check, cover, implies
from mixdit_hw.formal.tiles import TileOrder, check_address, check_loop

OPERAND = 2
BITS = 2
"""Of the number of tiles of either operand, here."""


def assume_tiles(m: Module, command: wiring.PureInterface, bits: int) -> None:
    """Assume that a command has some tiles of either operand, a number of few bits."""
    for name in ("row_tiles", "col_tiles", "panel"):
        tiles = command.payload[name]
        assume(m, implies(command.valid, (tiles != 0) & (tiles < 1 << bits)))


def follow(
    m: Module,
    command: Value,
    loop: TileLoop,
    events: tuple[Value, Value, Value],
    bits: int,
) -> tuple[Value, TileOrder]:
    """Return the command that was taken, and the order of its tiles, that a loop follows.

    Events: a command is taken; there is one; its tiles begin.
    """
    taken, there, start = events
    kept = Signal.like(command)
    with m.If(taken):
        m.d.sync += kept.eq(command)
    b = kept.stationary_b
    sizes = (
        Mux(b, kept.col_tiles, kept.row_tiles),
        Mux(b, kept.row_tiles, kept.col_tiles),
        kept.panel,
    )
    order = TileOrder(m, start, loop.next, tuple(x[:bits] for x in sizes), bits + 1)
    for tiles in sizes:
        few = (tiles != 0) & (tiles < 1 << bits)
        check(m, "few_tiles", implies(there, few))
    order.check_range(m)
    check_loop(m, loop, order)
    return kept, order


class LoadsProof(wiring.Component):
    """A load walker with free GEMMs of up to 3 x 3 tiles, and a reader that takes when it likes.

    Beside it is what is due: tags, stationary tiles, a streamed tile, what a tile of C needs.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._dut = LoadWalker(config)
        super().__init__(self._dut.signature)

    def elaborate(self, platform: object) -> Module:
        """Walk beside it."""
        m = Module()
        dut = self._dut
        self._inside = inside = surround(m, self, dut)
        assume_tiles(m, self.command, BITS)
        of_convert = ("is_convert", "transposed", "source_bf16")
        assume(m, ~Cat(self.command.payload[name] for name in of_convert).any())
        loop = inside.submodules.loop
        open_unit(loop)
        taken = self.command.valid & self.command.ready
        events = taken, ~dut._states["IDLE"], dut._start
        kept, order = follow(m, self.command.payload, loop, events, BITS)
        check(m, "command", implies(~dut._states["IDLE"], dut._command == kept))
        of_gemm = ("IDLE", "START", "TAGS", "STATIONARY", "STREAMED", "TILE")
        known = Cat(dut._states[name] for name in of_gemm).any()
        check(
            m,
            "gemm",
            known & implies(~dut._states["IDLE"], ~Cat(kept[name] for name in of_convert).any()),
        )
        idle = dut._states["IDLE"] | dut._states["START"]
        check(m, "active", order.active == ~idle)
        self._check_requests(m, kept, order, loop)
        offered = [Value.cast(self.request.payload)]
        check_stays(m, "request", self.request.valid, self.request.ready, offered)
        third = order.active & order.last & (order.first == 2) & (order.s == 1)
        cover(m, "second_panel", third & kept.steps.residual)
        return m

    def _check_requests(self, m: Module, kept: Value, order: TileOrder, loop: TileLoop) -> None:
        """Keep what is due; check that the first of it is asked for, and that nothing is left."""
        dut, states = self._dut, self._dut._states
        tags, streamed = Signal(), Signal()
        stationary, extras = Signal(BITS + 1), Signal(3)
        steps = kept.steps
        has = Cat(steps.row_scale, steps.col_scale | steps.bias, steps.residual)
        accepted = self.request.valid & self.request.ready
        panel_due = stationary < order.end
        with m.If(dut._start):
            m.d.sync += [
                tags.eq(kept.output == OPERAND),
                stationary.eq(0),
                streamed.eq(1),
                extras.eq(has),
            ]
        with m.Elif(accepted):
            with m.If(tags):
                m.d.sync += tags.eq(0)
            with m.Elif(panel_due):
                m.d.sync += stationary.eq(stationary + 1)
            with m.Elif(streamed):
                m.d.sync += streamed.eq(0)
            with m.Else():
                m.d.sync += extras.eq(extras & (extras - 1))
        with m.If(loop.next):
            m.d.sync += [extras.eq(has), streamed.eq(order.in_panel & ~order.in_way)]
        due = tags | panel_due | streamed | extras.any()
        moves = self._skips(order) | loop.next
        active = order.active
        extra = self._extras(m, kept, order)
        request = Mux(extras[0], extra[0], Mux(extras[1], extra[1], extra[2]))
        b = kept.stationary_b
        request = Mux(streamed, self._operand(m, "streamed", kept, order, ~b, order.s), request)
        stationary_tile = self._operand(m, "stationary", kept, order, b, stationary)
        request = Mux(panel_due, stationary_tile, request)
        request = Mux(tags, self._request(kept.tags_address, 1, Destination.TAGS), request)
        asked = self.request.payload.as_value()
        kept_tile = order.starts_way & (order.first != 0)
        for name, condition in {
            "asks_for_what_is_due": implies(self.request.valid, due & (asked == request)),
            "asks_or_goes_on": implies(active, self.request.valid | moves),
            "goes_on_when_nothing_is_due": implies(loop.next, ~due),
            "tags_first": states["TAGS"] == (active & tags),
            "stationary": states["STATIONARY"] == (active & ~tags & panel_due),
            "loaded": implies(states["STATIONARY"], dut._loaded == stationary - order.first),
            "loaded_0": implies(active & ~panel_due, dut._loaded == 0),
            "loaded_first": implies(tags, (stationary == 0) & (dut._loaded == 0)),
            "panel": (stationary >= order.first) & (stationary <= order.end),
            "streamed": implies(streamed, states["STREAMED"] | tags | panel_due),
            "kept": implies(states["STREAMED"], streamed == ~kept_tile),
            "kept_later": implies(panel_due, streamed == ~kept_tile),
            "begins": implies(panel_due, (order.t == order.first) & order.starts_way),
            "way": implies(states["STREAMED"], order.t == order.first),
            "todo": dut._todo == extras,
            "todo_all": implies(tags | panel_due | states["STREAMED"], extras == has),
        }.items():
            check(m, name, implies(active, condition))

    def _skips(self, order: TileOrder) -> Value:
        """Return whether the streamed tile is there already."""
        there = order.starts_way & (order.first != 0)
        return self._dut._states["STREAMED"] & there

    def _operand(
        self, m: Module, name: str, kept: Value, order: TileOrder, is_b: Value, tile: Value
    ) -> Value:
        """Return the request for a tile of an operand; check that the walker is at it."""
        address = find(self._inside, f"{name}_address")
        here, beats = Signal.like(address, name=f"{name}_here"), Signal.like(kept.a_beats)
        base = Mux(is_b, kept.b_address, kept.a_address)
        m.d.comb += [beats.eq(Mux(is_b, kept.b_beats, kept.a_beats)), here.eq(base + tile * beats)]
        check(m, f"{name}_address", implies(order.active, address == here))
        destination = Mux(is_b, Destination.B, Destination.A)
        words = Mux(is_b, kept.b_words, kept.a_words)
        return self._request(here, beats, destination, kept.k_blocks, words)

    def _extras(self, m: Module, kept: Value, order: TileOrder) -> list[Value]:
        """Return the requests for a tile's row scales, its columns' vectors, its residual."""
        rows = self._config.shape.row_vector_beats
        columns = kept.steps.col_scale + kept.steps.bias
        b = kept.stationary_b
        found = []
        for name, beats, below, right in (
            ("row_vector", rows, rows, 0),
            ("col_vector", columns, 0, columns),
            (
                "residual",
                self._config.shape.tile_beats,
                kept.residual_row_beats,
                kept.residual_col_beats,
            ),
        ):
            base = kept[f"{name}_address"]
            steps = Mux(b, right, below), Mux(b, below, right)
            unit = getattr(self._inside.submodules, f"{name}_address").inner
            address = check_address(m, name, unit, order, base, steps)
            found.append(self._request(address, beats, Destination.EXTRA))
        return found

    def _request(
        self,
        address: ValueLike,
        beats: ValueLike,
        destination: ValueLike,
        k_blocks: ValueLike = 0,
        words: ValueLike = 0,
    ) -> Value:
        """Return a request's bits."""
        layout = request_layout(self._config)
        target = layout["target"].shape
        shapes = [layout["address"].shape, layout["beats"].shape]
        shapes += [target[name].shape for name in ("destination", "k_blocks", "words")]
        parts = zip((address, beats, destination, k_blocks, words), shapes, strict=True)
        # Wider, then cut: addresses are modulo the size of memory.
        return Cat((Value.cast(part) | Const(0, bits))[:bits] for part, bits in parts)
