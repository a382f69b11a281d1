"""What the compiler gets is what the quantized model multiplies."""

import numpy as np
import pytest
import torch

from mixdit_sw.engine.compiler import compile_gemms
from mixdit_sw.engine.shape import EngineShape
from mixdit_sw.errors import MixditError
from mixdit_sw.gemm.epilogue import apply_epilogue
from mixdit_sw.gemm.fast import golden_gemm
from mixdit_sw.gemm.kinds import parse_kind
from mixdit_sw.models.diffusion import SamplerConfig
from mixdit_sw.models.load import DiTBundle
from mixdit_sw.models.schedule import Schedule
from mixdit_sw.policy.apply import apply_plan
from mixdit_sw.policy.description import AttentionRule, Dynamic, LinearRule, Policy
from mixdit_sw.policy.golden import golden_products
from mixdit_sw.policy.lower import lower_block, plan_operands
from mixdit_sw.policy.modules import QuantizedLinear
from mixdit_sw.policy.select import resolve

KIND = parse_kind("aligned40")
LABELS, SAMPLER = torch.tensor([0, 2]), SamplerConfig(steps=3)
MIXED = Policy(
    linear=LinearRule(high_share=0.3, weight_method="gptq", weight_high_blocks=1),
    attention=AttentionRule(high_heads=1),
)
DYNAMIC = Policy(linear=LinearRule(dynamic=Dynamic(rows=3)), rounding="truncate")
SHAPE = EngineShape(rows=2, cols=2, bus_bytes=8, a_words=83, b_words=83, steps=("bias",))


@pytest.fixture
def bundle(small_model):
    return DiTBundle(model=small_model, schedule=Schedule(), facts={})


@pytest.mark.parametrize("policy", [Policy(), MIXED, DYNAMIC], ids=["mx6", "mixed", "dynamic"])
def test_golden_results_are_the_model_s_own(policy, bundle, calibration):
    model = bundle.model
    seen = {}

    def note(module, inputs, output):
        seen[module] = output

    with apply_plan(model, resolve(policy, calibration, model), calibration):
        block = model.blocks[1]
        layers = {
            name: block.get_submodule(path)
            for name, path in (
                ("qkv", "attn.qkv"),
                ("qk", "attn.qk"),
                ("av", "attn.av"),
                ("proj", "attn.proj"),
                ("fc1", "mlp.fc1"),
                ("fc2", "mlp.fc2"),
            )  # fmt: skip
        }
        with golden_products(model, KIND):
            hooks = [layer.register_forward_hook(note) for layer in layers.values()]
            lowered = lower_block(bundle, 1, 2, LABELS, SAMPLER)
        for hook in hooks:
            hook.remove()
        assert list(lowered) == ["qkv", "qk", "av", "proj", "fc1", "fc2"]
        for name, layer in layers.items():
            results = [
                apply_epilogue(golden_gemm(g.a, g.b, KIND), bias=g.bias) for g in lowered[name]
            ]
            wanted = seen[layer].numpy().reshape(-1, results[0].shape[1])
            found = np.concatenate(results)
            assert np.array_equal(found.view(np.uint32), wanted.view(np.uint32)), name
    compile_gemms(lowered["fc2"], SHAPE)


def test_layers_that_are_not_quantized_are_refused(bundle, calibration):
    policy = Policy(layers=("blocks.*.attn.*",))
    with (
        apply_plan(bundle.model, resolve(policy, calibration, bundle.model)),
        pytest.raises(MixditError, match=r"Layer mlp.fc1 of block 0 is not quantized"),
    ):
        lower_block(bundle, 0, 0, LABELS, SAMPLER)


def test_operands_of_a_linear(bundle, calibration):
    policy = Policy(linear=LinearRule(high_share=0.3, weight_high_blocks=1))
    plan = resolve(policy, calibration, bundle.model)
    name = "blocks.1.attn.qkv"
    weight = bundle.model.get_submodule(name).weight
    x = torch.randn(5, 40, generator=torch.Generator().manual_seed(0))
    a, b = plan_operands(x.numpy(), weight.numpy(), plan, name)
    layer = plan.phases[0].linears[name]
    assert tuple(f.name for f in a.formats) == layer.activation
    assert tuple(f.name for f in b.formats) == layer.weight
    with apply_plan(bundle.model, plan):
        quantized = bundle.model.get_submodule(name)
        assert isinstance(quantized, QuantizedLinear)
        wanted = quantized.operands(x)
    for found, values in zip((a, b), wanted, strict=True):
        assert np.array_equal(found.values()[:, :40], values.numpy())


def test_operands_of_a_head(bundle, calibration):
    plan = resolve(MIXED, calibration, bundle.model)
    product = plan.phases[0].products["blocks.0.attn.av"]
    x = np.ones((3, 20), np.float32)
    for head in range(2):
        a, b = plan_operands(x, x, plan, "blocks.0.attn.av", head)
        assert ({f.name for f in a.formats}, {f.name for f in b.formats}) == (
            {product.a[head]},
            {product.b[head]},
        )


@pytest.mark.parametrize(
    ("policy", "layer", "k", "message"),
    [
        (
            MIXED,
            "blocks.7.mlp.fc1",
            40,
            "The plan has no layer 'blocks.7.mlp.fc1'; it has blocks.0",
        ),
        (MIXED, "blocks.0.mlp.fc1", 48, "Layer blocks.0.mlp.fc1 has K = 40, the operands 48"),
        (Policy(), "blocks.0.mlp.fc1", 80, "has K = 3 K-blocks of 16, the operands 80"),
        (DYNAMIC, "blocks.0.mlp.fc1", 40, "chooses K-blocks at run time"),
        (
            Policy(linear=LinearRule(weight="float32")),
            "blocks.0.mlp.fc1",
            40,
            "Layer blocks.0.mlp.fc1 is not quantized in this plan",
        ),
    ],
)
def test_operands_that_do_not_fit(policy, layer, k, message, bundle, calibration):
    plan = resolve(policy, calibration, bundle.model)
    x = np.zeros((2, k), np.float32)
    with pytest.raises(MixditError, match=message):
        plan_operands(x, x, plan, layer)


def test_heads_that_are_not_there(bundle, calibration):
    plan, x = resolve(MIXED, calibration, bundle.model), np.zeros((2, 20), np.float32)
    with pytest.raises(MixditError, match=r"blocks.0.attn.qk has heads 0..1, not 2"):
        plan_operands(x, x, plan, "blocks.0.attn.qk", 2)
