"""Golden GEMM, the integer form and the fast one, against the rational oracle, bit for bit."""

import gemm_cases
import numpy as np
import oracle
import pytest
import torch

from mixdit_sw.errors import MixditError
from mixdit_sw.formats import MX6, MX9
from mixdit_sw.gemm import fast, reference
from mixdit_sw.gemm.kinds import Aligned, Fp32, parse_kind
from mixdit_sw.operand import quantize_operand

KINDS = (
    "fp32",
    "aligned40",
    "aligned29",
    "aligned33x4",
    "aligned25x2",
    "aligned52",
    "aligned52x16",
)


def words(c: np.ndarray) -> np.ndarray:
    assert c.dtype == np.float32
    return c.view(np.uint32)


def oracle_words(case, kind) -> np.ndarray:
    if isinstance(kind, Aligned):
        return oracle.gemm(*case, "aligned", kind.significand_bits, kind.step_bits)
    return oracle.gemm(*case, "fp32")


def check(case, name: str) -> np.ndarray:
    kind = parse_kind(name)
    expected = oracle_words(case, kind)
    assert np.array_equal(words(reference.golden_gemm(*case, kind)), expected)
    assert np.array_equal(words(fast.golden_gemm(*case, kind)), expected)
    return expected


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("case", gemm_cases.CASES)
def test_case(case, name):
    check(gemm_cases.CASES[case](np.random.default_rng(7)), name)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("spread", [0, 3, 12, 60])
def test_random(spread, name):
    for seed in range(3):
        check(gemm_cases.random_case(seed, spread, max_rows=3), name)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("spread", [0, 2, 5, 9, 20, 50])
def test_fast_is_the_reference(spread, name):
    for seed in range(100, 104):
        case = gemm_cases.random_case(seed, spread, max_rows=24, max_k=700)
        kind = parse_kind(name)
        expected = words(reference.golden_gemm(*case, kind))
        assert np.array_equal(words(fast.golden_gemm(*case, kind)), expected)


@pytest.mark.parametrize("name", ["fp32", "aligned40", "aligned40"])
@pytest.mark.parametrize("k", [256, 1152, 4608])
def test_fast_is_the_reference_on_plain_data(k, name):
    """Long sums of N(0, 1) in MX9, as large as norms allow: too long for one float32 product."""
    rng = np.random.default_rng(k)
    x = gemm_cases.normal(rng, 1, k)
    near = [x + np.float32(0.01) * gemm_cases.normal(rng, rows, k) for rows in (6, 7)]
    case = gemm_cases.both(*near)
    kind = parse_kind(name)
    expected = words(reference.golden_gemm(*case, kind))
    assert np.array_equal(words(fast.golden_gemm(*case, kind)), expected)


def test_cases_reach_what_they_are_for():
    """The corners are in the results, so that the comparisons above mean something."""

    def result(case: str, name: str) -> np.ndarray:
        return check(gemm_cases.CASES[case](np.random.default_rng(7)), name)

    for name in ("fp32", "aligned40"):
        assert {0x7F800000, 0xFF800000} <= set(result("overflow", name).flat)
        assert 0 in result("underflow", name)
        nan = result("nan_blocks", name) == 0x7FC00000
        assert nan[1].all() and nan[:, 2].all() and nan[:, 4].all() and nan.sum() == 11
        assert not result("all_zero", name).any()
    near = result("nearly_overflow", "aligned40")
    inf, last = 0x7F800000, 0x7F7FFFFF
    assert near[:, 0].tolist() == [inf, inf, last, last, inf]
    assert (near[:, 1] == near[:, 0] | 1 << 31).all()
    for name in ("fp32", "aligned40"):
        assert result("nearly_normal", name)[:, 0].tolist() == [0, 0, 1 << 23, 1 << 23, 1 << 23]
    assert not result("creeping", "fp32").any() and result("creeping", "aligned40").all()
    edge = result("edge_of_room", "aligned40") & 0x7FFFFFFF
    assert (edge[:, 0] != edge[:, 1]).any()
    assert (result("rising", "fp32") != result("rising", "aligned29x4")).any()
    assert (result("falling", "fp32") != result("falling", "aligned40")).any()


def test_infinity_stays():
    """Once Inf, what follows is finite and changes nothing; `aligned` has no Inf before the end."""
    a = np.full((1, 48), 2.0**64, np.float32)
    b = np.full((1, 48), 2.0**64, np.float32)
    a[0, 32:] = -(2.0**64)
    case = quantize_operand(a, MX6), quantize_operand(b, MX6)
    assert check(case, "fp32") == 0x7F800000
    a[0, 16:32] = 0
    case = quantize_operand(a, MX6), quantize_operand(b, MX6)
    assert check(case, "fp32") == 0x7F800000
    assert check(case, "aligned40") == 0


def test_tiles_and_panels(monkeypatch):
    """Results do not depend on where tiles end."""
    case = gemm_cases.random_case(5, 6, max_rows=40, max_k=300)
    for name in ("fp32", "aligned40"):
        whole = fast.golden_gemm(*case, parse_kind(name))
        monkeypatch.setattr(fast, "_CPU_TILE_BYTES", 16 * 49)
        monkeypatch.setattr(fast, "_PANEL_LANES", 3000)
        assert np.array_equal(words(fast.golden_gemm(*case, parse_kind(name))), words(whole))
        monkeypatch.undo()


def test_reduced_precision_is_off_during_a_product_and_back_afterwards():
    mkldnn = torch.backends.mkldnn.matmul
    before = mkldnn.fp32_precision
    try:
        mkldnn.fp32_precision = "bf16"
        case = gemm_cases.random_case(11, 0, max_rows=24, max_k=300)
        expected = words(reference.golden_gemm(*case, Fp32()))
        assert np.array_equal(words(fast.golden_gemm(*case, Fp32())), expected)
        assert mkldnn.fp32_precision == "bf16"
    finally:
        mkldnn.fp32_precision = before


@pytest.mark.parametrize("golden_gemm", [reference.golden_gemm, fast.golden_gemm])
def test_errors(golden_gemm):
    x = np.ones((2, 48), np.float32)
    a = quantize_operand(x, MX9)
    with pytest.raises(MixditError, match="same K, not 48 and 32"):
        golden_gemm(a, quantize_operand(x[:, :32], MX9), Fp32())
    with pytest.raises(MixditError, match="same order"):
        golden_gemm(a, quantize_operand(x, MX9, order=np.arange(48)[::-1]), Fp32())


def test_torch_operands_must_have_the_same_k_blocks():
    x = np.ones((2, 48), np.float32)
    a = fast.TorchOperand.from_quantized(quantize_operand(x, MX9))
    b = fast.TorchOperand.from_quantized(quantize_operand(x[:, :32], MX9))
    with pytest.raises(MixditError, match="same K-blocks, not 3 and 2"):
        fast.multiply(a, b, Fp32())
