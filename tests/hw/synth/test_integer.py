"""The integer baselines against Python integers."""

import random

import pytest
from unit_driver import names_of, run_unit

from mixdit_hw.synth.baselines import Int8Mac, IntDot, IntMac, IntPipeline
from mixdit_sw.errors import MixditError

PIPELINES = [IntPipeline(*p) for p in [(1,), (2,), (2, True), (3,), (3, True), (4, True)]]


def wrap(x):
    return (x + (1 << 31)) % (1 << 32) - (1 << 31)


def sums(terms, clears):
    acc, seen = 0, []
    for term, clear in zip(terms, clears, strict=True):
        acc = 0 if clear else wrap(acc + term)
        seen.append(acc)
    return seen


def halves_aligned(words, skew):
    """With skew the low half of a sum is seen one cycle before its high half."""
    if not skew:
        return words
    pairs = zip(words, words[1:], strict=False)
    return [wrap((old & 0xFFFF) | (new & ~0xFFFF)) for old, new in pairs]


def clears_of(count, rng):
    return [rng.random() < 0.02 for _ in range(count)]


def check_mac(dut, width, latency, skew=False, count=600):
    rng = random.Random(width)
    low, high = -(1 << width - 1), (1 << width - 1) - 1
    ends = [low, high, 0, -1]
    values = [
        [rng.choice(ends) if rng.random() < 0.2 else rng.randint(low, high) for _ in range(2)]
        for _ in range(count)
    ]
    values[:300] = [[low, low]] * 300  # long enough a run for the carry of the low half
    clears = clears_of(count, rng)
    clears[1:300] = [False] * 299
    inputs = [{"a": a, "b": b, "clear": c} for (a, b), c in zip(values, clears, strict=True)]
    expected = sums([a * b for a, b in values], clears)
    found = run_unit(dut, inputs, "acc", latency - skew)
    found = halves_aligned(found, skew)
    assert found == expected[: len(found)]
    assert len(found) >= count - 1


@pytest.mark.parametrize("width", [4, 8])
@pytest.mark.parametrize("pipeline", PIPELINES, ids=lambda p: p.suffix or "one_cycle")
def test_mac(width, pipeline):
    assert pipeline.latency == 1 + pipeline.stages
    check_mac(IntMac(width, pipeline), width, pipeline.latency, pipeline.skew)


def test_int8_mac_is_the_one_cycle_unit():
    dut = Int8Mac()
    assert dut.module_name == "int8_mac"
    check_mac(dut, 8, Int8Mac.LATENCY)


def test_accumulator_wraps():
    vector = sum(0x80 << 8 * i for i in range(16))  # 16 products of 2**14
    inputs = [{"a": vector, "b": vector, "clear": i == 0} for i in range((1 << 13) + 3)]
    found = run_unit(IntDot(8), inputs, "acc", 2)
    assert found[(1 << 13) - 1 : (1 << 13) + 1] == [(1 << 31) - (1 << 18), -(1 << 31)]


@pytest.mark.parametrize("pipeline", PIPELINES, ids=lambda p: p.suffix or "one_cycle")
def test_dot(pipeline):
    rng = random.Random(pipeline.stages)
    lanes = 16
    vectors = [
        [[rng.choice([-128, 127, rng.randint(-128, 127)]) for _ in range(lanes)] for _ in "ab"]
        for _ in range(120)
    ]
    vectors[:60] = [[[-128] * lanes] * 2] * 60
    clears = [i == 0 or (i > 60 and rng.random() < 0.05) for i in range(len(vectors))]
    dut = IntDot(8, lanes, pipeline)

    def word(vector):
        return sum((x & 0xFF) << 8 * i for i, x in enumerate(vector))

    inputs = [
        {"a": word(a), "b": word(b), "clear": c} for (a, b), c in zip(vectors, clears, strict=True)
    ]
    expected = sums([sum(x * y for x, y in zip(a, b, strict=True)) for a, b in vectors], clears)
    found = halves_aligned(
        run_unit(dut, inputs, "acc", pipeline.latency - pipeline.skew), pipeline.skew
    )
    assert found == expected[: len(found)]


def test_pipelines_that_do_not_exist():
    with pytest.raises(MixditError, match="Stages must be 1..4, not 5"):
        IntPipeline(5)
    with pytest.raises(MixditError, match="without skew goes with 1..3 stages, not 4"):
        IntPipeline(4)
    with pytest.raises(MixditError, match="with skew goes with 2..4 stages, not 1"):
        IntPipeline(1, True)


def test_names_encode_the_pipeline():
    units = [IntMac(w, p) for w in (4, 8) for p in PIPELINES]
    units += [IntDot(w, 16, p) for w in (4, 8) for p in PIPELINES]
    assert len(names_of(units)) == len(units)
