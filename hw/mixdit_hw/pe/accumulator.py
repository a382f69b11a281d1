"""The accumulator of a PE: kind, latency and interleave are configuration, the loop is the same."""

from dataclasses import dataclass

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.pe import aligned, fp32
from mixdit_hw.sharing import Shared
from mixdit_sw.errors import MixditError
from mixdit_sw.gemm.kinds import Aligned, Fp32, Kind


@dataclass(frozen=True, kw_only=True)
class AccumulatorConfig:
    """What an accumulator is built for.

    Members
    -------
    kind : Kind
        How blocks are summed (docs/numerics.md).
    block_bits : int
        Width of a block's exact signed integer.
    exponent_bits : int
        Width of its signed exponent.
    prepare_register : bool
        Register between the part that needs no state and the loop.
    loop_latency : int
        Cycles from a state to the next; the fp32 adder can be cut in 2.
    interleave : int
        Outputs of a PE that take turns, at least `loop_latency`.
    """

    kind: Kind
    block_bits: int
    exponent_bits: int
    prepare_register: bool = False
    loop_latency: int = 1
    interleave: int = 1

    def __post_init__(self) -> None:
        if isinstance(self.kind, Aligned):
            self.kind.check_block_bits(self.block_bits)
        longest = 2 if isinstance(self.kind, Fp32) else 1
        if not 1 <= self.loop_latency <= longest:
            raise MixditError(
                f"Loop latency of {self.kind} must be 1..{longest}, not {self.loop_latency}"
            )
        if self.interleave < self.loop_latency:
            raise MixditError(
                f"Interleave must be at least the loop latency {self.loop_latency}, "
                f"not {self.interleave}"
            )

    @property
    def latency(self) -> int:
        """Cycles from a block at the input to the state that holds it."""
        return self.prepare_register + self.loop_latency

    @property
    def state_layout(self) -> data.StructLayout:
        """Layout of one accumulator, as it drains."""
        if isinstance(self.kind, Aligned):
            return aligned.state_layout(self.kind, self.exponent_bits)
        return fp32.STATE

    @property
    def exponent_offset(self) -> int:
        """What is subtracted from a block's weight before it comes in."""
        return aligned.exponent_offset(self.kind) if isinstance(self.kind, Aligned) else 0

    @property
    def slot_shape(self) -> Shape:
        """Shape of the number of an interleaved output."""
        return Shape.cast(range(self.interleave))

    def prepare(self) -> wiring.Component:
        """Build the part of a step that needs no state."""
        if isinstance(self.kind, Aligned):
            return aligned.AlignedPrepare(self.kind, self.block_bits, self.exponent_bits)
        return fp32.Fp32Prepare(self.block_bits, self.exponent_bits)

    def step(self) -> wiring.Component:
        """Build the loop's arithmetic."""
        if isinstance(self.kind, Aligned):
            return aligned.AlignedStep(self.kind, self.block_bits, self.exponent_bits)
        return fp32.Fp32Step(self.block_bits, self.exponent_bits, self.loop_latency)


class Accumulator(wiring.Component):
    """Sums of blocks, one for each interleaved output, and the drain register behind them.

    A block's slot is the output it belongs to; blocks of a slot are at least `loop_latency` cycles
    apart. One cycle after the last block of the last slot is in its accumulator, all accumulators
    are copied to the drain registers, which otherwise shift: slot 0 leaves first. Only control is
    reset: what a reset leaves in an accumulator, `first` clears.

    Members
    -------
    block, exponent, nan : signed, signed, 1
        A block's integer, weight (less `exponent_offset`) and NaN flag.
    valid : 1
        There is one.
    first, last : 1
        It starts its slot's sum; it ends a tile (the last slot's last block).
    slot : range(interleave)
        Its output.
    drain_in, drain_out : state_layout
        The drain chain, from the PE above and to the PE below.
    """

    def __init__(self, config: AccumulatorConfig) -> None:
        self._config = config
        super().__init__(
            {
                "block": In(signed(config.block_bits)),
                "exponent": In(signed(config.exponent_bits)),
                "nan": In(1),
                "valid": In(1),
                "first": In(1),
                "last": In(1),
                "slot": In(config.slot_shape),
                "drain_in": In(config.state_layout),
                "drain_out": Out(config.state_layout),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Wire prepare, loop, accumulators and drain registers."""
        m = Module()
        config = self._config
        m.submodules.prepare = prepare = config.prepare()
        m.submodules.step = step = Shared(config.step())
        for name in ("block", "exponent", "nan", "valid", "first"):
            m.d.comb += getattr(prepare, name).eq(getattr(self, name))
        control = Signal(data.StructLayout({"slot": config.slot_shape, "last": 1, "valid": 1}))
        m.d.comb += control.eq(Cat(self.slot, self.last & self.valid, self.valid))
        if config.prepare_register:
            control = _delay(m, control, 1, "prepared_control")
            prepared = Signal.like(prepare.prepared, name="prepared", reset_less=True)
            m.d.sync += prepared.eq(prepare.prepared)
            m.d.comb += step.prepared.eq(prepared)
        else:
            m.d.comb += step.prepared.eq(prepare.prepared)

        layout = config.state_layout
        slots = range(config.interleave)
        accumulators = [Signal(layout, name=f"accumulator_{i}", reset_less=True) for i in slots]
        written = _delay(m, control, config.loop_latency - 1, "written")
        state = accumulators[0]
        for i, accumulator in enumerate(accumulators):
            if config.interleave == 1:
                m.d.sync += accumulator.eq(step.next)
            else:
                state = Mux(control.slot == i, accumulator, state) if i else accumulator
                with m.If((written.slot == i) & written.valid):
                    m.d.sync += accumulator.eq(step.next)
        m.d.comb += step.state.eq(state)

        copy = _delay(m, control, config.loop_latency, "copied").last
        drains = [Signal(layout, name=f"drain_{i}", reset_less=True) for i in slots]
        for i, drain in enumerate(drains):
            after = drains[i + 1] if i + 1 < len(drains) else self.drain_in
            m.d.sync += drain.eq(Mux(copy, accumulators[i], after))
        m.d.comb += self.drain_out.eq(drains[0])
        return m


def _delay(m: Module, x: Signal, cycles: int, name: str) -> Signal:
    for i in range(cycles):
        later = Signal.like(x, name=f"{name}_{i}")
        m.d.sync += later.eq(x)
        x = later
    return x
