"""What a quantized model's float products have in common with the engine's."""

import numpy as np
import pytest
import torch

from mixdit_sw.formats import LANES, get_format
from mixdit_sw.gemm.kinds import parse_kind
from mixdit_sw.gemm.reference import golden_gemm
from mixdit_sw.operand import quantize_pair
from mixdit_sw.policy.apply import quantize_model
from mixdit_sw.policy.description import (
    AttentionRule,
    Dynamic,
    LinearRule,
    Policy,
    uniform_policy,
)
from mixdit_sw.policy.golden import (
    golden_linear,
    golden_product,
    golden_products,
    linear_tensors,
)
from mixdit_sw.policy.modules import QuantizedLinear, QuantizedMatMul

KIND = parse_kind("aligned40")
FC1 = "blocks.0.mlp.fc1"
POLICIES = [
    Policy(),
    Policy(
        linear=LinearRule(high_share=0.1, weight_high_blocks=1, weight_method="gptq"),
        attention=AttentionRule(high_heads=1),
        rounding="truncate",
    ),
    Policy(linear=LinearRule(dynamic=Dynamic(rows=3), weight="mxfp4", order="sorted")),
]


def tokens(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def bound(a, b):
    """Twice the most by which two FP32 sums of the same products can differ."""
    terms = a.shape[-1] + 2
    return 2 * terms * 2.0**-24 * (a.abs() @ b.abs().transpose(-2, -1)) + 2.0**-126


@pytest.mark.parametrize("policy", POLICIES)
def test_operands_have_the_engines_values(small_model, calibration, policy):
    x = tokens(2, 7, 40)
    with quantize_model(small_model, policy, calibration):
        layer = small_model.get_submodule(FC1)
        a, b = layer.operands(x)
        engine_a, engine_b = linear_tensors(layer, x)
    found = np.concatenate([part.values() for part in engine_a])
    assert np.array_equal(a.reshape(-1, 40).numpy().view(np.uint32), found.view(np.uint32))
    assert np.array_equal(b.numpy().view(np.uint32), engine_b.values().view(np.uint32))


@pytest.mark.parametrize("policy", POLICIES)
def test_products_differ_in_the_order_of_sums_only(small_model, calibration, policy):
    x = tokens(2, 7, 40)
    with quantize_model(small_model, policy, calibration):
        layer = small_model.get_submodule(FC1)
        difference = (layer(x) - golden_linear(layer, x, KIND)).abs()
        a, b = layer.operands(x)
        assert (difference <= bound(a, b) + layer.bias_0.abs() * 2.0**-23).all()
        product = small_model.get_submodule("blocks.0.attn.qk")
        q, k = tokens(3, 2, 4, 20), tokens(3, 2, 5, 20).flip(0)
        difference = (product(q, k) - golden_product(product, q, k, KIND)).abs()
        assert (difference <= bound(*product.operands(q, k))).all()


def test_sums_without_rounding_have_equal_bits(small_model, calibration):
    """Small integers: all formats hold them, and every partial sum is exact in FP32."""
    policy = Policy(linear=LinearRule(high_share=0.1), attention=AttentionRule(high_heads=1))
    rng = torch.Generator().manual_seed(0)
    x = torch.randint(-15, 16, (2, 7, 40), generator=rng).float()
    q, k = (torch.randint(-15, 16, (3, 2, 4, 20), generator=rng).float() for _ in range(2))
    with quantize_model(small_model, policy, calibration):
        layer = small_model.get_submodule(FC1)
        layer.weight_0.copy_(torch.randint(-15, 16, (80, 40), generator=rng))
        layer.bias_0 = torch.randint(-99, 99, (80,), generator=rng).float()
        assert torch.equal(layer(x), golden_linear(layer, x, KIND))
        product = small_model.get_submodule("blocks.0.attn.qk")
        assert torch.equal(product(q, k), golden_product(product, q, k, KIND))


def test_a_linear_is_the_gemm_of_the_command_line(small_model, calibration):
    """The same high channels: bits of `quantize_pair` and the reference model."""
    with quantize_model(small_model, Policy(linear=LinearRule(high_share=0.1)), calibration):
        layer = small_model.get_submodule(FC1)
        plan, x = layer.plans[0], tokens(6, 40)
        high = np.array(plan.order[: LANES * plan.activation.count("mx9")])
        # fc2's order stands in the rows of this weight.
        rows = torch.argsort(
            torch.tensor(small_model.get_submodule("blocks.0.mlp.fc2").plans[0].order)
        )
        found = golden_linear(layer, x, KIND)[:, rows] - layer.bias
    operands = quantize_pair(
        x.numpy(), layer.weight.numpy(), get_format("mx6"), get_format("mx6"), a_high=high
    )
    expected = torch.from_numpy(golden_gemm(*operands, KIND)) + layer.bias - layer.bias
    assert torch.equal(found, expected)


def test_float_layers_stay_float(small_model, calibration, inputs):
    plain = small_model(*inputs)
    with (
        quantize_model(small_model, uniform_policy("float32"), calibration),
        golden_products(small_model, KIND),
    ):
        assert torch.equal(small_model(*inputs), plain)


def test_a_whole_model_on_the_golden_model(small_model, calibration, inputs):
    # So short sums are exact in FP32 and in the default kind; a kind without guard bits rounds.
    kind = parse_kind("aligned25x4")
    with quantize_model(small_model, uniform_policy("mx9"), calibration):
        fast, calls = small_model(*inputs), []
        layers = [
            m for m in small_model.modules() if isinstance(m, QuantizedLinear | QuantizedMatMul)
        ]
        with golden_products(small_model, kind):
            hooks = [
                m.register_forward_hook(lambda m, i, o: calls.append((m, i, o))) for m in layers
            ]
            golden = small_model(*inputs)
        for hook in hooks:
            hook.remove()
        assert len(calls) == len(layers) == 12
        for module, args, output in calls:
            exact = golden_linear if isinstance(module, QuantizedLinear) else golden_product
            assert torch.equal(output, exact(module, *args, kind))
        assert not torch.equal(fast, golden)
        # A sum's last bit may flip a code on its way, so only closeness can be asked for.
        assert (fast - golden).abs().max() < 0.05 * golden.abs().max()
        assert torch.equal(small_model(*inputs), fast)
