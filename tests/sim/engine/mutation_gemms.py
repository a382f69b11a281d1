"""GEMMs that are hard on an engine's numbers."""

from dataclasses import replace

import numpy as np
from engine_cases import numbers, quantize_mapped
from epilogue_cases import SPECIAL, as_float32, as_words
from epilogue_cases import numbers as hard_numbers
from mutation_trial import KIND, STEPS

from mixdit_sw.engine.gemm import LayerGemm
from mixdit_sw.formats import MX4, MX6, MX9
from mixdit_sw.gemm.epilogue import apply_epilogue
from mixdit_sw.gemm.fast import golden_gemm


def along(formats, length):
    """Formats, repeated, of the K-blocks of so many channels."""
    return tuple(formats[i % len(formats)] for i in range(-(-length // 16)))


def gemm(rng, m, k, n, a_formats, b_formats, *, steps=(), bf16=False, stored=None):
    """A GEMM with formats repeated along K; with `stored`, C is an operand of such formats."""
    sizes = {"row_scale": (m,), "col_scale": (n,), "bias": (n,), "residual": (m, n)}
    return LayerGemm(
        a=quantize_mapped(numbers(rng, (m, k)), along(a_formats, k)),
        b=quantize_mapped(numbers(rng, (n, k)), along(b_formats, k)),
        bf16=bf16,
        as_operand=stored and along(stored, n),
        **{step: numbers(rng, sizes[step]) for step in steps},
    )


def chained(rng, first, number, n, b_formats, **options):
    """A GEMM whose A is what another one, of this number, stores."""
    c = apply_epilogue(
        golden_gemm(first.a, first.b, KIND), **{step: getattr(first, step) for step in STEPS}
    )
    plain = gemm(rng, first.a.rows, c.shape[1], n, (MX6,), b_formats, **options)
    return replace(plain, a=quantize_mapped(c, first.as_operand), a_source=number)


def hard_sums(rng, size, k, *formats):
    """A GEMM whose partial sums lie at all distances from the next block's, or cancel it."""
    operands = []
    for _ in formats:
        x = rng.normal(size=(size, k)).astype(np.float32)
        blocks = np.exp2(rng.integers(-30, 31, (size, k // 16))).repeat(16, axis=1)
        operands.append(x * np.where(rng.random((size, 1)) < 0.7, blocks, 1))
    a, b = operands
    half = k // 2
    opposite = rng.random(size) < 0.4
    # The second half of K takes back the first, all but for a few blocks.
    a[opposite, half:] = -a[opposite, :half]
    b[:, half:] = b[:, :half]
    a[:, 16 * rng.integers(k // 16)] *= np.float32(1.25)
    fmts = [along(fmts, half) * 2 for fmts in formats]
    return LayerGemm(
        a=quantize_mapped(a.astype(np.float32), fmts[0]),
        b=quantize_mapped(b.astype(np.float32), fmts[1]),
    )


def stored_ties(rng, rows, blocks):
    """A GEMM that stores an operand, half of whose elements lie between two of its format."""
    n = 16 * blocks
    one = np.tile(np.eye(16, dtype=np.float32), (blocks, 1))
    steps = np.exp2(rng.integers(-4, 1, (rows, 16)))
    x = rng.integers(-128, 129, (rows, 16)) * steps
    x *= np.exp2(rng.choice([0, 0, 40, -60], (rows, 1)))
    x[rng.random((rows, 1))[:, 0] < 0.05] = np.inf
    # Nothing, a last bit more, or numbers of every size.
    residual = np.where(rng.random((rows, n)) < 0.5, 0, numbers(rng, (rows, n)))
    far = hard_words(rng.integers(1, 255, (rows, n)), rng)
    residual = np.where(rng.random((rows, 1)) < 0.3, as_float32(far), residual)
    return LayerGemm(
        a=quantize_mapped(x.astype(np.float32), (MX9,)),
        b=quantize_mapped(one, (MX9,)),
        residual=residual.astype(np.float32),
        as_operand=along((MX4, MX6, MX9), n),
    )


def stored_words(rng, rows, n, *formats):
    """A GEMM that stores its residual as an operand: elements at the edges of each rounding."""
    words = edge_words(rng, rows, n)
    zero = gemm(rng, rows, 16, n, (MX4,), (MX4,), stored=formats)
    a = quantize_mapped(np.zeros((rows, 16), np.float32), (MX4,))
    return replace(zero, a=a, residual=words)


def edge_words(rng, rows, n):
    """Numbers at the edges of each format's rounding, float32 (rows, n)."""
    exponents = rng.choice([1, 3, 60, 127, 128, 200, 247, 254], (rows, n // 16)).repeat(16, axis=1)
    near = exponents - rng.choice([0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 25], (rows, n))
    words = hard_words(near, rng)
    # Half a last bit of each format, a little less, and more by any one bit.
    place = rng.integers(14, 24, (rows, n), dtype=np.uint32)
    half = np.uint32(1) << place
    tie = (words & ~(half - np.uint32(1))) | half >> np.uint32(1)
    nudge = rng.integers(-1, 2, (rows, n))
    tie += np.where(nudge == 1, 1 << (words & 7), nudge).astype(np.uint32)
    words = np.where(rng.random((rows, n)) < 0.7, tie, words)
    words[rng.random((rows, n)) < 0.1] = 0
    words[rng.random((rows, n)) < 0.002] = 0x7F800000
    return as_float32(words.astype(np.uint32))


def special_epilogue(rng, size):
    """A GEMM whose epilogue's operands are zeros, infinities, NaN, and both ends of FP32."""
    plain = gemm(rng, size, 16, size, (MX9,), (MX9,))
    shapes = {"row_scale": size, "col_scale": size, "bias": size, "residual": (size, size)}
    words = {name: rng.choice(SPECIAL, shape) for name, shape in shapes.items()}
    for name in ("row_scale", "col_scale", "bias"):
        ordinary = rng.random(size) < 0.6
        words[name] = np.where(ordinary, hard_words(rng.integers(120, 134, size), rng), words[name])
    return replace(plain, **{name: as_float32(value) for name, value in words.items()})


def hard_epilogue(rng, size, *formats):
    """A GEMM whose epilogue rounds, cancels, overflows and underflows everywhere."""
    plain = gemm(rng, size, 32, size, *formats)
    c = golden_gemm(plain.a, plain.b, KIND)
    # Rows in the middle, and at both ends of the exponents.
    target = rng.choice([127, 127, 4, 250], size)
    middle = np.median(as_words(c) >> 23 & 255, axis=1).astype(np.int64)
    row_scale = hard_words(target + 127 - middle, rng)
    col_scale = hard_words(rng.integers(124, 131, size), rng)
    scaled = {"row_scale": as_float32(row_scale), "col_scale": as_float32(col_scale)}
    c = apply_epilogue(c, **scaled)
    bias = as_float32(hard_words(near_exponents(c, rng)[rng.integers(size)], rng))
    c = apply_epilogue(c, bias=bias)
    opposite = as_words(c) ^ np.uint32(1 << 31) ^ rng.integers(0, 9, c.shape, dtype=np.uint32)
    residual = hard_words(near_exponents(c, rng), rng)
    residual = np.where(rng.random(c.shape) < 0.3, opposite, residual).astype(np.uint32)
    return replace(plain, **scaled, bias=bias, residual=as_float32(residual))


def scaled(rng, size):
    """A GEMM whose scales have significands of any bits: many products, of which few are close."""
    plain = gemm(rng, size, 16, size, (MX6,), (MX6,))
    words = rng.integers(120 << 23, 134 << 23, (2, size), dtype=np.uint32)
    row_scale, col_scale = as_float32(words)
    return replace(plain, row_scale=row_scale, col_scale=col_scale)


def near_exponents(c, rng):
    """Biased exponents at most a significand below those of c."""
    gaps = rng.choice([-1, 0, 0, 1, 2, 3, 5, 9, 14, 20, 23, 24, 25, 26, 30], c.shape)
    return (as_words(c) >> 23 & 255).astype(np.int64) - gaps


def hard_words(exponents, rng):
    """FP32 words of such exponents, as far as there are."""
    return hard_numbers(np.clip(exponents, 1, 254), rng)
