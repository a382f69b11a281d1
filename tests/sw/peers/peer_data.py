"""Inputs for the comparisons with other implementations: ordinary and hard ones, all seeded."""

from collections.abc import Iterator

import numpy as np

CHUNK = 1 << 20
"""Values that are compared at a time."""

KIND = 1 << 12
"""Blocks of each kind of hard input."""

UNIT = 32

FRACTIONS = np.array([1, 1.125, 1.25, 1.5, 1.75, 1.875, 1.9375, 1.96875, 1.984375, 1.9921875])
"""Significands at which an element type rounds to its largest number, beyond it, or ties."""


def words(rng: np.random.Generator, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    """Return float32 of random sign and fraction, with exponent fields low..high."""
    fields = rng.integers(low, high + 1, shape, dtype=np.uint32)
    rest = rng.integers(0, 1 << 24, shape, dtype=np.uint32)
    return ((rest >> 23 << 31) | (fields << 23) | (rest & 0x7FFFFF)).view(np.float32)


def normals(rng: np.random.Generator, blocks: int, exponents: int = 20) -> np.ndarray:
    """Return blocks of N(0, 1), each times a power of two."""
    x = rng.standard_normal((blocks, UNIT), dtype=np.float32)
    return np.ldexp(x, rng.integers(-exponents, exponents + 1, (blocks, 1)))


def ties(rng: np.random.Generator, blocks: int) -> np.ndarray:
    """Return integers of few bits times a power of two: half of them lie between two codes."""
    limits = 1 << rng.integers(1, 12, (blocks, 1))
    x = rng.integers(0, limits, (blocks, UNIT)) * rng.choice([-1, 1], (blocks, UNIT))
    return np.ldexp(x.astype(np.float32), rng.integers(-100, 100, (blocks, 1)))


def edges(rng: np.random.Generator, blocks: int) -> np.ndarray:
    """Return numbers within two ulp of where elements saturate, and some binades below."""
    x = np.ldexp(rng.choice(FRACTIONS, (blocks, UNIT)), rng.integers(-9, 1, (blocks, UNIT)))
    x = np.ldexp(x, rng.integers(-90, 90, (blocks, 1))).astype(np.float32)
    x = (x.view(np.int32) + rng.integers(-2, 3, x.shape, dtype=np.int32)).view(np.float32)
    return x * rng.choice(np.array([-1, 1], np.float32), x.shape)


def zeros(rng: np.random.Generator, blocks: int) -> np.ndarray:
    """Return blocks of zeros of both signs, and of zeros and one number."""
    x = np.where(rng.random((blocks, UNIT)) < 0.5, np.float32(-0.0), np.float32(0.0))
    x[: blocks // 2, 5] = rng.standard_normal(blocks // 2, dtype=np.float32)
    return x


def hard(seed: int) -> np.ndarray:
    """Return finite blocks of every hard kind, about a million values."""
    rng = np.random.default_rng(seed)
    shape = (KIND, UNIT)
    return np.concatenate(
        [
            zeros(rng, KIND),
            ties(rng, KIND),
            edges(rng, KIND),
            words(rng, shape, 0, 254),  # all exponents in one block
            words(rng, shape, 0, 0),  # subnormals only
            words(rng, shape, 0, 24),  # scales at and below the least one
            words(rng, shape, 230, 254),  # the greatest scales
            np.where(rng.random(shape) < 0.9, np.float32(-1e-30), normals(rng, KIND)),
        ]
    )


def chunks(count: int, seed: int) -> Iterator[np.ndarray]:
    """Yield finite blocks (n, 32): the hard ones, then `count` chunks of normal ones."""
    yield hard(seed)
    for n in range(count):
        yield normals(np.random.default_rng([seed, n]), CHUNK // UNIT)


def broken(seed: int, blocks: int = 256) -> np.ndarray:
    """Return blocks with a NaN, with an Inf, and with both."""
    rng = np.random.default_rng(seed)
    x = normals(rng, blocks)
    columns = rng.integers(1, UNIT, blocks)
    values = np.array([np.nan, -np.nan, np.inf, -np.inf], np.float32)
    x[np.arange(blocks), columns] = values[np.arange(blocks) % 4]
    x[:8, 0] = np.nan
    return x


def bits_of(x: np.ndarray) -> np.ndarray:
    """Return the bits of float32 with zeros made +0, as this project stores them."""
    return (x.astype(np.float32) + np.float32(0.0)).view(np.uint32)
