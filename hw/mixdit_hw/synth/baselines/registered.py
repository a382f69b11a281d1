"""Our PE in the form the baselines have: behind operand registers of its own."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...config import ArrayConfig
from ...packet import PACKET
from ...pe.pe import PE, control_layout, pe_name
from ...sharing import Shared


class RegisteredPe(wiring.Component):
    """`PE` of a configuration, with operand and control registers before it.

    Members
    -------
    a, b, control, drain_in, drain_out
        As in `PE`; operands and control one cycle earlier.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self._config = config
        accumulator = config.pe_accumulator
        super().__init__(
            {
                "a": In(PACKET),
                "b": In(PACKET),
                "control": In(control_layout(accumulator)),
                "drain_in": In(accumulator.state_layout),
                "drain_out": Out(accumulator.state_layout),
            }
        )

    @property
    def module_name(self) -> str:
        """Name that encodes all parameters."""
        name = pe_name(
            self._config.pe_accumulator,
            dot_register=self._config.dot_register,
            fabric=self._config.fabric,
        )
        return f"registered_{name}"

    def elaborate(self, platform: object) -> Module:
        """Register the operands; wire the PE."""
        m = Module()
        config = self._config
        m.submodules.pe = pe = Shared(
            PE(config.pe_accumulator, dot_register=config.dot_register, fabric=config.fabric)
        )
        a, b = (Signal(PACKET, name=f"{name}_reg", reset_less=True) for name in ("a", "b"))
        control = Signal(control_layout(config.pe_accumulator), name="control_reg")
        m.d.sync += [a.eq(self.a), b.eq(self.b), control.eq(self.control)]
        m.d.comb += [
            pe.a.eq(a),
            pe.b.eq(b),
            pe.control.eq(control),
            pe.drain_in.eq(self.drain_in),
            self.drain_out.eq(pe.drain_out),
        ]
        return m
