"""GPTQ in formats with micro-exponents."""

import pytest
import torch

from mixdit_sw.codec.fake import fake_quantize
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import MX4, MX6, MX9
from mixdit_sw.policy.fake_mixed import fake_mixed
from mixdit_sw.policy.gptq import DAMPING, gptq


def correlated(k, seed=0):
    """Inputs whose channels share a few directions, float32 (rows, K)."""
    rng = torch.Generator().manual_seed(seed)
    mix = torch.randn(8, k, generator=rng)
    return torch.randn(500, 8, generator=rng) @ mix + 0.3 * torch.randn(500, k, generator=rng)


def weight(n, k, seed=1):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(n, k, generator=rng) * torch.exp2(2 * torch.randn(n, k, generator=rng))


@pytest.mark.parametrize("k", [64, 37])
@pytest.mark.parametrize("names", ["mx6 mx6 mx6 mx6", "mx9 mx6 mx4 mx6"])
def test_without_correlation_it_is_nearest_rounding(k, names):
    names = names.split()[: -(-k // 16)]
    formats = [{"mx4": MX4, "mx6": MX6, "mx9": MX9}[name] for name in names]
    w = weight(20, k)
    w[3] = 0.0
    w[4, :16] = 0.0
    w[5] *= 2.0**-130
    found = gptq(w, torch.diag(torch.rand(k) + 0.5), formats)
    assert torch.equal(found.view(torch.int32), fake_mixed(w, names).view(torch.int32))


def test_values_are_those_of_the_format():
    x, w = correlated(80), weight(30, 80)
    for fmt in (MX6, MX9, MX4):
        found = gptq(w, x.T @ x, [fmt] * 5)
        assert torch.equal(found.view(torch.int32), fake_quantize(found, fmt).view(torch.int32))


def test_the_output_changes_less():
    x, w = correlated(64), weight(30, 64)
    found, nearest = gptq(w, x.T @ x / 500, [MX6] * 4), fake_quantize(w, MX6)
    errors = [(x @ (q - w).T).square().sum() for q in (found, nearest)]
    assert errors[0] < 0.5 * errors[1]


def column_by_column(w, hessian, fmt):
    """Algorithm 1 without blocks: after each column, all later ones are corrected."""
    k = w.shape[1]
    damped = hessian.double() + DAMPING * hessian.double().diagonal().mean() * torch.eye(k)
    upper = torch.linalg.cholesky(torch.linalg.inv(damped)).T
    rest, done = w.double().clone(), torch.zeros_like(w, dtype=torch.float64)
    scales = torch.zeros(len(w), dtype=torch.float64)
    for c in range(k):
        if c % 16 == 0:
            scales = torch.floor(torch.log2(rest[:, c : c + 16].abs().amax(dim=1)))
        if c % 2 == 0:
            own = torch.floor(torch.log2(rest[:, c : c + 2].abs().amax(dim=1)))
            step = 2.0 ** (scales - (own < scales).double() - fmt.magnitude_bits + 1)
        done[:, c] = (rest[:, c] / step).round().clamp(-fmt.max_code, fmt.max_code) * step
        error = (rest[:, c] - done[:, c]) / upper[c, c]
        rest[:, c + 1 :] -= torch.outer(error, upper[c, c + 1 :])
    return done.float()


def test_equals_the_algorithm_without_blocks():
    x, w = correlated(64), weight(10, 64)
    hessian = x.T @ x
    assert torch.equal(gptq(w, hessian, [MX6] * 4), column_by_column(w, hessian, MX6))


def test_an_input_that_is_always_zero():
    x, w = correlated(32), weight(5, 32)
    x[:, 7] = 0
    assert gptq(w, x.T @ x, [MX6] * 2).isfinite().all()


def test_bad_hessians():
    w = weight(5, 32)
    with pytest.raises(MixditError, match=r"A weight of 32 inputs needs a Hessian \(32, 32\)"):
        gptq(w, torch.eye(31), [MX6] * 2)
    for bad in (-torch.eye(32), torch.full((32, 32), torch.nan)):
        with pytest.raises(MixditError, match="GPTQ's Hessian is not positive definite"):
            gptq(w, bad, [MX6] * 2)
