"""Asks for the operand tiles of a GEMM, and for what its epilogue needs, in order of use."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, ValueLike
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.engine.command import command_layout
from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.reader import Destination, request_layout
from mixdit_hw.engine.tiles import TILES, TileLoop, connect_loop, tile_address
from mixdit_sw.engine.commands import Output


class LoadWalker(wiring.Component):
    """Walks through a command's tiles and asks for what they need that is not in a buffer yet.

    The tags of the results, if they are stored as an operand. A panel's stationary tiles; then for
    each streamed tile, unless the panel before left it in its buffer, the tile; then for each tile
    of C that it gives: row scales, column scales and bias in one stretch, residual, as far as they
    are on. Nothing that is asked for is waited for by
    anything asked for before, so an in-order bus never blocks for good.

    Members
    -------
    command : stream of command_layout
        Commands; taken when the one before has asked for everything.
    request : stream of request_layout
        To the reader.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        super().__init__(
            {
                "command": In(stream.Signature(command_layout(config))),
                "request": Out(stream.Signature(request_layout(config))),
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
        loaded, todo = Signal(TILES), Signal(len(extras))
        accepted = Signal()
        m.d.comb += accepted.eq(self.request.valid & self.request.ready)
        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.comb += self.command.ready.eq(1)
                m.d.sync += command.eq(self.command.payload)
                with m.If(self.command.valid):
                    m.next = "START"
            with m.State("START"):
                m.d.comb += self._start.eq(1)
                m.d.sync += [loaded.eq(0), todo.eq(has)]
                m.next = "STATIONARY"
                with m.If(command.output == Output.OPERAND):
                    m.next = "TAGS"
            with m.State("TAGS"):
                self._ask(m, tags.as_value(), 1)
                with m.If(accepted):
                    m.next = "STATIONARY"
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
                    with m.If(loop.last_in_panel):
                        m.next = "STREAMED"
                        with m.If(loop.last_streamed):
                            m.next = "STATIONARY"
                            with m.If(loop.last_panel):
                                m.next = "IDLE"
        # What its proof speaks of (mixdit_hw.formal.loads).
        self._states = {name: fsm.ongoing(name) for name in tuple(fsm.encoding)}
        self._command, self._loaded, self._todo = command, loaded, todo
        return m

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
        kinds = (
            ("row_vector", shape.row_vector_beats, (shape.row_vector_beats, 0)),
            ("col_vector", columns, (0, columns)),
            ("residual", shape.tile_beats, residual),
        )
        requests = []
        for name, beats, distances in kinds:
            address = tile_address(m, name, loop, command, self._start, distances)
            requests.append(self._request(m, f"{name}_request", address, beats).as_value())
        return requests, Cat(steps.row_scale, steps.col_scale | steps.bias, steps.residual)


def _first(todo: Signal, requests: list[Value]) -> Value:
    """Return the request of the lowest bit that is set."""
    chosen = requests[-1]
    for i in reversed(range(len(requests) - 1)):
        chosen = Mux(todo[i], requests[i], chosen)
    return chosen
