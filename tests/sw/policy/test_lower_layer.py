"""The GEMMs that stand for a layer."""

import numpy as np
import pytest
import torch

from mixdit_sw.gemm.epilogue import apply_epilogue
from mixdit_sw.gemm.fast import golden_gemm
from mixdit_sw.gemm.kinds import parse_kind
from mixdit_sw.policy.apply import quantize_model
from mixdit_sw.policy.description import AttentionRule, Dynamic, LinearRule, Policy
from mixdit_sw.policy.golden import golden_linear, golden_product
from mixdit_sw.policy.lower_layer import layer_gemms, layer_sizes

KIND = parse_kind("aligned40")
MIXED = Policy(linear=LinearRule(high_share=0.1), attention=AttentionRule(high_heads=1))
DYNAMIC = Policy(linear=LinearRule(dynamic=Dynamic(rows=3)))


def inputs_of(name):
    rng = torch.Generator().manual_seed(0)
    if name == "mlp.fc1":
        return (torch.randn(2, 7, 40, generator=rng),)
    return tuple(torch.randn(3, 2, rows, 20, generator=rng) for rows in (4, 5))


@pytest.mark.parametrize("policy", [MIXED, DYNAMIC])
@pytest.mark.parametrize("name", ["mlp.fc1", "attn.qk"])
def test_they_compute_the_layer(small_model, calibration, policy, name):
    inputs = inputs_of(name)
    with quantize_model(small_model, policy, calibration):
        layer = small_model.get_submodule(f"blocks.1.{name}")
        gemms, sizes = layer_gemms(layer, inputs), layer_sizes(layer, inputs)
        exact = golden_linear if name == "mlp.fc1" else golden_product
        expected = exact(layer, *inputs, KIND)
    found = np.concatenate(
        [apply_epilogue(golden_gemm(g.a, g.b, KIND), bias=g.bias) for g in gemms]
    )
    wanted = expected.numpy().reshape(found.shape)
    assert np.array_equal(found.view(np.uint32), wanted.view(np.uint32))
    if policy is DYNAMIC and name == "mlp.fc1":
        assert sizes is None and [g.a.rows for g in gemms] == [3, 3, 1] * 2
    else:
        assert sizes == [g.size for g in gemms]
        assert len(sizes) == (1 if name == "mlp.fc1" else 6)
