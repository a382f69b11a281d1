"""One step of the aligned accumulator against the rule in `mixdit_sw.gemm.reference`."""

import random

import numpy as np
import pytest
from hw_driver import comb

from mixdit_hw.packet import EXPONENT_BITS
from mixdit_hw.pe.accumulator import AccumulatorConfig
from mixdit_hw.pe.aligned import AlignedStep, prepared_layout, state_layout
from mixdit_sw.errors import MixditError
from mixdit_sw.gemm.kinds import parse_kind
from mixdit_sw.gemm.reference import _AlignedState

BLOCK_BITS, WEIGHT_BITS = 21, EXPONENT_BITS + 1


def cases(f, q, count, rng):
    """States and blocks: near each other and far apart, full, empty, and at the ends."""
    limit = 1 << (f - 1)
    for _ in range(count):
        s = rng.choice([0, 1, -1, rng.getrandbits(rng.randrange(1, f - 1)), limit - 1, limit // 2])
        s = max(-limit, min(limit - 1, s * rng.choice([1, -1]) + rng.choice([0, 0, 1, -1])))
        window = rng.randrange(-200 // q, 200 // q)
        d = rng.getrandbits(rng.randrange(1, BLOCK_BITS)) * rng.choice([1, -1, 1, -1, 0])
        y = max(-268, min(250, q * window + rng.randrange(-f - 20, f + 20)))
        yield s, window, d, y


@pytest.mark.parametrize("name", ["aligned37", "aligned40", "aligned44x4", "aligned32x4"])
def test_step_follows_the_rule(name):
    kind = parse_kind(name)
    f, q = kind.significand_bits, kind.step_bits
    states, blocks = state_layout(kind, WEIGHT_BITS), prepared_layout(kind, BLOCK_BITS, WEIGHT_BITS)
    inputs, expected = [], []
    for s, window, d, y in cases(f, q, 4000, random.Random(f)):
        reference = _AlignedState(kind, (1, 1))
        reference.s[:], reference.window[:] = s, window
        reference.add(np.array([[d]]), np.array([[y]]))
        expected.append((int(reference.s[0, 0]), int(reference.window[0, 0])))
        state = {"significand": s, "window": window + 1, "nan": 0}
        block = {
            "shifted": d << (y % q + q),
            "window": y // q,
            "used": d != 0,
            "nan": 0,
            "first": 0,
        }
        inputs.append({"state": word(states, state), "prepared": word(blocks, block)})
    found = comb(AlignedStep(kind, BLOCK_BITS, WEIGHT_BITS), inputs, ["next"])
    for (bits,), (s, window) in zip(found, expected, strict=True):
        state = states.from_bits(bits)
        base = min(state.window - 1, window)
        assert state.significand << q * (state.window - 1 - base) == s << q * (window - base)


def word(layout, values):
    return layout.const(values).as_value().value


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": parse_kind("aligned36")}, "Accumulator aligned36 needs at least 37 significand"),
        ({"loop_latency": 2}, r"Loop latency of aligned37 must be 1..1, not 2"),
        (
            {"kind": parse_kind("fp32"), "loop_latency": 2},
            "Interleave must be at least the loop latency 2, not 1",
        ),
    ],
)
def test_bad_configuration(changes, message):
    base = {"kind": parse_kind("aligned37"), "block_bits": 21, "exponent_bits": 10}
    with pytest.raises(MixditError, match=message):
        AccumulatorConfig(**{**base, **changes})
