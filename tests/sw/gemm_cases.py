"""Operands for the GEMM tests: one small case for each thing that an accumulator must get right."""

from collections.abc import Callable

import numpy as np

from mixdit_sw.formats import MX4, MX6, MX9, Format
from mixdit_sw.operand import QuantizedOperand, quantize_operand, quantize_pair

Case = tuple[QuantizedOperand, QuantizedOperand]


def normal(rng: np.random.Generator, rows: int, k: int) -> np.ndarray:
    return rng.standard_normal((rows, k)).astype(np.float32)


def scaled(rng: np.random.Generator, rows: int, exponents: list[int]) -> np.ndarray:
    """N(0, 1), each K-block times 2**exponent, clipped to finite numbers."""
    x = rng.standard_normal((rows, len(exponents), 16))
    x = np.clip(x, -1.9, 1.9) * np.exp2(np.array(exponents, float))[:, None]
    return x.reshape(rows, -1).astype(np.float32)


def both(a: np.ndarray, b: np.ndarray, fmt: Format = MX9) -> Case:
    return quantize_operand(a, fmt), quantize_operand(b, fmt)


def overflow(rng: np.random.Generator) -> Case:
    """Sums, and single blocks, beyond FP32; of both signs, and back again."""
    exponents = [60, 63, 63, 64, 64, 100, 100, 20]
    a, b = scaled(rng, 5, exponents), scaled(rng, 4, exponents)
    return both(a, b)


def nearly_overflow(rng: np.random.Generator) -> Case:
    """Sums of 2**128 less 1/4, 1/2, 3/4 and 1 of its last bit; and negated."""
    a = np.full((5, 16 * 17), 2.0**60, np.float32)
    b = np.full((2, 16 * 17), 2.0**60, np.float32)
    a[:, :16] = 0
    a[:, 0] = -np.array([2.0**42, 2.0**43, 1.5 * 2.0**43, 2.0**44, 0.0])
    b[1] *= -1
    return both(a, b)


def underflow(rng: np.random.Generator) -> Case:
    """Products around 2**-126 and far below, some brought back by a larger block."""
    a = scaled(rng, 5, [-60, -64, -66, -68, -110, -70, -62, -64])
    b = scaled(rng, 4, [-62, -63, -64, -68, -120, -60, -30, -66])
    b[2:, :48] = 0
    b[2:, 96:112] = 0
    return both(a, b)


def nearly_normal(rng: np.random.Generator) -> Case:
    """Sums of 2**-126 less a whole, three quarters, a half and a quarter of its last bit."""
    a = np.zeros((5, 32), np.float32)
    a[:, 0] = 2.0**-63
    a[:4, 16] = -np.array([1.0, 0.75, 0.5, 0.25]) * 2.0**-75
    b = np.zeros((2, 32), np.float32)
    b[:, 0], b[:, 16] = 2.0**-63, 2.0**-75
    b[1] *= -1
    return both(a, b)


def creeping(rng: np.random.Generator) -> Case:
    """Blocks below 2**-126 that only together exceed it."""
    a = np.zeros((2, 16 * 9), np.float32)
    a[:, ::16] = 2.0**-64
    a[1] *= -1.5
    return both(a, a.copy())


def tiny_operand(rng: np.random.Generator) -> Case:
    """A's lanes are below the least float32, products are not."""
    a = scaled(rng, 3, [-126, -125, -122, -120, -126])
    return both(a, scaled(rng, 2, [30, 31, 31, 30, 32]))


def edge_of_room(rng: np.random.Generator) -> Case:
    """Minus a power of two has room where plus has not; what that did to block 1 is the result."""
    a, b = np.zeros((4, 96), np.float32), np.zeros((2, 96), np.float32)
    for row, p in enumerate((35, 37, 38, 39)):
        a[row, 0] = 2.0 ** (p - 18)
        a[row, 16] = 3.0
        a[row, 32:] = -(2.0 ** (p - 21))
    b[:, 0], b[:, 16], b[:, 32:] = 2.0**18, 16.0, 2.0**15
    b[1] *= -1
    return both(a, b)


def exponent_extremes(rng: np.random.Generator) -> Case:
    """Stored exponents 1 and 254, and blocks of subnormals, which are zero."""
    a = scaled(rng, 4, [-126, 126, -126, 126, -130, 0])
    b = scaled(rng, 3, [126, -126, -126, 1, 126, 0])
    return both(a, b)


def cancellation(rng: np.random.Generator) -> Case:
    """Every partial sum comes back to zero, and what follows is smaller."""
    base = scaled(rng, 4, [30, 10, 0])
    a = np.concatenate([base[:, :16], -base[:, :16], base[:, 16:]], axis=1)
    other = scaled(rng, 3, [3, 3, 0, 0])
    other[:, 16:32] = other[:, :16]
    return both(a, other)


def zero_dots(rng: np.random.Generator) -> Case:
    """Blocks orthogonal to each other, zero blocks, zero operands, at other exponents."""
    a, b = scaled(rng, 4, [0, 20, -20, 5, 5]), scaled(rng, 3, [0, 20, 20, 5, 5])
    a[:, 16:32:2] = 0
    b[:, 17:32:2] = 0
    a[1, 32:48] = 0
    b[2] = 0
    a[:, 64:] = 0
    return both(a, b)


def all_zero(rng: np.random.Generator) -> Case:
    return both(np.zeros((2, 40), np.float32), normal(rng, 3, 40))


def first_blocks_zero(rng: np.random.Generator) -> Case:
    a = normal(rng, 3, 80)
    a[:, :48] = 0
    return both(a, normal(rng, 3, 80))


def nan_blocks(rng: np.random.Generator) -> Case:
    a, b = normal(rng, 4, 64), normal(rng, 5, 64)
    a[1, 3], b[2, 60], b[4, 17] = np.nan, np.inf, -np.inf
    return both(a, b, MX6)


def minimal(rng: np.random.Generator) -> Case:
    return both(normal(rng, 1, 1), normal(rng, 1, 1), MX6)


def padded(rng: np.random.Generator) -> Case:
    return quantize_pair(normal(rng, 3, 37), normal(rng, 1, 37), MX6, MX9, np.array([4]))


def rising(rng: np.random.Generator) -> Case:
    """Each block larger than the sum so far: bits drop out at the bottom."""
    exponents = list(range(0, 36, 3))
    return both(scaled(rng, 4, exponents), scaled(rng, 4, exponents), MX6)


def falling(rng: np.random.Generator) -> Case:
    """Each block smaller: the window cannot follow."""
    exponents = list(range(36, 0, -3))
    return both(scaled(rng, 4, exponents), scaled(rng, 4, exponents), MX6)


def powers_of_two(rng: np.random.Generator) -> Case:
    """Sums that are exact powers of two, negative too: where room for a sum just ends."""
    signs = rng.choice([-1.0, 1.0], (6, 1))
    exponents = np.repeat(np.array([0, 9, 4, 13, 1, 17, 2, 0]), 16)
    a = (signs * np.exp2(exponents)).astype(np.float32)
    b = np.exp2(np.repeat(np.array([0, 8, 4, 12, 0, 16, 3, -9]), 16))[None].astype(np.float32)
    return both(a, np.concatenate([b, -b]))


def long_sum(rng: np.random.Generator) -> Case:
    """As many largest products as fit a layer: the significand grows by 9 bits."""
    return both(np.full((2, 4608), 1.99, np.float32), np.full((2, 4608), 1.99, np.float32))


CASES: dict[str, Callable[[np.random.Generator], Case]] = {
    f.__name__: f
    for f in (
        overflow,
        nearly_overflow,
        underflow,
        nearly_normal,
        creeping,
        tiny_operand,
        edge_of_room,
        exponent_extremes,
        cancellation,
        zero_dots,
        all_zero,
        first_blocks_zero,
        nan_blocks,
        minimal,
        padded,
        rising,
        falling,
        powers_of_two,
        long_sum,
    )
}


def random_case(seed: int, spread: int, max_rows: int = 5, max_k: int = 260) -> Case:
    """Random shapes, formats and high channels; exponents of blocks differ by up to 2 spread."""
    rng = np.random.default_rng(seed)
    m, n = rng.integers(1, max_rows + 1, 2)
    k = int(rng.integers(1, max_k + 1))
    a, b = (
        normal(rng, rows, k)
        * np.exp2(rng.integers(-spread, spread + 1, (rows, -(-k // 16))).repeat(16, 1)[:, :k])
        for rows in (m, n)
    )
    a_format, b_format = ([MX9, MX6, MX4][rng.integers(3)] for _ in range(2))
    high = rng.choice(k, int(rng.integers(0, k // 3 + 1)), replace=False)
    return quantize_pair(a.astype(np.float32), b.astype(np.float32), a_format, b_format, high)
