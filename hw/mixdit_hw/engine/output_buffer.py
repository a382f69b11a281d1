"""A few tiles of results between the array's drain and the store."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from mixdit_hw.array.cluster import result_layout
from mixdit_hw.engine.command import STEP_LAYOUT
from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.epilogue.epilogue import beat_layout

TILES = 3
"""Tiles that have room: one comes, one waits, one leaves. Two cost short tiles up to 40 % more."""


class OutputBuffer(wiring.Component):
    """Takes tiles as clusters drain them, gives their words row by row.

    Members
    -------
    i_<r>_<c> : stream of result_layout
        Results of each cluster.
    tile_end : 1
        The array has taken a tile's last beat: its place is reserved.
    drain_ready : 1
        There is a place.
    complete : 1
        A tile can begin to leave.
    take : 1, with `steps`
        Let it leave; only while `complete`.
    o : stream of {words, steps}
        Bus words of the tile, rows from the top, and the steps that came with `take`.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        rows, cols = config.array.cluster_grid
        result = stream.Signature(result_layout(config.array), always_ready=True)
        super().__init__(
            {
                **{f"i_{r}_{c}": In(result) for r in range(rows) for c in range(cols)},
                "tile_end": In(1),
                "drain_ready": Out(1),
                "complete": Out(1),
                "take": In(1),
                "steps": In(STEP_LAYOUT),
                "o": Out(stream.Signature(beat_layout(config.shape.lanes))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """A memory for each cluster, written when its results come, all read together."""
        m = Module()
        array = self._config.array
        reserved, tiles = Signal(range(TILES + 1)), Signal(range(TILES + 1))
        leaving, fetch, last, bank = Signal(), Signal(), Signal(), Signal(range(TILES))
        beat = Signal(range(max(self._config.shape.tile_beats, 2)))
        rows_a_beat = self._config.bus_bytes // (4 * array.cols)
        groups = array.cluster_grid[0] // rows_a_beat
        group_bits = (groups - 1).bit_length()
        came = Signal()
        m.d.comb += [
            self.drain_ready.eq(reserved != TILES),
            self.complete.eq(Mux(leaving, last & (tiles > 1), tiles != 0)),
            fetch.eq(leaving & (~self.o.valid | self.o.ready)),
            last.eq(fetch & (beat == self._config.shape.tile_beats - 1)),
        ]
        m.d.sync += [
            reserved.eq(reserved + self.tile_end - last),
            tiles.eq(tiles + came - last),
        ]
        steps = Signal(STEP_LAYOUT)
        with m.If(fetch):
            m.d.sync += [beat.eq(beat + 1), self.o.payload.steps.eq(steps)]
        with m.If(last):
            m.d.sync += [leaving.eq(0), bank.eq(Mux(bank == TILES - 1, 0, bank + 1))]
        with m.If(self.take):
            m.d.sync += [leaving.eq(1), beat.eq(0), steps.eq(self.steps)]
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += self.o.valid.eq(fetch)

        row = Signal(range(array.cluster_rows))
        m.d.comb += row.eq(array.cluster_rows - 1 - (beat >> group_bits))
        words = self._memories(m, bank * array.cluster_rows + row, fetch, came)
        group = Signal(group_bits)
        with m.If(fetch):
            m.d.sync += group.eq(beat[:group_bits])
        width = 8 * self._config.bus_bytes
        # Not `word_select`, which would let every bit of the result hang on every bit of `words`.
        for number in range(groups):
            with m.If(group == number):
                word = words[number * width : (number + 1) * width]
                m.d.comb += self.o.payload.words.as_value().eq(word)
        return m

    def _memories(self, m: Module, address: Value, fetch: Value, came: Signal) -> Value:
        """Return the words read from all clusters, row by row; say when a tile has come."""
        array = self._config.array
        rows, cols = array.cluster_grid
        depth = TILES * array.cluster_rows
        words = []
        for r in range(rows):
            for c in range(cols):
                result = getattr(self, f"i_{r}_{c}")
                memory = Memory(shape=result_layout(array), depth=depth, init=[])
                m.submodules[f"memory_{r}_{c}"] = memory
                to, fro = memory.write_port(), memory.read_port()
                place = Signal(range(depth), name=f"place_{r}_{c}")
                m.d.comb += [
                    to.addr.eq(place),
                    to.data.eq(result.payload),
                    to.en.eq(result.valid),
                    fro.addr.eq(address),
                    fro.en.eq(fetch),
                ]
                with m.If(result.valid):
                    m.d.sync += place.eq(Mux(place == depth - 1, 0, place + 1))
                words.append(fro.data.as_value())
        # The cluster at the far corner is the last to drain.
        ends = [place == array.cluster_rows * (n + 1) - 1 for n in range(TILES)]
        m.d.comb += came.eq(result.valid & Cat(ends).any())
        return Cat(words)
