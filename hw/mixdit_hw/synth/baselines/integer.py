"""Integer baselines: a multiply-accumulate unit and a dot product unit."""

from amaranth.hdl import Cat, Module, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...sharing import Shared
from .pipeline import IntPipeline, delay

OPERAND_WIDTH = 8
ACCUMULATOR_WIDTH = 32
HALF = ACCUMULATOR_WIDTH // 2
ONE_CYCLE = IntPipeline()


class IntMultiplier(wiring.Component):
    """Signed multiplier, combinational.

    Members
    -------
    a, b : In(signed(a_width)), In(signed(b_width))
        Operands.
    product : Out(signed(a_width + b_width))
        Their product.
    """

    def __init__(self, a_width: int, b_width: int | None = None) -> None:
        b_width = b_width or a_width
        suffix = "" if a_width == b_width else f"x{b_width}"
        self.module_name = f"int{a_width}{suffix}_multiplier"
        super().__init__(
            {
                "a": In(signed(a_width)),
                "b": In(signed(b_width)),
                "product": Out(signed(a_width + b_width)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Describe the unit."""
        m = Module()
        m.d.comb += self.product.eq(self.a * self.b)
        return m


class Int8Multiplier(IntMultiplier):
    """`IntMultiplier` of 8 bits."""

    def __init__(self) -> None:
        super().__init__(OPERAND_WIDTH)


class IntMac(wiring.Component):
    """Integer multiply-accumulate unit; the accumulator wraps at 32 bits. Only it is reset.

    Behind the operand registers: multiplication and accumulation in one cycle; from two stages on a
    register behind the product; with three the multiplier cut in two as well. With `skew`, a
    further stage is for the accumulator's high half, which takes the low half's carry.

    Members
    -------
    a, b : In(signed(width))
        Operands; one pair every cycle.
    clear : In(1)
        Makes the accumulator 0 instead of adding the pair it comes with.
    acc : Out(signed(32))
        Sum of the products since the last clear, `pipeline.latency` cycles after their operands.
        With `skew`, its low half is there one cycle earlier than its high half.

    Parameters
    ----------
    width
        Bits of an operand.
    pipeline
        Its stages.
    """

    lanes = 1

    def __init__(self, width: int, pipeline: IntPipeline = ONE_CYCLE) -> None:
        self.width, self.pipeline = width, pipeline
        super().__init__(
            {
                "a": In(signed(width)),
                "b": In(signed(width)),
                "clear": In(1),
                "acc": Out(signed(ACCUMULATOR_WIDTH)),
            }
        )

    @property
    def module_name(self) -> str:
        """Name of the Verilog module."""
        return f"int{self.width}_mac{self.pipeline.suffix}"

    def elaborate(self, platform: object) -> Module:
        """Describe the unit."""
        m = Module()
        clear = Signal(reset_less=True)
        a = Signal.like(self.a, name="a_reg", reset_less=True)
        b = Signal.like(self.b, name="b_reg", reset_less=True)
        m.d.sync += [a.eq(self.a), b.eq(self.b), clear.eq(self.clear)]
        cuts = self.pipeline.cuts
        product = _multiply(m, a, b, split=cuts == 2)
        product = delay(m, product, cuts > 0, "product")
        accumulate(m, self.acc, product, delay(m, clear, cuts, "clear"), skew=self.pipeline.skew)
        return m


class Int8Mac(IntMac):
    """INT8 multiply-accumulate unit of one cycle: the project's clock is a ratio to this one's.

    See `IntMac` for its members; one pair of operands takes `LATENCY` cycles.
    """

    LATENCY = 2

    def __init__(self) -> None:
        super().__init__(OPERAND_WIDTH)


class IntDot(wiring.Component):
    """Dot product of integer vectors, summed up in 32 bits that wrap. Only the sum is reset.

    Behind the operand registers: all in one cycle; with two stages a register behind the adder
    tree; with three another one behind the multipliers.

    Members
    -------
    a, b : In(ArrayLayout(signed(width), lanes))
        Operands; one pair of vectors every cycle.
    clear, acc
        As in `IntMac`.

    Parameters
    ----------
    width, lanes
        Bits of an operand, operands of a vector.
    pipeline
        Its stages.
    """

    def __init__(self, width: int, lanes: int = 16, pipeline: IntPipeline = ONE_CYCLE) -> None:
        self.width, self.lanes, self.pipeline = width, lanes, pipeline
        vector = data.ArrayLayout(signed(width), lanes)
        super().__init__(
            {
                "a": In(vector),
                "b": In(vector),
                "clear": In(1),
                "acc": Out(signed(ACCUMULATOR_WIDTH)),
            }
        )

    @property
    def module_name(self) -> str:
        """Name of the Verilog module."""
        return f"int{self.width}_dot{self.lanes}{self.pipeline.suffix}"

    def elaborate(self, platform: object) -> Module:
        """Describe the unit."""
        m = Module()
        clear = Signal(reset_less=True)
        a = Signal.like(self.a, name="a_reg", reset_less=True)
        b = Signal.like(self.b, name="b_reg", reset_less=True)
        m.d.sync += [a.eq(self.a), b.eq(self.b), clear.eq(self.clear)]
        cuts = self.pipeline.cuts
        terms: list[Value] = []
        for lane in range(self.lanes):
            m.submodules[f"multiplier_{lane}"] = unit = Shared(IntMultiplier(self.width))
            m.d.comb += [unit.a.eq(a[lane]), unit.b.eq(b[lane])]
            terms.append(delay(m, unit.product, cuts > 1, f"product_{lane}"))
        level = 0
        while len(terms) > 1:
            sums = []
            for i in range(0, len(terms), 2):
                width = len(terms[i]) + 1
                total = Signal(signed(width), name=f"sum_{level}_{i // 2}")
                m.d.comb += total.eq(sum(terms[i : i + 2]))
                sums.append(total)
            terms, level = sums, level + 1
        total = delay(m, terms[0], cuts > 0, "total")
        accumulate(m, self.acc, total, delay(m, clear, cuts, "clear"), skew=self.pipeline.skew)
        return m


def accumulate(m: Module, acc: Value, term: Value, clear: Value, *, skew: bool) -> None:
    """Add `term` to the register `acc`, or clear it; with `skew` in halves, a cycle apart."""
    if not skew:
        m.d.sync += acc.eq(acc + term)
        with m.If(clear):
            m.d.sync += acc.eq(0)
        return
    wide = Signal(signed(ACCUMULATOR_WIDTH))
    low, high = Signal(HALF), Signal(HALF)
    total = Signal(HALF + 1)
    carry, late_clear = Signal(reset_less=True), Signal(reset_less=True)
    late = Signal(signed(max(1, len(term) - HALF)), reset_less=True)
    m.d.comb += [wide.eq(term), total.eq(low + wide[:HALF]), acc.eq(Cat(low, high))]
    m.d.sync += [
        low.eq(total),
        carry.eq(total[HALF]),
        late.eq(wide[HALF:]),
        late_clear.eq(clear),
        high.eq(high + late + carry),
    ]
    with m.If(clear):
        m.d.sync += low.eq(0)
    with m.If(late_clear):
        m.d.sync += high.eq(0)


def _multiply(m: Module, a: Value, b: Value, *, split: bool) -> Value:
    """Return a * b; with `split`, the products with b's halves are registered before their sum.

    Multipliers are modules of their own: Yosys would merge them with the adder that follows into
    one much larger $macc cell.
    """
    width = len(a)
    if not split:
        m.submodules.multiplier = unit = Shared(IntMultiplier(width))
        m.d.comb += [unit.a.eq(a), unit.b.eq(b)]
        return unit.product
    half = width // 2
    m.submodules.low = low = Shared(IntMultiplier(width, half + 1))
    m.submodules.high = high = Shared(IntMultiplier(width, width - half))
    m.d.comb += [low.a.eq(a), high.a.eq(a), low.b.eq(b[:half]), high.b.eq(b[half:])]
    low_reg, high_reg = delay(m, low.product, 1, "low"), delay(m, high.product, 1, "high")
    product = Signal(signed(2 * width))
    m.d.comb += product.eq(low_reg + (high_reg << half))
    return product
