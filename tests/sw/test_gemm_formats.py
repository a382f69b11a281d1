"""Golden GEMM of every format: torch against NumPy, and NumPy against exact arithmetic."""

from fractions import Fraction

import numpy as np
import oracle
import pytest
import torch

from mixdit_sw import native
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import FORMATS, MX6, get_format
from mixdit_sw.gemm import fast, fast_values, reference
from mixdit_sw.gemm.kinds import DEFAULT_KIND, Fp32, parse_kind
from mixdit_sw.operand import quantize_operand, quantize_pair

NAMES = [*FORMATS, "int4_asym_g64", "fp4_e2m1_row", "int8_g48"]
VALUES = ("mxfp8_e4m3", "mxfp8_e5m2", "bf16", "fp16")


def random_pair(seed, a_name, b_name):
    """Shapes, spreads, high channels and the odd NaN, all of them small."""
    rng = np.random.default_rng(seed)
    m, n, k = int(rng.integers(1, 6)), int(rng.integers(1, 6)), int(rng.integers(1, 200))
    spread = int(rng.choice([0, 3, 30]))
    a, b = (
        (rng.standard_normal((rows, k)) * np.exp2(rng.integers(-spread, spread + 1, (rows, k))))
        .clip(-1e38, 1e38)
        .astype(np.float32)
        for rows in (m, n)
    )
    if seed % 5 == 0:
        a[0, 0], b[-1, -1] = np.nan, np.inf
    if seed % 7 == 0:
        a *= np.float32(1e-30)
    high = rng.choice(k, int(rng.integers(0, k // 3 + 1)), replace=False)
    return quantize_pair(a, b, get_format(a_name), get_format(b_name), high)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_fast_equals_reference(name, compiled, monkeypatch):
    monkeypatch.setattr(fast_values, "_WORTH_COMPILING", 0 if compiled else 1 << 60)
    others = np.random.default_rng(len(name)).choice(NAMES, 6)
    for seed, other in enumerate(others):
        for kind in (Fp32(), DEFAULT_KIND):
            pair = random_pair(seed, name, str(other))
            expected = reference.golden_gemm(*pair, kind).view(np.uint32)
            found = fast.golden_gemm(*pair, kind).view(np.uint32)
            assert np.array_equal(found, expected), (seed, other, str(kind))


@pytest.mark.parametrize("name", VALUES)
def test_numbers_are_a_chain_of_fused_multiply_adds(name):
    """Each step rounds the exact sum once, in rational arithmetic."""
    a, b = random_pair(1, name, "bf16")
    found = reference.golden_gemm(a, b, Fp32()).view(np.uint32)
    for i, j in np.ndindex(found.shape):
        if not (np.isfinite(a.values()[i]).all() and np.isfinite(b.values()[j]).all()):
            assert found[i, j] == oracle.NAN_WORD
            continue
        word = 0
        for x, y in zip(a.values()[i], b.values()[j], strict=True):
            word = oracle.add_fp32(word, Fraction(float(x)) * Fraction(float(y)))
        assert found[i, j] == word


@pytest.mark.parametrize("names", [("int4_asym_g64", "int8_g48"), ("nvfp4", "mx6")])
def test_segments_take_their_scales(names):
    """Sums of K-blocks between two changes of scale, times FP32 scales, added in FP32."""
    a, b = random_pair(2, *names)
    found = reference.golden_gemm(a, b, Fp32()).view(np.uint32)
    for i, j in np.ndindex(found.shape):
        total, word, last = 0, 0, None
        groups = [*zip(a.groups, b.groups, strict=True), None]
        for k, group in enumerate(groups):
            if group != last and last is not None:
                scale = [
                    1.0 if x.scales is None else x.scales[r, k - 1] for x, r in ((a, i), (b, j))
                ]
                factor = exact(
                    oracle.to_fp32(Fraction(float(scale[0])) * Fraction(float(scale[1])))
                )
                product = exact(oracle.to_fp32(exact(word) * factor))
                total, word = oracle.to_fp32(exact(total) + product), 0
            last = group
            if group is not None:
                word = oracle.add_fp32(word, block_dot(a, b, i, j, k))
        assert found[i, j] == total


def scale_of(x, row, k):
    return Fraction(1) if x.scales is None else Fraction(float(x.scales[row, k]))


def exact(word):
    return oracle.word_value(word)


def block_dot(a, b, i, j, k):
    """Return the dot product of two K-blocks without their scales."""
    total = Fraction(0)
    for lane in range(16):
        lanes = []
        for x, row in ((a, i), (b, j)):
            tau = int(x.micro_exponents[row, k, lane // 2])
            exponent = x.formats[k].packet_exponent(int(x.exponents[row, k])) + 1 - tau
            lanes.append(int(x.codes[row, k, lane]) * oracle.power(exponent))
        total += lanes[0] * lanes[1]
    return total


def test_scale_groups_of_a_mixed_operand():
    """High channels have no scale; the others keep groups of their own."""
    x = np.random.default_rng(0).standard_normal((3, 160)).astype(np.float32)
    operand = quantize_operand(x, get_format("int4_asym_g64"), high=np.array([0]))
    assert operand.groups == (0, *(1,) * 4, *(2,) * 4, 3)
    assert (operand.scales[:, 0] == 1).all()
    assert operand.packed_bytes == 3 * (18 + 3 * 5 + 9 * 8)


def test_nan_group_is_nan_in_every_output_that_uses_it():
    x = np.ones((3, 96), np.float32)
    x[1, 40] = np.inf
    fmt = get_format("int8_g48")
    c = fast.golden_gemm(quantize_operand(x, fmt), quantize_operand(x, MX6), DEFAULT_KIND)
    assert np.isnan(c[1]).all() and np.isnan(c).sum() == 4 + np.isnan(c[[0, 2]]).sum() - 1


def test_unknown_blocks_of_three_digits_need_bits():
    x = np.ones((1, 16), np.float32)
    wide = quantize_operand(x, get_format("fp8_e3m4"))
    with pytest.raises(MixditError, match="needs at least 37 significand bits for blocks of 27"):
        fast.golden_gemm(wide, wide, parse_kind("aligned36"))


@pytest.mark.parametrize("compiled", [True, False])
def test_a_sum_next_to_a_tie_is_rounded_once(compiled, monkeypatch):
    """A tiny C decides the tie of a large product, although float64 cannot hold their sum."""
    if compiled and not native.is_available():
        pytest.skip("there is no C++ compiler")
    monkeypatch.setattr(fast_values, "_WORTH_COMPILING", 0 if compiled else 1 << 60)
    rng = np.random.default_rng(0)
    odd = rng.integers(1 << 22, (1 << 25) // 6, 64) * 2 + 1  # 3 * odd has 25 bits: a tie
    tiny = np.float32(2.0**-50) * rng.choice([-1, 1], 64)
    a = np.stack([tiny, rng.choice([-3, 3], 64)], axis=1).astype(np.float32)
    b = np.stack([np.ones(64), odd], axis=1).astype(np.float32)
    found = fast_values.chain(torch.from_numpy(a), torch.from_numpy(b)).numpy().view(np.uint32)
    twice = 0
    for i, j in np.ndindex(found.shape):
        word = 0
        for x, y in zip(a[i], b[j], strict=True):
            word = oracle.add_fp32(word, Fraction(float(x)) * Fraction(float(y)))
        assert found[i, j] == word
        twice += word != np.float32(np.float64(a[i, 0]) + np.float64(a[i, 1]) * b[j, 1]).view(
            np.uint32
        )
    assert twice > 1000, "rounding to float64 first would often be wrong here"
