"""FP32 words that are hard on scaling, adding and rounding."""

import numpy as np

SPECIAL = np.array(
    [0, 1 << 31, 1, 0x807FFFFF, 0x007FFFFF, 0x00800000, 0x80800000, 0x00800001]
    + [0x3F800000, 0xBF800000, 0x3F7FFFFF, 0x7F000000, 0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000]
    + [0xFF800000, 0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFABCDEF],
    np.uint32,
)


def any_words(shape, rng):
    """Words of all bit patterns, one of ten of them special."""
    words = rng.integers(0, 1 << 32, shape, dtype=np.uint32)
    return np.where(rng.random(shape) < 0.1, rng.choice(SPECIAL, shape), words)


def numbers(exponents, rng):
    """Words with given biased exponents, few or many bits, runs of ones, either sign."""
    shape = np.shape(exponents)
    fractions = rng.integers(0, 1 << 23, shape, dtype=np.uint32)
    few = rng.integers(0, 24, shape, dtype=np.uint32)
    ones = np.uint32((1 << 23) - 1)
    kinds = [fractions, ones << few & ones, ones >> few, fractions << few & ones]
    fractions = np.choose(rng.integers(0, 4, shape), kinds)
    signs = rng.integers(0, 2, shape, dtype=np.uint32) << 31
    return signs | np.asarray(exponents, np.uint32) << 23 | fractions


def factor_pairs(count, rng):
    """Pairs of words whose products lie anywhere, and near the ends of the exponents."""
    a = rng.integers(1, 255, count)
    near = rng.choice([127 + 254, 127 + 1, 254], count) + rng.integers(-2, 3, count) - a
    b = np.where(rng.random(count) < 0.7, np.clip(near, 1, 254), rng.integers(1, 255, count))
    x, y = np.where(
        rng.random(count) < 0.8, [numbers(a, rng), numbers(b, rng)], nearly_powers(count, rng)
    )
    return _with_special(x, y, rng)


def nearly_powers(count, rng):
    """Pairs (1 + x), (1 - x) whose products round up to the smallest normal number, or to Inf."""
    k = rng.integers(9, 20, count)
    shift = rng.integers(1, 127, count)
    total = rng.choice([127 + 1, 127 + 255], count)
    a = np.where(total == 128, shift, 254 - shift)
    x, y = a << 23 | 1 << 23 - k, (total - a - 1) << 23 | (1 << 23) - (1 << 24 - k)
    return x.astype(np.uint32), y.astype(np.uint32)


def product_ties(count, rng):
    """Pairs of 13 and 12 bits, whose products have 24 or 25 and may be ties; at any scale."""
    a = rng.integers(1 << 12, 1 << 13, count, dtype=np.uint32)
    b = rng.integers(1 << 11, 1 << 12, count, dtype=np.uint32)
    exp = rng.integers(64, 190, count, dtype=np.uint32)
    return exp << 23 | (a & 0xFFF) << 11, np.uint32(127 << 23) | (b & 0x7FF) << 12


def addend_pairs(count, rng):
    """Pairs of words of near exponents, of opposite ones, far ones, and half a last bit apart."""
    a = rng.integers(1, 255, count)
    gap = rng.choice([0, 0, 1, 1, 2, 23, 24, 25, 26, 27, 28, 40], count)
    b = np.where(rng.random(count) < 0.9, a - gap, rng.integers(1, 255, count))
    x, y = numbers(a, rng), numbers(np.clip(b, 1, 254), rng)
    nearly = x ^ np.uint32(1 << 31) ^ rng.integers(0, 4, count, dtype=np.uint32)
    y = np.where(rng.random(count) < 0.2, nearly, y)
    x, y = np.where(rng.random(count) < 0.5, [x, y], [y, x])
    return _with_special(x, y, rng)


def _with_special(a, b, rng):
    """Put special words in some places of either."""
    return tuple(np.where(rng.random(len(x)) < 0.1, rng.choice(SPECIAL, len(x)), x) for x in (a, b))


def as_float32(words):
    return np.asarray(words, np.uint32).view(np.float32)


def as_words(x):
    return np.asarray(x, np.float32).view(np.uint32)
