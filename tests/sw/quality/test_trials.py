"""Data that accumulators are tried on, and their QSNR."""

import numpy as np
import pytest

from mixdit_sw.formats import LANES, MX6, MX9
from mixdit_sw.gemm.kinds import Aligned, Fp32
from mixdit_sw.gemm.reference import golden_gemm
from mixdit_sw.metrics import qsnr_db
from mixdit_sw.operand import quantize_operand
from mixdit_sw.quality import trials
from mixdit_sw.quality.accumulators import measure


@pytest.mark.parametrize("name", trials.DATA)
def test_every_trial_is_a_pair_and_repeatable(name):
    first, again = (trials.DATA[name](np.random.default_rng(3), 1152) for _ in range(2))
    assert [x.shape for x in first] == [(trials.ROWS, 1152)] * 2
    assert all((x == y).all() for x, y in zip(first, again, strict=True))


def test_blocks_cancel():
    a, b = trials.cancelling(20, 0, -1)(np.random.default_rng(0), 64)
    products = np.einsum("mkl,nkl->kmn", *(x.reshape(trials.ROWS, -1, LANES) for x in (a, b)))
    assert (products[0] == -products[-1]).all()
    assert np.abs(products[0]).max() > 2**20


def test_outliers():
    a, b = trials.outliers(100.0)(np.random.default_rng(0), 200)
    spread = a.std(axis=0)
    assert (spread > 50).sum() == 2 and b.std(axis=0).max() < 2


def test_qsnr_is_that_of_the_golden_gemm():
    rng = np.random.default_rng(0)
    pair = rng.standard_normal((5, 48)), rng.standard_normal((3, 48))
    kinds = (Fp32(), Aligned(40))
    found = measure([pair], kinds, [(MX9, MX6)])
    assert found.shape == (1, 2)
    a, b = (x.astype(np.float32) for x in pair)
    exact = a.astype(np.float64) @ b.astype(np.float64).T
    for i, kind in enumerate(kinds):
        result = golden_gemm(quantize_operand(a, MX9), quantize_operand(b, MX6), kind)
        assert found[0, i] == pytest.approx(qsnr_db(exact, result), rel=1e-12)
