"""Asks for what commands need of memory, in order of use."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, ValueLike
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.engine.command import command_layout
from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.gather import Gather
from mixdit_hw.engine.reader import Destination, request_layout
from mixdit_hw.engine.source import row_layout
from mixdit_hw.engine.tiles import TILES, TileLoop, connect_loop, tile_address
from mixdit_sw.engine.commands import Output


class LoadWalker(wiring.Component):
    """Walks through a command's tiles and asks for what they need that is not in a buffer yet.

    The tags of the results, if they are stored as an operand. Of a GEMM a panel's stationary tiles;
    then for each streamed tile, unless the panel before left it in its buffer, the tile; then for
    each tile of C that it gives: row scales, column scales and bias in one stretch, residual, as
    far as they are on. Of a conversion the source's tiles; or the table, and when it has come the
    source's rows. Nothing that is asked for is waited for by anything asked for before, so an
    in-order bus never blocks for good.

    Members
    -------
    command : stream of command_layout
        Commands; taken when the one before has asked for everything.
    request : stream of request_layout
        To the reader.
    table : stream of bus words
        The table of a transposed conversion, as it comes. Always ready.
    table_ends : 1
        The word that comes is the table's last.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        super().__init__(
            {
                "command": In(stream.Signature(command_layout(config))),
                "request": Out(stream.Signature(request_layout(config))),
                "table": In(stream.Signature(8 * config.bus_bytes, always_ready=True)),
                "table_ends": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Count tiles; a state for each kind of request."""
        m = Module()
        self._start, self._asked = Signal(), Signal()
        command = Signal(command_layout(self._config))
        m.submodules.loop = loop = TileLoop()
        connect_loop(m, loop, command, self._start)
        stationary = self._stationary(m, command)
        streamed = self._streamed(m, command, loop)
        tags = self._request(m, "tags", command.tags_address, 1, Destination.TAGS)
        extras, has = self._extras(m, command, loop)
        self._has_table = command.is_convert & command.transposed & self._config.transposes
        loaded, todo = Signal(TILES), Signal(len(extras))
        accepted, ends = Signal(), Signal()
        m.d.comb += [
            accepted.eq(self.request.valid & self.request.ready),
            ends.eq(loop.last_in_panel & loop.last_streamed & loop.last_panel),
        ]
        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.comb += self.command.ready.eq(1)
                m.d.sync += command.eq(self.command.payload)
                with m.If(self.command.valid):
                    m.next = "START"
            with m.State("START"):
                m.d.comb += self._start.eq(1)
                m.d.sync += [loaded.eq(0), todo.eq(has)]
                self._begin(m, command)
                with m.If(command.output == Output.OPERAND):
                    m.next = "TAGS"
            with m.State("TAGS"):
                self._ask(m, tags.as_value(), 1)
                with m.If(accepted):
                    self._begin(m, command)
            with m.State("STATIONARY"):
                self._ask(m, stationary, 1)
                m.d.comb += self._asked.eq(accepted)
                with m.If(accepted):
                    m.d.sync += loaded.eq(loaded + 1)
                    with m.If(loaded == loop.panel_tiles - 1):
                        m.d.sync += loaded.eq(0)
                        m.next = "STREAMED"
            with m.State("STREAMED"):
                kept = loop.first_streamed & ~loop.first_panel
                self._ask(m, streamed, ~kept)
                with m.If(kept | accepted):
                    m.next = "TILE"
            with m.State("TILE"):
                self._ask(m, _first(todo, extras), todo.any())
                with m.If(accepted):
                    m.d.sync += todo.eq(todo & (todo - 1))
                with m.If(~todo.any()):
                    m.d.comb += loop.next.eq(1)
                    m.d.sync += todo.eq(has)
                    with m.If(loop.last_in_panel & ~command.is_convert):
                        m.next = "STREAMED"
                        with m.If(loop.last_streamed):
                            m.next = "STATIONARY"
                    with m.If(ends):
                        m.next = "IDLE"
            if self._config.transposes:
                self._gather(m, command, loop, accepted, ends)
        # What its proof speaks of (mixdit_hw.formal.loads).
        self._states = {name: fsm.ongoing(name) for name in tuple(fsm.encoding)}
        self._command, self._loaded, self._todo = command, loaded, todo
        return m

    def _begin(self, m: Module, command: data.View) -> None:
        """Go on to what a command needs when its tags are asked for."""
        m.next = "STATIONARY"
        with m.If(command.is_convert):
            m.next = "TILE"
        if self._config.transposes:
            with m.If(self._has_table):
                m.next = "TABLE"

    def _gather(
        self, m: Module, command: data.View, loop: TileLoop, accepted: Value, ends: Value
    ) -> None:
        """States of a conversion that is transposed: the table, then for each tile its rows."""
        config, shape = self._config, self._config.shape
        m.submodules.gather = gather = Gather(config)
        run, columns = gather.o.payload, shape.rows_a_beat()
        words = Signal(len(self.request.payload.beats))
        table = self._request(m, "table_request", command.a_address, words, Destination.TABLE)
        about = Signal(row_layout(config))
        bits, most = Signal(range(len(about.first) + 1)), Signal.like(about.first)
        behind = Signal(range(2 * columns + shape.cols))
        m.d.comb += [
            words.eq((command.col_tiles + (columns - 1)) >> (columns - 1).bit_length()),
            gather.i.payload.eq(self.table.payload),
            gather.i.valid.eq(self.table.valid),
            gather.tiles.eq(command.col_tiles),
            bits.eq(len(about.first) - ~command.source_bf16),
            most.eq(Mux(command.source_bf16, 2 * columns - 1, columns - 1)),
            about.narrow.eq(command.source_bf16),
            about.transposed.eq(1),
            about.first.eq(run.row & most),
            behind.eq(about.first + run.more),
            about.last.eq(behind & most),
        ]
        rows = self._request(
            m,
            "rows_request",
            self._residual_address + (run.row >> bits),
            (behind >> bits) + 1,
            Destination.SOURCE,
        )
        m.d.comb += rows.target.words.eq(about)
        with m.State("TABLE"):
            m.d.comb += gather.clear.eq(1)
            self._ask(m, table.as_value(), 1)
            with m.If(accepted):
                m.next = "TABLE_COMES"
        with m.State("TABLE_COMES"), m.If(self.table_ends):
            m.next = "ROWS"
        with m.State("ROWS"):
            m.d.comb += gather.active.eq(1)
            self._ask(m, rows.as_value(), gather.o.valid)
            m.d.comb += [
                gather.o.ready.eq(accepted),
                loop.next.eq(accepted & run.ends_tile),
            ]
            with m.If(loop.next & ends):
                m.next = "IDLE"

    def _ask(self, m: Module, request: Value, valid: Value) -> None:
        m.d.comb += [
            self.request.valid.eq(valid),
            self.request.payload.as_value().eq(request),
        ]

    def _request(
        self,
        m: Module,
        name: str,
        address: Value,
        beats: ValueLike,
        destination: ValueLike = Destination.EXTRA,
    ) -> Signal:
        """Return a request, for words of the epilogue if nothing else is said."""
        request = Signal(request_layout(self._config), name=name)
        m.d.comb += [
            request.address.eq(address),
            request.beats.eq(beats),
            request.target.destination.eq(destination),
        ]
        return request

    def _operand(self, m: Module, name: str, address: Value, is_b: Value, command: Signal) -> Value:
        """Return a request for an operand tile."""
        beats = Mux(is_b, command.b_beats, command.a_beats)
        destination = Mux(is_b, Destination.B, Destination.A)
        request = self._request(m, name, address, beats, destination)
        m.d.comb += [
            request.target.k_blocks.eq(command.k_blocks),
            request.target.words.eq(Mux(is_b, command.b_words, command.a_words)),
        ]
        return request.as_value()

    def _stationary(self, m: Module, command: Signal) -> Value:
        """Return the request for the next stationary tile."""
        address = Signal(self._config.beat_bits, name="stationary_address")
        is_b = command.stationary_b
        with m.If(self._start):
            m.d.sync += address.eq(Mux(is_b, command.b_address, command.a_address))
        with m.Elif(self._asked):
            m.d.sync += address.eq(address + Mux(is_b, command.b_beats, command.a_beats))
        return self._operand(m, "stationary", address, is_b, command)

    def _streamed(self, m: Module, command: Signal, loop: TileLoop) -> Value:
        """Return the request for the present streamed tile."""
        address = Signal(self._config.beat_bits, name="streamed_address")
        is_b = ~command.stationary_b
        step = Mux(is_b, command.b_beats, command.a_beats)
        with m.If(self._start):
            m.d.sync += address.eq(Mux(is_b, command.b_address, command.a_address))
        with m.Elif(loop.next & loop.last_in_panel & ~loop.last_streamed):
            m.d.sync += address.eq(Mux(loop.backwards, address - step, address + step))
        return self._operand(m, "streamed", address, is_b, command)

    def _extras(self, m: Module, command: Signal, loop: TileLoop) -> tuple[list[Value], Value]:
        """Return the requests of a tile of C for its epilogue, and which of them it needs."""
        shape, steps = self._config.shape, command.steps
        columns = steps.col_scale + steps.bias
        residual = (command.residual_row_beats, command.residual_col_beats)
        narrow = command.is_convert & command.source_bf16
        kinds = (
            ("row_vector", shape.row_vector_beats, (shape.row_vector_beats, 0)),
            ("col_vector", columns, (0, columns)),
            ("residual", Mux(narrow, shape.tile_beats // 2, shape.tile_beats), residual),
        )
        # A conversion has its source where a GEMM has its residual.
        to = Mux(command.is_convert, Destination.SOURCE, Destination.EXTRA)
        about = Signal(row_layout(self._config))
        m.d.comb += about.narrow.eq(command.source_bf16)
        requests = []
        for name, beats, distances in kinds:
            address = tile_address(m, name, loop, command, self._start, distances)
            requests.append(self._request(m, f"{name}_request", address, beats, to))
        m.d.comb += requests[-1].target.words.eq(about)
        self._residual_address = address
        has_last = steps.residual | command.is_convert
        has = Cat(steps.row_scale, steps.col_scale | steps.bias, has_last)
        return [request.as_value() for request in requests], has


def _first(todo: Signal, requests: list[Value]) -> Value:
    """Return the request of the lowest bit that is set."""
    chosen = requests[-1]
    for i in reversed(range(len(requests) - 1)):
        chosen = Mux(todo[i], requests[i], chosen)
    return chosen
