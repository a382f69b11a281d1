"""The PE of 2-bit multipliers against exact rational arithmetic, rounded to FP32 every pass."""

import random
from fractions import Fraction

import numpy as np
import pytest
from amaranth.hdl import Const
from unit_driver import NAN, fp32_sums, names_of, run_unit

from mixdit_hw.synth.baselines import DecomposedPe, LoopPipeline, decomposed
from mixdit_sw.formats import MX4, MX6, MX9

PIPELINES = [LoopPipeline(s, i) for s in range(1, 5) for i in range(max(1, s - 2), s + 1)]
MODES = {
    MX4: (decomposed.Mode.MX4, 16),
    MX6: (decomposed.Mode.MX6, 4),
    MX9: (decomposed.Mode.MX9, 1),
}


def operand(codes, taus, exponent, nan, fmt, rng):
    """Word of `OPERAND` for the elements of a pass; what is not used is random."""
    digits = max(1, fmt.magnitude_bits + 1 >> 1)
    mag = [rng.getrandbits(2) for _ in range(16)]
    sign = [rng.getrandbits(1) for _ in range(16)]
    tau = [rng.getrandbits(1) for _ in range(8)]
    for i, code in enumerate(codes):
        sign[i], tau[i // 2] = int(code < 0), int(taus[i // 2])
        for d in range(digits):
            mag[digits * i + d] = abs(int(code)) >> 2 * d & 3
    fields = {"mag": mag, "sign": sign, "tau": tau, "exponent": exponent, "nan": nan}
    return decomposed.OPERAND.const(fields).as_value().value


def blocks(fmt, count, rng):
    """Blocks of any kind: corners of codes, zero and tiny and huge blocks, every micro-exponent."""
    top = fmt.max_code
    for _ in range(count):
        codes = [rng.choice([0, top, -top, rng.randint(-top, top)]) for _ in range(16)]
        if rng.random() < 0.05:
            codes = [0] * 16
        taus = [rng.getrandbits(1) for _ in range(8)]
        stored = rng.choice([127] * 6 + [rng.randint(110, 140)] * 3 + [rng.randint(0, 254)])
        yield codes, taus, fmt.packet_exponent(stored), rng.random() < 0.005


def passes(fmt, count, rng):
    """Operand words of the passes of pairs of blocks, and each pass's exact sum (None: NaN)."""
    mode, step = MODES[fmt]
    pairs = zip(blocks(fmt, count, rng), blocks(fmt, count, rng), strict=True)
    for (a, a_tau, a_exp, a_nan), (b, b_tau, b_exp, b_nan) in pairs:
        weight = Fraction(2) ** (a_exp + b_exp)
        for i in range(0, 16, step):
            lanes = range(i, i + step)
            a_taus, b_taus = ([t[k // 2] for k in lanes[::2]] for t in (a_tau, b_tau))
            total = sum(a[k] * b[k] << 2 - a_tau[k // 2] - b_tau[k // 2] for k in lanes)
            words = [
                operand(x[i : i + step], t, e, n, fmt, rng)
                for x, t, e, n in ((a, a_taus, a_exp, a_nan), (b, b_taus, b_exp, b_nan))
            ]
            yield mode, words, None if a_nan or b_nan else total * weight


def run_modes(pipeline, seed, blocks_each):
    rng = random.Random(seed)
    work = [
        step
        for _ in range(2)
        for fmt, count in zip(MODES, blocks_each, strict=True)
        for step in passes(fmt, count, rng)
    ]
    clears = [i == 0 or rng.random() < 0.08 for i in range(len(work))]
    inputs = [
        {"mode": mode.value, "a": a, "b": b, "clear": clear}
        for (mode, (a, b), _), clear in zip(work, clears, strict=True)
    ]
    found = run_unit(DecomposedPe(pipeline), inputs, "acc", pipeline.latency)
    expected = fp32_sums([total for _, _, total in work], clears, pipeline.interleave)
    assert NAN in expected
    assert len(set(expected)) > len(work) // 6
    assert [hex(w) for w in found] == [hex(w) for w in expected]


@pytest.mark.parametrize("pipeline", PIPELINES, ids=lambda p: p.suffix or "one_cycle")
def test_all_modes(pipeline):
    run_modes(pipeline, str(pipeline), (60, 15, 8))


def test_lost_digit_weights_are_seen(monkeypatch):
    weigh = decomposed._weigh

    def without(m, name, parts, joined, digit):
        return weigh(m, name, parts, joined if name != "group_2" else Const(0), digit)

    monkeypatch.setattr(decomposed, "_weigh", without)
    with pytest.raises(AssertionError, match="0x"):
        run_modes(LoopPipeline(), "fault", (40, 20, 5))


def test_extremes_where_such_a_pe_is_known_to_fail():
    """A zero block times a tiny one is zero; an MX9 product keeps all of its 14 bits."""
    rng = random.Random(0)
    zero = operand([0] * 4, [0, 0], MX6.packet_exponent(0), 0, MX6, rng)
    tiny = operand([15] * 4, [0, 0], MX6.packet_exponent(1), 0, MX6, rng)
    nine = operand([127], [1], MX9.packet_exponent(127), 0, MX9, rng)
    modes = [MODES[f][0].value for f in (MX6, MX9)]
    inputs = [
        {"a": zero, "b": tiny, "mode": modes[0], "clear": 0},
        {"a": nine, "b": nine, "mode": modes[1], "clear": 0},
    ]
    found = run_unit(DecomposedPe(), inputs, "acc", LoopPipeline().latency)
    assert found[0] == 0
    value = np.array(found[1:2], np.uint32).view(np.float32)[0]
    assert value == 127.0**2 * 4.0**-7


def test_names_encode_the_pipeline():
    units = [DecomposedPe(p) for p in PIPELINES]
    assert len(names_of(units)) == len(units)
