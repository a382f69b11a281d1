"""One step of the fp32 accumulator, and the conversion at the drain, against exact rounding."""

import random

import pytest
from amaranth.hdl import Const
from hw_driver import comb

from mixdit_hw.packet import EXPONENT_BITS
from mixdit_hw.pe import fp32
from mixdit_hw.pe.fp32 import Fp32Prepare, Fp32Step
from mixdit_sw.gemm.reference import _add_fp32

BLOCK_BITS, WEIGHT_BITS = 21, EXPONENT_BITS + 1
CORNERS = [0, 0x00800000, 0x80800000, 0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0xFF800000, 0x3F800001]


def cases(count, rng):
    """Words and blocks: near each other and far apart, ties, cancellation, both ends."""
    for _ in range(count):
        exp = rng.randrange(1, 255)
        word = rng.choice(
            [rng.getrandbits(23) | exp << 23 | rng.getrandbits(1) << 31] * 3 + CORNERS
        )
        d = rng.getrandbits(rng.randrange(1, BLOCK_BITS)) * rng.choice([1, -1])
        exp = (word >> 23) & 0xFF
        y = exp - 150 + rng.choice([rng.randrange(-30, 30), 3, rng.randrange(-200, 200)])
        if rng.random() < 0.1 and 0 < exp < 255:
            # The same magnitude with the other sign, short of a few bits.
            d = (word & 0x7FFFFF | 0x800000) >> 4
            d, y = d if word >> 31 else -d, exp - 150 + 4
        yield word, d * (rng.random() > 0.05), max(-268, min(250, y))


def test_step_rounds_once():
    inputs = list(cases(6000, random.Random(1)))
    blocks = [{"block": d, "exponent": y, "valid": 1, "first": 0, "nan": 0} for _, d, y in inputs]
    prepared = comb(Fp32Prepare(BLOCK_BITS, WEIGHT_BITS), blocks, ["prepared"])
    steps = [
        {"state": word, "prepared": block}
        for (word, _, _), (block,) in zip(inputs, prepared, strict=True)
    ]
    found = comb(Fp32Step(BLOCK_BITS, WEIGHT_BITS), steps, ["next"])
    for (word, d, y), (bits,) in zip(inputs, found, strict=True):
        expected = _add_fp32(word, d, y) if d else word
        assert bits == expected, (hex(word), d, y, hex(bits), hex(expected))


def test_lost_sticky_bits_are_seen(monkeypatch):
    shift = fp32.shift_right_sticky
    monkeypatch.setattr(fp32, "shift_right_sticky", lambda *args: (shift(*args)[0], Const(0, 1)))
    with pytest.raises(AssertionError):
        test_step_rounds_once()
