"""Registers of a tile's row scales, column scales and bias."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.epilogue.config import EpilogueConfig
from mixdit_hw.pe.fp32 import STATE

WORD_BITS = STATE.size


class Vectors(wiring.Component):
    """Loads what the tile at the door wants, one beat a cycle, and keeps it for that tile.

    Parameters
    ----------
    config
        As of `Epilogue`; has vectors.

    Members
    -------
    wanted : struct of bits
        Vectors of the tile whose beat waits or enters; 0 if there is none.
    missing : 1
        One of them is not loaded.
    empty : 1
        No beat is inside the pipeline: loading is allowed.
    enters : 1
        A beat enters the pipeline. The last one of the tile makes its vectors void.
    i : stream of lanes words
        ceil(rows / lanes) beats of row scales, one of column scales, one of bias: what is wanted.
    row_scale, col_scale, bias : arrays of STATE
        Scales of the rows of the next beat; the others, of all columns.
    """

    def __init__(self, config: EpilogueConfig) -> None:
        self._config = config
        vectors, cols = config.vectors, config.cols
        widths = {"row_scale": config.rows_per_beat, "col_scale": cols, "bias": cols}
        super().__init__(
            {
                "wanted": In(data.StructLayout({name: 1 for name in vectors})),
                "missing": Out(1),
                "empty": In(1),
                "enters": In(1),
                "i": In(stream.Signature(data.ArrayLayout(STATE, config.lanes))),
                **{name: Out(data.ArrayLayout(STATE, widths[name])) for name in vectors},
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Load the first missing vector; forget all behind the last beat."""
        m = Module()
        missing = Signal.like(self.wanted)
        loaded = Signal.like(self.wanted)
        load = Signal()
        m.d.comb += [
            missing.eq(self.wanted.as_value() & ~loaded.as_value()),
            self.missing.eq(missing.as_value().any()),
            self.i.ready.eq(self.missing & self.empty),
            load.eq(self.i.ready & self.i.valid),
        ]
        for k, name in enumerate(self._config.vectors):
            done = Signal(name=f"{name}_done")
            turn = Signal(name=f"{name}_turn")
            m.d.comb += turn.eq(load & missing[name] & ~missing.as_value()[:k].any())
            if name == "row_scale":
                m.d.comb += done.eq(self._load_rows(m, turn))
            else:
                m.d.comb += done.eq(turn)
                self._load_columns(m, turn, getattr(self, name))
            with m.If(done):
                m.d.sync += loaded[name].eq(1)
        _, last = _count(m, self.enters, self._config.beats, "beat")
        with m.If(last):
            m.d.sync += loaded.eq(0)
        return m

    def _load_columns(self, m: Module, turn: Value, target: data.View) -> None:
        """Keep the first words of a beat."""
        held = Signal.like(target, name="held", reset_less=True)
        m.d.comb += target.eq(held)
        with m.If(turn):
            m.d.sync += held.as_value().eq(self.i.payload.as_value())

    def _load_rows(self, m: Module, turn: Value) -> Value:
        """Keep the words of some beats, and move them down by a beat's rows; return the end."""
        held = Signal(self._config.rows * WORD_BITS, name="rows", reset_less=True)
        beat_bits = self._config.lanes * WORD_BITS
        starts = range(0, len(held), beat_bits)
        count, last = _count(m, turn, len(starts), "row_beat")
        m.d.comb += self.row_scale.as_value().eq(held)
        with m.If(self.enters):
            m.d.sync += held.eq(held >> self._config.rows_per_beat * WORD_BITS)
        for k, start in enumerate(starts):
            with m.If(turn & (count == k)):
                m.d.sync += held[start : start + beat_bits].eq(self.i.payload.as_value())
        return last


def _count(m: Module, event: Value, total: int, name: str) -> tuple[Signal, Value]:
    """Count events modulo `total`; return the count and whether this is the last of `total`."""
    count = Signal(range(total), name=name)
    last = event & (count == total - 1)
    with m.If(event):
        m.d.sync += count.eq(Mux(last, 0, count + 1))
    return count, last
