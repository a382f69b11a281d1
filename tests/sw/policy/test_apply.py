"""Quantizing a model in place: bits of operands, phases, undoing, bad input."""

from dataclasses import replace

import pytest
import torch

from mixdit_sw.codec.fake import fake_quantize
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import MX6, Rounding
from mixdit_sw.policy.apply import apply_plan, quantize_model
from mixdit_sw.policy.description import (
    AttentionRule,
    Dynamic,
    LinearRule,
    Override,
    Policy,
    uniform_policy,
)
from mixdit_sw.policy.modules import PhaseClock, QuantizedLinear
from mixdit_sw.policy.plan import LinearPlan
from mixdit_sw.policy.select import resolve
from mixdit_sw.policy.targets import fingerprint

FC1, FC2 = "blocks.0.mlp.fc1", "blocks.0.mlp.fc2"


def test_model_by_hand(small_model, calibration, inputs):
    """All-MX6 is the model whose operands are fake-quantized by hooks."""

    def quantize_operands(module, args):
        return tuple(fake_quantize(x.contiguous(), MX6) for x in args)

    with quantize_model(small_model, Policy(), calibration):
        found = small_model(*inputs)
    for block in small_model.blocks:
        for part in (block.attn, block.mlp):
            for name, module in part.named_children():
                module.register_forward_pre_hook(quantize_operands)
                if hasattr(module, "weight"):
                    module.weight.copy_(fake_quantize(module.weight, MX6))
                assert name in ("qkv", "qk", "av", "proj", "fc1", "fc2")
    assert torch.equal(small_model(*inputs), found)


def test_float_policy_changes_nothing(small_model, calibration, inputs):
    expected = small_model(*inputs)
    with quantize_model(small_model, uniform_policy("float32"), calibration):
        assert torch.equal(small_model(*inputs), expected)


def test_a_float_plan_keeps_a_wide_linears_bits():
    """Torch adds the bias of a wide linear inside the product, where it rounds otherwise."""
    torch.manual_seed(0)
    linear, x = torch.nn.Linear(1152, 64), torch.randn(300, 1152)
    plan = LinearPlan(activation=("float32",) * 72, weight=("float32",) * 72)
    with torch.no_grad():
        found = QuantizedLinear(linear, [plan], PhaseClock(), Rounding())(x)
        assert torch.equal(found, linear(x))


def test_the_model_is_restored(small_model, calibration, inputs):
    expected, state = small_model(*inputs), small_model.state_dict()
    overrides = (Override(timesteps=(0, 499), linear=LinearRule(activation="mx9")),)
    quantized = quantize_model(small_model, Policy(overrides=overrides), calibration)
    assert isinstance(small_model.get_submodule(FC1), QuantizedLinear)
    assert not torch.equal(small_model(*inputs), expected)
    inside = small_model.state_dict()
    assert list(inside) == list(state)
    assert all(torch.equal(inside[name], value) for name, value in state.items())
    quantized.restore()
    quantized.restore()
    assert torch.equal(small_model(*inputs), expected)
    assert not small_model._forward_pre_hooks
    assert not any(isinstance(m, QuantizedLinear) for m in small_model.modules())


@pytest.mark.parametrize("gathers", [True, False])
def test_orders_permute_operands_only(small_model, calibration, gathers):
    """The order of a linear's K-blocks does not change its function."""
    policy = Policy(
        linear=LinearRule(high_share=0.1, high="float32", activation="float32", weight="float32")
    )
    plan = resolve(policy, calibration, small_model)
    if gathers:
        (phase,) = plan.phases
        linears = {n: replace(p, order_from=None) for n, p in phase.linears.items()}
        plan = replace(plan, phases=(replace(phase, linears=linears),))
    x = torch.randn(5, 40, generator=torch.Generator().manual_seed(0))
    expected = small_model.blocks[0].mlp(x)
    with apply_plan(small_model, plan):
        a, b = small_model.get_submodule(FC1).operands(x)
        order = list(plan.phases[0].linears[FC1].order or ())
        assert torch.equal(a, x[:, order])
        assert not torch.equal(b, small_model.get_submodule(FC1).weight)
        # Only the order of the sums differs.
        assert (small_model.blocks[0].mlp(x) - expected).abs().max() < 1e-5


def test_an_order_taken_over_has_the_bits_of_a_gathered_one(small_model, calibration):
    policy = Policy(linear=LinearRule(high_share=0.1))
    plan = resolve(policy, calibration, small_model)
    (phase,) = plan.phases
    linears = {n: replace(p, order_from=None) for n, p in phase.linears.items()}
    gathered = replace(plan, phases=(replace(phase, linears=linears),))
    x = torch.randn(3, 80, generator=torch.Generator().manual_seed(0))
    order = list(phase.linears[FC2].order or ())
    with apply_plan(small_model, plan):
        taken_over = small_model.get_submodule(FC2).operands(x[:, order])
        rows = small_model.get_submodule(FC1).operands(x[:, :40])[1]
        bias = small_model.get_submodule(FC1).bias_0
    with apply_plan(small_model, gathered):
        expected = small_model.get_submodule(FC2).operands(x)
        expected_rows = small_model.get_submodule(FC1).operands(x[:, :40])[1]
    assert all(torch.equal(f, e) for f, e in zip(taken_over, expected, strict=True))
    assert torch.equal(rows, expected_rows[order])
    assert torch.equal(bias, small_model.get_submodule(FC1).bias[order])


def test_phases_are_chosen_by_the_timestep(small_model, calibration, inputs):
    x, _, labels = inputs
    late = LinearRule(activation="mx9", high_share=0.1, weight_high_blocks=1)
    policy = Policy(overrides=(Override(timesteps=(500, 999), linear=late),))
    by_time = {}
    with quantize_model(small_model, policy, calibration):
        for t in (0, 500, 499, 999):
            by_time[t] = small_model(x, torch.full((4,), t), labels)
        named = small_model(x, t=torch.full((4,), 999), labels=labels)
        with pytest.raises(MixditError, match="needs one timestep for the whole batch"):
            small_model(x, torch.tensor([1, 2, 3, 4]), labels)
        with pytest.raises(MixditError, match="The plan has no phase for timestep 1000"):
            small_model(x, torch.full((4,), 1000), labels)
    assert torch.equal(named, by_time[999])
    early_plan, late_plan = resolve(policy, calibration, small_model).phases
    for t, phase in ((0, early_plan), (499, early_plan), (500, late_plan), (999, late_plan)):
        plan = resolve(policy, calibration, small_model)
        alone = replace(plan, phases=(replace(phase, first=0, last=999),))
        with apply_plan(small_model, alone):
            assert torch.equal(small_model(x, torch.full((4,), t), labels), by_time[t])


def test_a_dynamic_rule_does_not_depend_on_the_batch(small_model, calibration, inputs):
    policy = Policy(linear=LinearRule(dynamic=Dynamic(rows=3, blocks=2)))
    x = torch.randn(4, 7, 40, generator=torch.Generator().manual_seed(0))
    with quantize_model(small_model, policy, calibration):
        layer = small_model.get_submodule(FC1)
        whole = layer.operands(x)[0]
        parts = torch.cat([layer.operands(part)[0] for part in x.split(1)])
        single = layer.operands(x[0, 0])[0]
    assert torch.equal(whole, parts)
    assert torch.equal(single, layer.operands(x[0, :1])[0][0])
    assert not torch.equal(whole, fake_quantize(x, MX6))


def test_rounding_is_of_activations_only(small_model, calibration):
    x = torch.randn(5, 40, generator=torch.Generator().manual_seed(0))
    with quantize_model(small_model, Policy(rounding="truncate"), calibration):
        a, b = small_model.get_submodule(FC1).operands(x)
    assert torch.equal(a, fake_quantize(x, MX6, rounding=Rounding("truncate")))
    assert torch.equal(b, fake_quantize(small_model.get_submodule(FC1).weight, MX6))


def test_gptq_weights_are_used(small_model, calibration):
    policy = Policy(linear=LinearRule(weight_method="gptq"))
    with quantize_model(small_model, policy, calibration):
        layer = small_model.get_submodule(FC2)
        weight = layer.operands(torch.zeros(1, 80))[1]
        assert torch.equal(fake_quantize(weight, MX6), weight)
        hessian = calibration.hessians[FC2]
        errors = [
            torch.einsum("nk,kl,nl->", e, hessian, e)
            for e in (weight - layer.weight, fake_quantize(layer.weight, MX6) - layer.weight)
        ]
    assert errors[0] < 0.9 * errors[1]


def test_gptq_without_hessians(small_model, calibration):
    plan = resolve(Policy(linear=LinearRule(weight_method="gptq")), calibration, small_model)
    with pytest.raises(MixditError, match="Layer blocks.0.attn.qkv: GPTQ needs a calibration with"):
        apply_plan(small_model, plan)
    assert not any(isinstance(m, QuantizedLinear) for m in small_model.modules())


def changed(plan, **linears):
    """The plan with other plans for some linears; None leaves them out."""
    (phase,) = plan.phases
    names = {name.replace("__", "."): value for name, value in linears.items()}
    found = {n: p for n, p in {**phase.linears, **names}.items() if p is not None}
    return replace(plan, phases=(replace(phase, linears=found),))


def test_plans_that_do_not_fit(small_model, calibration, inputs):
    plan = resolve(Policy(), calibration, small_model)
    short = replace(plan.phases[0].linears[FC1], activation=("mx6",), weight=("mx6",))
    for bad, message in (
        (replace(plan, model="0"), "The plan is of model 0, not of .*: resolve the policy"),
        (changed(plan, blocks__0__mlp__fc1=short), "fc1: the plan has 1 K-blocks of 16, the weigh"),
        (changed(plan, fc9=short), "The plan names fc9, which the model does not have"),
        (changed(plan, x_embedder__proj=short), "Layer x_embedder.proj is a Conv2d"),
    ):
        with pytest.raises(MixditError, match=message):
            apply_plan(small_model, bad)
        assert not any(isinstance(m, QuantizedLinear) for m in small_model.modules())


def test_layers_must_be_in_every_phase(small_model, calibration):
    policy = Policy(overrides=(Override(timesteps=(0, 9), linear=LinearRule(activation="mx9")),))
    plan = resolve(policy, calibration, small_model)
    first, second = plan.phases
    linears = {n: p for n, p in second.linears.items() if n != FC1}
    broken = replace(plan, phases=(first, replace(second, linears=linears)))
    with pytest.raises(MixditError, match=f"Layer {FC1} is not in every phase of the plan"):
        apply_plan(small_model, broken)


def test_weights_that_are_not_finite(small_model, calibration):
    small_model.get_submodule(FC1).weight[1, 2] = torch.nan
    calibration = replace(calibration, model=fingerprint(small_model))
    plan = resolve(Policy(), calibration, small_model)
    with pytest.raises(MixditError, match=f"Layer {FC1}: the weight has NaN or Inf"):
        apply_plan(small_model, plan)


def test_weights_of_another_type(small_model, calibration):
    calibration = replace(calibration, model=fingerprint(small_model.half()))
    plan = resolve(Policy(), calibration, small_model)
    with pytest.raises(MixditError, match=r"qkv: the weight is float16, .*: call model.float\(\)"):
        apply_plan(small_model, plan)


def test_weights_that_are_missing(small_model, calibration):
    plan = resolve(Policy(), calibration, small_model)
    small_model.get_submodule(FC1).to("meta")
    with pytest.raises(MixditError, match=f"{FC1}.bias has no values: load the model's weights"):
        apply_plan(small_model, plan)


def test_heads_must_be_there(small_model, calibration, inputs):
    quantize_model(small_model, Policy(attention=AttentionRule(high_heads=1)), calibration)
    with pytest.raises(MixditError, match=r"must have 2 heads on axis -3, not shape \(3, 4, 8\)"):
        small_model.blocks[0].attn.qk(torch.zeros(3, 4, 8), torch.zeros(3, 4, 8))
