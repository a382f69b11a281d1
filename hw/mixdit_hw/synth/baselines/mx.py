"""Units for one micro-exponent format only: 16 lanes, with the accumulator of our PE."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from mixdit_sw.formats import DIGIT_BITS, LANES, dot_bits, get_format
from mixdit_sw.gemm.kinds import DEFAULT_KIND

from ...packet import EXPONENT_BITS, PAIRS
from ...pe.accumulator import Accumulator, AccumulatorConfig
from ...pe.dot import Dot
from ...sharing import Shared
from .floating import SignificandMultiplier
from .pipeline import Pipeline, delay


def block_layout(mag_bits: int) -> data.StructLayout:
    """Layout of a block of elements: a digit packet with a digit of `mag_bits`."""
    return data.StructLayout(
        {
            "mag": data.ArrayLayout(mag_bits, LANES),
            "sign": data.ArrayLayout(1, LANES),
            "tau": data.ArrayLayout(1, PAIRS),
            "exponent": signed(EXPONENT_BITS),
            "nan": 1,
        }
    )


class MxUnit(wiring.Component):
    """Dot product of two blocks of one format a cycle, summed as our PE sums.

    As the PE, but without digits, passes and their join: the multipliers are as wide as the
    format's magnitudes; where that is a digit's width, the PE's dot product unit is used. It has
    operand registers, an accumulator and its drain register.

    Members
    -------
    a, b : In(block_layout)
        Blocks; one pair every cycle.
    valid, first, last : In(1)
        There is a pair; it starts a sum; it ends one.
    drain_in, drain_out : state_layout
        The drain chain: `latency` cycles after the last pair the sum is in the drain register.

    Parameters
    ----------
    fmt
        "mx9", "mx6" or "mx4".
    pipeline
        Its stages: dot product and accumulation in one cycle, or with registers behind the dot
        product, then behind the part of the accumulation that does not depend on the sum, then
        between multipliers and adders.
    """

    def __init__(self, fmt: str, pipeline: Pipeline) -> None:
        self.fmt, self.pipeline = get_format(fmt), pipeline
        self._config = AccumulatorConfig(
            kind=DEFAULT_KIND,
            block_bits=dot_bits(self.fmt, self.fmt),
            exponent_bits=EXPONENT_BITS + 1,
            prepare_register=pipeline.stages > 2,
        )
        block = block_layout(self._mag_bits)
        state = self._config.state_layout
        super().__init__(
            {
                "a": In(block),
                "b": In(block),
                "valid": In(1),
                "first": In(1),
                "last": In(1),
                "drain_in": In(state),
                "drain_out": Out(state),
            }
        )

    @property
    def _mag_bits(self) -> int:
        return self.fmt.magnitude_bits

    @property
    def accumulator(self) -> AccumulatorConfig:
        """Configuration of the accumulator."""
        return self._config

    @property
    def latency(self) -> int:
        """Cycles from a sum's last pair to the drain register."""
        return 1 + self.pipeline.latency

    @property
    def module_name(self) -> str:
        """Name of the Verilog module."""
        return f"{self.fmt.name}_unit{self.pipeline.suffix}"

    def elaborate(self, platform: object) -> Module:
        """Register, multiply and add up, accumulate."""
        m = Module()
        a, b = delay(m, self.a, 1, "a_reg"), delay(m, self.b, 1, "b_reg")
        control = Signal(3)
        m.d.sync += control.eq(Cat(self.valid, self.first, self.last))
        cut = int(self.pipeline.stages > 3)
        block = self._dot(m, a, b, cut)
        exponent, nan = Signal(signed(EXPONENT_BITS + 1)), Signal()
        m.d.comb += [
            exponent.eq(a.exponent + b.exponent - self._config.exponent_offset),
            nan.eq(a.nan | b.nan),
        ]
        after = int(self.pipeline.stages > 1)
        m.submodules.accumulator = accumulator = Accumulator(self._config)
        m.d.comb += [
            accumulator.block.eq(delay(m, block, after, "block_reg")),
            accumulator.exponent.eq(delay(m, exponent, cut + after, "exponent_reg")),
            accumulator.nan.eq(delay(m, nan, cut + after, "nan_reg")),
            accumulator.drain_in.eq(self.drain_in),
            self.drain_out.eq(accumulator.drain_out),
        ]
        late = control
        for i in range(cut + after):
            later = Signal(3, name=f"late_control_{i}")
            m.d.sync += later.eq(late)
            late = later
        m.d.comb += Cat(accumulator.valid, accumulator.first, accumulator.last).eq(late)
        return m

    def _dot(self, m: Module, a: data.View, b: data.View, cut: int) -> Signal:
        """Multiply lane by lane, [register,] then add up."""
        block = Signal(signed(self._config.block_bits))
        if self._mag_bits == DIGIT_BITS and not cut:
            m.submodules.dot = dot = Shared(Dot())
            lanes = dot.a.shape().size
            m.d.comb += [
                dot.a.eq(a.as_value()[:lanes]),
                dot.b.eq(b.as_value()[:lanes]),
                block.eq(dot.sum + dot.carry),
            ]
            return block
        m.submodules.tree = tree = Shared(MxTree(self._mag_bits))
        products = []
        for lane in range(LANES):
            unit = Shared(SignificandMultiplier(self._mag_bits, self._mag_bits))
            m.submodules[f"multiplier_{lane}"] = unit
            m.d.comb += [unit.a.eq(a.mag[lane]), unit.b.eq(b.mag[lane])]
            products.append(delay(m, unit.product, cut, f"product_{lane}"))
        m.d.comb += [
            tree.products.eq(Cat(products)),
            tree.signs.eq(delay(m, Cat(a.sign.as_value() ^ b.sign.as_value()), cut, "signs")),
            tree.a_tau.eq(delay(m, a.tau.as_value(), cut, "a_tau")),
            tree.b_tau.eq(delay(m, b.tau.as_value(), cut, "b_tau")),
        ]
        m.d.comb += block.eq(tree.total)
        return block


class MxTree(wiring.Component):
    """Sum of 16 signed products, each pair shifted by its micro-exponents. Combinational.

    As in our PE's dot product, negation is inversion and a carry into an adder; the last of the
    carries takes an adder of its own here.

    Members
    -------
    products : In(ArrayLayout(2 * mag_bits, 16))
        Magnitudes.
    signs : In(16)
        Their signs.
    a_tau, b_tau : In(8)
        Micro-exponents of the pairs.
    total : Out(signed)
        Sum of the products times 2**(2 - tau_a - tau_b).
    """

    def __init__(self, mag_bits: int) -> None:
        self._bits = 2 * mag_bits
        self.module_name = f"mx_tree_{self._bits}"
        super().__init__(
            {
                "products": In(data.ArrayLayout(self._bits, LANES)),
                "signs": In(LANES),
                "a_tau": In(PAIRS),
                "b_tau": In(PAIRS),
                "total": Out(signed(self._bits + 7)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Sign, add in pairs, shift, add up."""
        m = Module()
        terms = [self._pair(m, pair) for pair in range(PAIRS)]
        carries = [self.signs[2 * pair] for pair in range(PAIRS)]
        last = carries.pop()
        level = 0
        while len(terms) > 1:
            sums = []
            for i in range(0, len(terms), 2):
                total = Signal(signed(len(terms[i]) + 1), name=f"sum_{level}_{i // 2}")
                m.d.comb += total.eq(terms[i] + terms[i + 1] + carries.pop())
                sums.append(total)
            terms, level = sums, level + 1
        m.d.comb += self.total.eq(terms[0] + last)
        return m

    def _pair(self, m: Module, pair: int) -> Value:
        """Return the shifted sum of a pair, short of its first product's carry."""
        signs = self.signs[2 * pair], self.signs[2 * pair + 1]
        first, second = (
            Cat(self.products[2 * pair + i] ^ sign.replicate(self._bits), sign).as_signed()
            for i, sign in enumerate(signs)
        )
        both = Signal(signed(self._bits + 2), name=f"pair_{pair}")
        m.d.comb += both.eq(first + second + signs[1])
        fill = signs[0]
        by_one, by_two = Cat(fill, both).as_signed(), Cat(fill, fill, both).as_signed()
        tau_a, tau_b = self.a_tau[pair], self.b_tau[pair]
        term = Signal(signed(self._bits + 4), name=f"term_{pair}")
        m.d.comb += term.eq(Mux(tau_a, Mux(tau_b, both, by_one), Mux(tau_b, by_one, by_two)))
        return term
