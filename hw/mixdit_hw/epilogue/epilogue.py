"""Scales, bias and residual between the array's drain and the store (docs/epilogue.md)."""

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.epilogue.config import EpilogueConfig
from mixdit_hw.epilogue.lane import Lane, latency, starts
from mixdit_hw.epilogue.vectors import Vectors
from mixdit_hw.pe.fp32 import STATE
from mixdit_hw.sharing import Shared
from mixdit_sw.engine.commands import STEPS


def beat_layout(lanes: int) -> data.StructLayout:
    """Layout of a beat of the input: words in row-major order, and which steps are done."""
    return data.StructLayout(
        {
            "words": data.ArrayLayout(STATE, lanes),
            "steps": data.StructLayout({step: 1 for step in STEPS}),
        }
    )


class Epilogue(wiring.Component):
    """Scale rows, scale columns, add a bias, add a residual; each rounded once, in this order.

    The bits are those of `mixdit_sw.gemm.epilogue.apply_epilogue`. A step that is off, or not
    built, changes no bit of a word. One beat a cycle while nothing waits.

    Parameters
    ----------
    config
        Size of a tile, lanes, and which steps are built.

    Members
    -------
    i : stream of beat_layout
        Words, and the steps of the tile, the same in all its beats.
    extra : stream of lanes words
        For each tile, of the steps that are on and built: row scales, ceil(rows / lanes) beats;
        column scales, one beat, its first cols words; bias, likewise; the residual, one beat for
        each beat of the tile.
    o : stream of lanes words
        Results, in the order of the words.

    Cycles
    ------
    L = `latency`; R = the sum of the latencies of the steps built before the residual. All bits
    below are of one cycle; valid[1 .. L], loaded[...] and `beat` are registers, at first 0.

    - valid[k]: a beat is in stage k; o.valid is valid[L]. empty: all of them are 0.
    - missing: i.valid, and a vector whose step is on is not loaded.
    - waits: the beat at the residual adder has that step on. That is the beat in stage R; if R is
      0, the one that i offers.
    - advance = (not o.valid or o.ready) and (not waits or extra.valid).
    - i.ready = advance and not missing: a beat enters when i.valid and i.ready.
    - extra.ready = (missing and empty) or (waits and (not o.valid or o.ready)). In the first case a
      beat popped loads the first missing vector, in the order above; `loaded` is set by its last
      beat. In the second case the beat popped is the residual.
    - If advance, valid[1] becomes whether a beat enters, and valid[k + 1] becomes valid[k].
      Else, if o.ready, valid[L] becomes 0: its beat has left, and those behind it wait.
    - `beat` counts the beats that enter; the last of a tile clears it and `loaded`.

    So a tile with V > 0 beats of vectors enters, at the earliest, V cycles after the first in which
    the pipeline is empty; one without at once. A beat that nothing holds up is offered at o L
    cycles after the one in which it enters.
    """

    def __init__(self, config: EpilogueConfig) -> None:
        self._config, self._steps = config, config.steps
        lanes = config.lanes
        words = data.ArrayLayout(STATE, lanes)
        super().__init__(
            {
                "i": In(stream.Signature(beat_layout(lanes))),
                "extra": In(stream.Signature(words)),
                "o": Out(stream.Signature(words)),
            }
        )

    @property
    def module_name(self) -> str:
        """Name that encodes all parameters."""
        size = f"{self._config.rows}x{self._config.cols}_l{self._config.lanes}"
        return "_".join(["epilogue", size, *self._steps])

    @property
    def latency(self) -> int:
        """Cycles from a beat at i to its result at o."""
        return latency(self._steps, self._config.fabric)

    def elaborate(self, platform: object) -> Module:
        """Build the handshake around lanes in which nothing ever waits alone."""
        m = Module()
        valid = Signal(self.latency)
        advance, enters, free = Signal(), Signal(), Signal()
        missing, waits = Signal(), Signal()
        m.d.comb += [
            self.o.valid.eq(valid[-1]),
            free.eq(~self.o.valid | self.o.ready),
            advance.eq(free & (~waits | self.extra.valid)),
            self.i.ready.eq(advance & ~missing),
            enters.eq(self.i.valid & self.i.ready),
        ]
        with m.If(advance):
            m.d.sync += valid.eq(Cat(enters, valid))
        with m.Elif(self.o.ready):
            m.d.sync += valid[-1].eq(0)
        operands = {"residual": self.extra.payload}
        load = self._add_vectors(m, missing, ~valid.any(), enters, operands)
        on = self._delay_steps(m, advance)
        if "residual" in on:
            at_adder = Cat(self.i.valid, valid)[
                starts(self._steps, self._config.fabric)["residual"]
            ]
            m.d.comb += waits.eq(at_adder & on["residual"])
        m.d.comb += self.extra.ready.eq(load | (waits & free))
        self._add_lanes(m, operands, on, advance)
        return m

    def _add_vectors(
        self, m: Module, missing: Signal, empty: Value, enters: Signal, operands: dict
    ) -> Value:
        """Add the vectors' registers to `operands`; drive `missing`; return the ready of a load."""
        vectors = self._config.vectors
        if not vectors:
            return Signal(name="no_load")
        unit = m.submodules.vectors = Vectors(self._config)
        steps = self.i.payload.steps
        m.d.comb += [unit.wanted[name].eq(self.i.valid & steps[name]) for name in vectors]
        m.d.comb += [
            unit.empty.eq(empty),
            unit.enters.eq(enters),
            unit.i.payload.eq(self.extra.payload),
            unit.i.valid.eq(self.extra.valid),
            missing.eq(unit.missing),
        ]
        operands.update({name: getattr(unit, name) for name in vectors})
        return unit.i.ready

    def _delay_steps(self, m: Module, advance: Signal) -> dict[str, Value]:
        """Return the bit of each step at the time when its unit gets the word."""
        on = {}
        for step, start in starts(self._steps, self._config.fabric).items():
            later = Signal(start, name=f"{step}_on", reset_less=True)
            bits = Cat(self.i.payload.steps[step], later)
            with m.If(advance):
                m.d.sync += later.eq(bits)
            on[step] = bits[start]
        return on

    def _add_lanes(self, m: Module, operands: dict, on: dict, advance: Signal) -> None:
        """Give each lane its word, its row's and its column's operands."""
        indices = {
            "row_scale": lambda j: j // self._config.cols,
            "col_scale": lambda j: j % self._config.cols,
            "bias": lambda j: j % self._config.cols,
            "residual": lambda j: j,
        }
        for j in range(self._config.lanes):
            lane = m.submodules[f"lane_{j}"] = Shared(Lane(self._steps, self._config.fabric))
            for step in self._steps:
                m.d.comb += [
                    lane.operands[step].eq(operands[step][indices[step](j)]),
                    lane.on[step].eq(on[step]),
                ]
            m.d.comb += [
                lane.i.eq(self.i.payload.words[j]),
                lane.advance.eq(advance),
                self.o.payload[j].eq(lane.o),
            ]
