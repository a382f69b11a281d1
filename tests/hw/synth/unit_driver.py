"""Drives a baseline unit: one set of inputs a cycle, outputs at a fixed distance behind them."""

from fractions import Fraction

from amaranth.sim import Simulator

NAN, INF = 0x7FC00000, 0x7F800000


def run_unit(dut, inputs, output, latency):
    """Apply {port: value} cycle by cycle; return what `output` is `latency` cycles later."""
    seen = []

    def raw(port):
        return port.as_value() if hasattr(port, "as_value") else port

    async def bench(ctx):
        for cycle in range(len(inputs) + latency):
            for name, value in inputs[min(cycle, len(inputs) - 1)].items():
                ctx.set(raw(getattr(dut, name)), value)
            if cycle >= latency:
                seen.append(ctx.get(raw(getattr(dut, output))))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


def fp32_value(word):
    """Exact value of a normal FP32 word, or 0."""
    exp = word >> 23 & 0xFF
    if exp == 0:
        return Fraction(0)
    return (
        (-1) ** (word >> 31) * (1 + Fraction(word & 0x7FFFFF, 1 << 23)) * Fraction(2) ** (exp - 127)
    )


def fp32_word(x):
    """Nearest FP32 word, ties to even; below normal +0, beyond Inf."""
    if x == 0:
        return 0
    sign, x = (x < 0) << 31, abs(x)
    exp = x.numerator.bit_length() - x.denominator.bit_length()
    exp -= x < Fraction(2) ** exp
    significand = round(x / Fraction(2) ** (exp - 23))  # to even, as Python's round does
    if significand == 1 << 24:
        significand, exp = 1 << 23, exp + 1
    if exp < -126:
        return 0
    if exp > 127:
        return sign | INF
    return sign | (exp + 127) << 23 | significand - (1 << 23)


def fp32_sums(terms, clears, turns):
    """Words of `turns` sums that take turns after each term, a Fraction or None for a NaN."""
    words, seen = [0] * turns, []
    for i, (term, clear) in enumerate(zip(terms, clears, strict=True)):
        word = words[i % turns]
        if clear:
            word = 0
        elif term is None or word == NAN:
            word = NAN
        elif word & INF != INF and term:
            word = fp32_word(fp32_value(word) + term)
        words[i % turns] = word
        seen.append(word)
    return seen


def names_of(units):
    """Module names of units that are not used otherwise."""
    for unit in units:
        unit._MustUse__used = True
    return {unit.module_name for unit in units}
