"""One lane of the epilogue: a multiplier or an adder for each step, one behind the other."""

from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.epilogue.add import Fp32Add
from mixdit_hw.epilogue.multiply import Fp32Multiply
from mixdit_hw.pe.fp32 import STATE
from mixdit_hw.sharing import Shared

UNITS = {
    "row_scale": Fp32Multiply,
    "col_scale": Fp32Multiply,
    "bias": Fp32Add,
    "residual": Fp32Add,
}
"""Unit of each step, in the order of the steps."""


def starts(steps: tuple[str, ...]) -> dict[str, int]:
    """Return by how many stages each step's operand comes later than the word."""
    return {step: latency(steps[:k]) for k, step in enumerate(steps)}


def latency(steps: tuple[str, ...]) -> int:
    """Return the number of stages of a lane."""
    return sum(UNITS[step].LATENCY for step in steps)


class Lane(wiring.Component):
    """Scales, bias and residual of one word a cycle. A pipeline that moves when `advance` is 1.

    Parameters
    ----------
    steps
        Steps that are built, some of `UNITS` in that order.

    Members
    -------
    i : STATE
        Word before the first step.
    operands : struct of STATE
        What a step multiplies by or adds, `starts` advances after its word.
    on : struct of bits
        Whether the step is done, at the same time. A step that is off changes no bit.
    advance : 1
        Enable of all registers.
    o : STATE
        Word after the last step, `latency` advances later.
    """

    def __init__(self, steps: tuple[str, ...]) -> None:
        self._steps = steps
        super().__init__(
            {
                "i": In(STATE),
                "operands": In(data.StructLayout({step: STATE for step in steps})),
                "on": In(data.StructLayout({step: 1 for step in steps})),
                "advance": In(1),
                "o": Out(STATE),
            }
        )

    @property
    def module_name(self) -> str:
        """Name that encodes all parameters."""
        return "_".join(["epilogue_lane", *self._steps])

    def elaborate(self, platform: object) -> Module:
        """Chain the units."""
        m = Module()
        word = self.i
        for step in self._steps:
            unit = m.submodules[step] = Shared(UNITS[step]())
            m.d.comb += [
                unit.a.eq(word),
                unit.b.eq(self.operands[step]),
                unit.on.eq(self.on[step]),
                unit.advance.eq(self.advance),
            ]
            word = unit.o
        m.d.comb += self.o.eq(word)
        return m
