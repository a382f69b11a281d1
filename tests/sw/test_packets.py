"""Digit packets: what they are worth, and that joined passes give the exact dot product."""

import numpy as np
import oracle
import pytest

from mixdit_sw.codec.packets import Pass, passes, to_packets
from mixdit_sw.codec.reference import Blocks, decode, encode
from mixdit_sw.formats import MX4, MX6, MX9

ALL = [MX9, MX6, MX4]


def random_blocks(fmt, seed: int, shape=(5, 3), extreme: bool = False) -> Blocks:
    """Blocks of every code and micro-exponent, or of the largest magnitudes."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(-fmt.max_code, fmt.max_code + 1, (*shape, 16))
    if extreme:
        codes = rng.choice([-fmt.max_code, fmt.max_code], (*shape, 16))
    taus = rng.integers(0, 1 if extreme else 2, (*shape, 8))
    return Blocks(
        codes.astype(np.int16),
        rng.integers(100, 150, shape).astype(np.uint8),
        taus.astype(np.uint8),
    )


def run_passes(a, b, a_fmt, b_fmt) -> np.ndarray:
    """Dot products as a PE computes them from packets: one pass after the other, joined."""
    pa, pb = to_packets(a, a_fmt), to_packets(b, b_fmt)
    up = 2 - (pa.tau.astype(int) + pb.tau).repeat(2, axis=-1)
    sign = 1 - 2 * (pa.sign.astype(int) ^ pb.sign)
    joined = np.zeros(a.exponents.shape, np.int64)
    for step in passes(a_fmt.digits, b_fmt.digits):
        lanes = pa.mag[..., step.a_digit, :].astype(int) * pb.mag[..., step.b_digit, :]
        joined = (joined << 4 if step.shift else joined) + (sign * lanes << up).sum(axis=-1)
    return joined


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("b_fmt", ALL, ids=lambda f: f.name)
@pytest.mark.parametrize("a_fmt", ALL, ids=lambda f: f.name)
def test_joined_passes_are_the_exact_dot_product(a_fmt, b_fmt, extreme):
    a = random_blocks(a_fmt, 1, extreme=extreme)
    b = random_blocks(b_fmt, 2, extreme=extreme)
    joined = run_passes(a, b, a_fmt, b_fmt)
    pa, pb = to_packets(a, a_fmt), to_packets(b, b_fmt)
    for index in np.ndindex(joined.shape):
        exact = 0
        for fmt, blocks in ((a_fmt, a), (b_fmt, b)):
            block = oracle.OracleBlock(
                int(blocks.exponents[index]),
                tuple(map(int, blocks.micro_exponents[index])),
                tuple(map(int, blocks.codes[index])),
            )
            values = oracle.decode_block(block, fmt.magnitude_bits)
            assert values is not None
            exact = values if exact == 0 else sum(x * y for x, y in zip(exact, values, strict=True))
        weight = oracle.power(int(pa.exponent[index]) + int(pb.exponent[index]))
        assert int(joined[index]) * weight == exact


def test_passes_go_by_anti_diagonals():
    assert passes(1, 1) == (Pass(0, 0, False),)
    assert passes(2, 1) == (Pass(1, 0, False), Pass(0, 0, True))
    assert passes(2, 2) == (
        Pass(1, 1, False),
        Pass(1, 0, True),
        Pass(0, 1, False),
        Pass(0, 0, True),
    )


@pytest.mark.parametrize(("digits_a", "digits_b"), [(1, 3), (3, 2), (3, 3)])
def test_passes_weigh_each_pair_of_digits(digits_a, digits_b):
    steps = passes(digits_a, digits_b)
    assert len({(s.a_digit, s.b_digit) for s in steps}) == len(steps) == digits_a * digits_b
    shifts_after = [sum(s.shift for s in steps[n + 1 :]) for n in range(len(steps))]
    assert shifts_after == [s.a_digit + s.b_digit for s in steps]


@pytest.mark.parametrize("fmt", ALL, ids=lambda f: f.name)
def test_packets_are_worth_the_values(fmt):
    x = np.random.default_rng(3).standard_normal((4, 32)).astype(np.float32)
    blocks = encode(x, fmt)
    packets = to_packets(blocks, fmt)
    assert packets.mag.shape == (4, 2, fmt.digits, 16) and packets.mag.max() <= 15
    magnitude = sum(packets.mag[..., d, :].astype(int) << 4 * d for d in range(fmt.digits))
    down = packets.tau.repeat(2, axis=-1).astype(int)
    exponent = packets.exponent.astype(int)[..., None] + 1 - down
    values = np.ldexp(np.where(packets.sign, -magnitude, magnitude).astype(float), exponent)
    assert np.array_equal(values.reshape(4, 32), decode(blocks, fmt))
    assert int(packets.exponent[0, 0]) == fmt.packet_exponent(int(blocks.exponents[0, 0]))


def test_nan_blocks_look_like_zero_blocks():
    x = np.ones((1, 48), np.float32)
    x[0, 16], x[0, 32:] = np.inf, 0
    packets = to_packets(encode(x, MX9), MX9)
    assert packets.nan.tolist() == [[False, True, False]]
    assert packets.exponent[0, 1] == packets.exponent[0, 2] == MX9.packet_exponent(0)
    assert not packets.mag[0, 1].any() and not packets.sign[0, 1].any()


def test_dtypes():
    packets = to_packets(random_blocks(MX4, 5), MX4)
    assert packets.mag.dtype == packets.sign.dtype == packets.tau.dtype == np.uint8
    assert packets.exponent.dtype == np.int16 and packets.nan.dtype == bool
    assert to_packets(random_blocks(MX6, 5), MX6).mag.shape == (5, 3, 1, 16)
