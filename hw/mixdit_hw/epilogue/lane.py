"""One lane of the epilogue: a multiplier or an adder for each step, one behind the other."""

from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.epilogue.add import Fp32Add
from mixdit_hw.epilogue.block_multiply import Fp32BlockMultiply
from mixdit_hw.epilogue.multiply import Fp32Multiply
from mixdit_hw.fabric import FABRICS
from mixdit_hw.pe.fp32 import STATE
from mixdit_hw.sharing import Shared

MULTIPLIERS = {"gates": Fp32Multiply, "fpga": Fp32BlockMultiply}


def unit(step: str, fabric: str) -> type[Fp32Multiply | Fp32Add]:
    """Return the unit of a step."""
    return MULTIPLIERS[fabric] if step in ("row_scale", "col_scale") else Fp32Add


def starts(steps: tuple[str, ...], fabric: str = FABRICS[0]) -> dict[str, int]:
    """Return by how many stages each step's operand comes later than the word."""
    return {step: latency(steps[:k], fabric) for k, step in enumerate(steps)}


def latency(steps: tuple[str, ...], fabric: str = FABRICS[0]) -> int:
    """Return the number of stages of a lane."""
    return sum(unit(step, fabric).LATENCY for step in steps)


class Lane(wiring.Component):
    """Scales, bias and residual of one word a cycle. A pipeline that moves when `advance` is 1.

    Parameters
    ----------
    steps
        Steps that are built, some of `STEPS` in that order.
    fabric
        One of `FABRICS`.

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

    def __init__(self, steps: tuple[str, ...], fabric: str = FABRICS[0]) -> None:
        self._steps, self._fabric = steps, fabric
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
        fabric = [self._fabric] if self._fabric != FABRICS[0] else []
        return "_".join(["epilogue_lane", *self._steps, *fabric])

    def elaborate(self, platform: object) -> Module:
        """Chain the units."""
        m = Module()
        word = self.i
        for step in self._steps:
            m.submodules[step] = part = Shared(unit(step, self._fabric)())
            m.d.comb += [
                part.a.eq(word),
                part.b.eq(self.operands[step]),
                part.on.eq(self.on[step]),
                part.advance.eq(self.advance),
            ]
            word = part.o
        m.d.comb += self.o.eq(word)
        return m
