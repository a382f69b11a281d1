"""Which channels, K-blocks and heads a plan names."""

import numpy as np
import pytest
import torch

from mixdit_sw.errors import MixditError
from mixdit_sw.formats import MX6
from mixdit_sw.operand import quantize_pair, select_high_channels
from mixdit_sw.policy.description import AttentionRule, LinearRule, Override, Policy
from mixdit_sw.policy.plan import LinearPlan, Plan, ProductPlan
from mixdit_sw.policy.select import channel_order, resolve

FC1, FC2, QK, AV = (f"blocks.0.{name}" for name in ("mlp.fc1", "mlp.fc2", "attn.qk", "attn.av"))


@pytest.mark.parametrize("count", [0, 1, 16, 20, 60])
def test_order_is_that_of_the_gemm_command(count):
    a = np.random.default_rng(0).standard_normal((9, 70)).astype(np.float32)
    a[:, 5] = a[:, 30]
    expected, _ = quantize_pair(a, a, MX6, MX6, a_high=select_high_channels(a, count))
    order, high = channel_order(torch.from_numpy(np.abs(a).max(axis=0)), count, "high-first")
    assert list(order or range(70)) == expected.order.tolist()
    assert [f.name == "mx9" for f in expected.formats] == list(high)


def test_other_orders():
    magnitude = torch.tensor([1.0, 9.0, 2.0] + [0.5] * 30 + [7.0])
    order, high = channel_order(magnitude, 2, "sorted")
    assert order is not None
    assert order[:5] == (1, 33, 2, 0, 3)
    assert high == (True, False, False)
    assert channel_order(magnitude, 2, "natural") == (None, (True, False, True))


def test_default_policy_is_all_mx6(small_model, calibration):
    plan = resolve(Policy(), calibration, small_model)
    (phase,) = plan.phases
    assert (phase.first, phase.last) == (0, 999)
    assert set(phase.linears) == {
        f"blocks.{n}.{name}"
        for n in range(2)
        for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    }
    assert phase.linears[FC2] == LinearPlan(activation=("mx6",) * 5, weight=("mx6",) * 5)
    assert phase.products[QK] == ProductPlan(a=("mx6",) * 2, b=("mx6",) * 2)


def test_high_heads_are_those_of_largest_scores(small_model, calibration):
    policy = Policy(attention=AttentionRule(high_heads=1))
    products = resolve(policy, calibration, small_model).phases[0].products
    kinds = calibration.statistics[QK]
    size = kinds["a_absmax"].amax(dim=0) * kinds["b_absmax"].amax(dim=0)
    high = int(size.argmax())
    assert [name == "mx9" for name in products[QK].a] == [head == high for head in range(2)]
    assert products[QK].a == products[QK].b == products[AV].a
    assert products[AV].b == ("mx6", "mx6")


def test_fc1_takes_over_the_order_of_fc2(small_model, calibration):
    policy = Policy(linear=LinearRule(high_share=0.1))
    linears = resolve(policy, calibration, small_model).phases[0].linears
    assert linears[FC2].order is not None
    assert linears[FC2].order_from == FC1
    assert linears[FC1].order is not None
    assert linears[FC1].order_from is None
    plain = resolve(Policy(), calibration, small_model).phases[0].linears
    assert plain[FC2].order_from is None


def test_costly_weight_block_is_that_of_the_loud_channels(small_model, calibration):
    calibration.statistics[FC1]["square"][:, 35] = 1e6
    policy = Policy(linear=LinearRule(weight_high_blocks=1))
    linears = resolve(policy, calibration, small_model).phases[0].linears
    assert linears[FC1].weight == ("mx6", "mx6", "mx9")


def test_phases_have_their_own_channels(small_model, calibration):
    calibration.statistics[FC1]["absmax"][0, 7] = 1e6
    calibration.statistics[FC1]["absmax"][3, 35] = 1e6
    rule = LinearRule(high_share=0.01, order="natural")
    policy = Policy(
        overrides=(
            Override(timesteps=(500, 999), layers="*fc1", linear=rule),
            Override(timesteps=(0, 499), layers="*fc1", linear=rule),
        )
    )
    early, late = resolve(policy, calibration, small_model).phases
    assert early.linears[FC1].activation == ("mx6", "mx6", "mx9")
    assert late.linears[FC1].activation == ("mx9", "mx6", "mx6")
    assert late.linears[FC2].activation == ("mx6",) * 5


def test_file(small_model, calibration, tmp_path):
    policy = Policy(linear=LinearRule(high_share=0.1), attention=AttentionRule(high_heads=1))
    plan = resolve(policy, calibration, small_model)
    plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == plan


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (Policy(layers=("x_embedder.*",)), "Layer x_embedder.proj is a Conv2d; policies quantize"),
        (Policy(layers=("blocks.*",)), "is a LayerNorm; .*leave it out of the policy's layers"),
        (Policy(layers=("blocks.7.*",)), "No layer of the model is called 'blocks.7"),
        (Policy(layers=("*.adaLN_modulation.1",)), "has no calibration"),
        (Policy(attention=AttentionRule(high_heads=3)), "qk has 2 heads, not 3 high ones"),
        (Policy(overrides=(Override(layers="block.*"),)), "Override 'block.*' names no layer"),
    ],
)
def test_policies_that_do_not_fit(small_model, calibration, policy, message):
    with pytest.raises(MixditError, match=message):
        resolve(policy, calibration, small_model)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinearPlan(activation=("mx6",), weight=()), "the same K-blocks, not 1 and 0"),
        (
            lambda: LinearPlan(activation=("mx6",), weight=("mx6",), order=(0, 0)),
            r"Order must hold each of the channels 0..1 once",
        ),
        (lambda: LinearPlan(activation=("mx5",), weight=("mx6",)), "Format must be one of"),
        (lambda: ProductPlan(a=("mx6",), b=()), "A product's operands must have the same heads"),
    ],
)
def test_plans_that_are_none(make, message):
    with pytest.raises(MixditError, match=message):
        make()
