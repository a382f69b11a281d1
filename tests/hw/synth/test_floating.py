"""The floating-point baselines, and their FP32 loop, against exact rational arithmetic."""

import random
from fractions import Fraction

import pytest
from unit_driver import NAN, fp32_sums, fp32_value, fp32_word, names_of, run_unit

from mixdit_hw.synth.baselines import (
    BF16,
    FLOAT_FORMATS,
    FP8,
    FP16,
    FloatMac,
    LoopPipeline,
    fp32_loop,
)
from mixdit_sw.errors import MixditError

PIPELINES = [LoopPipeline(s, i) for s in range(1, 5) for i in range(max(1, s - 2), s + 1)]


def value(fmt, code):
    """Exact value of a code; None for Inf and NaN."""
    exp = code >> fmt.man_bits & (1 << fmt.exp_bits) - 1
    fraction = code & (1 << fmt.man_bits) - 1
    top = (1 << fmt.exp_bits) - 1
    if exp == top and (not fmt.finite or fraction == (1 << fmt.man_bits) - 1):
        return None
    if exp == 0:
        return Fraction(0)
    magnitude = (1 + Fraction(fraction, 1 << fmt.man_bits)) * Fraction(2) ** (exp - fmt.bias)
    return -magnitude if code >> fmt.bits - 1 else magnitude


def codes(fmt, rng):
    """A pair of codes: of a narrow range of exponents mostly, so that sums cancel and carry."""
    middle = rng.choice([fmt.bias] * 4 + [1, (1 << fmt.exp_bits) - 3])
    pair = []
    for _ in range(2):
        exp = max(0, min((1 << fmt.exp_bits) - 1, middle + rng.randint(-2, 2)))
        if rng.random() < 0.1:
            exp = rng.getrandbits(fmt.exp_bits)
        fraction = rng.choice([rng.getrandbits(fmt.man_bits)] * 3 + [0, (1 << fmt.man_bits) - 1, 1])
        pair.append(rng.getrandbits(1) << fmt.bits - 1 | exp << fmt.man_bits | fraction)
    return pair


def cases(fmt, count, rng):
    """Pairs and clears: random ones, exact cancellations, repeated extremes."""
    pairs, clears = [], []
    while len(pairs) < count:
        kind = rng.random()
        a, b = codes(fmt, rng)
        if kind < 0.1 and pairs:
            a, b = pairs[-1][0] ^ 1 << fmt.bits - 1, pairs[-1][1]
        is_special = value(fmt, a) is None or value(fmt, b) is None
        if is_special and rng.random() < 0.8:
            continue
        pairs.append((a, b))
        clears.append(is_special or rng.random() < 0.05)
        if is_special:
            clears[-1] = rng.random() < 0.3
    pairs[count // 2], clears[count // 2] = ((1 << fmt.bits - 1) - 1, pairs[0][1]), False  # NaN
    return pairs, clears


def check(fmt, pipeline, count=500):
    rng = random.Random(f"{fmt.name} {pipeline}")
    pairs, clears = cases(fmt, count, rng)
    terms = []
    for a, b in pairs:
        x, y = value(fmt, a), value(fmt, b)
        terms.append(None if x is None or y is None else x * y)
    dut = FloatMac(fmt, pipeline)
    inputs = [{"a": a, "b": b, "clear": c} for (a, b), c in zip(pairs, clears, strict=True)]
    found = run_unit(dut, inputs, "acc", pipeline.latency)
    expected = fp32_sums(terms, clears, pipeline.interleave)
    assert NAN in expected and len(set(expected)) > count // 8
    assert [hex(w) for w in found] == [hex(w) for w in expected]


@pytest.mark.parametrize("fmt", FLOAT_FORMATS, ids=lambda f: f.name)
@pytest.mark.parametrize("pipeline", PIPELINES, ids=lambda p: p.suffix or "one_cycle")
def test_mac(fmt, pipeline):
    check(fmt, pipeline)


def loop_cases(rng, count):
    """Terms near and far from what the sum is then, ties, both ends."""
    word, terms, clears = 0, [], []
    while len(terms) < count:
        clear = rng.random() < 0.03
        exp = word >> 23 & 0xFF
        near = exp + rng.choice([-1, 0, 1, -24, -25, -26, rng.randint(-30, 30)])
        exp = max(-200, min(380, rng.choice([near, near, near, rng.randint(-150, 350)])))
        sig = rng.choice([1 << 21, (1 << 22) - 1, 1 << 21 | rng.getrandbits(21)])
        if rng.random() < 0.2:
            sig = max(1 << 21, (word >> 2 & 0x1FFFFF | 1 << 21) + rng.randint(-1, 1))
        sign = rng.getrandbits(1) if rng.random() < 0.3 else ~(word >> 31) & 1
        used = rng.random() < 0.97
        terms.append((sig & (1 << 22) - 1 | 1 << 21, exp, sign, used))
        clears.append(clear)
        term = terms[-1][0] * Fraction(2) ** (exp - 148) * (-1) ** sign * used
        word = fp32_sums([fp32_value(word), term], [False, False], 1)[-1]
        if word & 0x7F800000 == 0x7F800000:
            clears[-1], word = rng.random() < 0.5 or clears[-1], 0
        if clear:
            word = 0
    return terms, clears


@pytest.mark.parametrize("cycles", [1, 2, 3, 4])
def test_loop_of_wide_range(cycles):
    terms, clears = loop_cases(random.Random(cycles), 2500)
    layout = fp32_loop.term_layout(22, 10)
    if cycles > 1:  # every sum sees the whole sequence
        terms = [t for t in terms for _ in range(cycles)]
        clears = [c for c in clears for _ in range(cycles)]
    inputs = [
        {
            "term": layout.const({"sig": sig, "exp": exp, "sign": sign, "used": used, "nan": 0})
            .as_value()
            .value,
            "clear": clear,
        }
        for (sig, exp, sign, used), clear in zip(terms, clears, strict=True)
    ]
    values = [
        sig * Fraction(2) ** (exp - 148) * (-1) ** sign * used for sig, exp, sign, used in terms
    ]
    found = run_unit(fp32_loop.Fp32Loop(22, 10, cycles), inputs, "acc", cycles)
    assert found == fp32_sums(values, clears, cycles)


def test_a_lost_sticky_bit_is_seen(monkeypatch):
    align = fp32_loop.Fp32Loop._align

    def without(self, m, parts):
        parts = align(self, m, parts)
        return parts | {"aligned": parts["aligned"] & ~1}

    monkeypatch.setattr(fp32_loop.Fp32Loop, "_align", without)
    with pytest.raises(AssertionError):
        test_loop_of_wide_range(1)


def test_model_rounds_to_even():
    assert fp32_word(Fraction(1) + Fraction(1, 1 << 24)) == 0x3F800000
    assert fp32_word(Fraction(1) + Fraction(3, 1 << 24)) == 0x3F800002
    assert fp32_word(-(Fraction(2) ** 128)) == 0xFF800000
    assert fp32_word(Fraction(2) ** -127) == 0


def test_formats():
    assert value(FP16, 0x3C00) == value(BF16, 0x3F80) == value(FP8, 0x38) == 1
    assert value(FP16, 0x7BFF) == 65504
    assert value(FP8, 0x7E) == 448
    assert value(FP8, 0xFF) is None
    assert value(FP16, 0xFC00) is None


def test_pipelines_that_do_not_exist():
    with pytest.raises(MixditError, match="Stages must be 1..4, not 0"):
        LoopPipeline(0)
    with pytest.raises(MixditError, match="Interleave of 4 stages must be 2..4, not 1"):
        LoopPipeline(4, 1)


def test_names_encode_the_parameters():
    units = [FloatMac(f, p) for f in FLOAT_FORMATS for p in PIPELINES]
    assert len(names_of(units)) == len(units)
