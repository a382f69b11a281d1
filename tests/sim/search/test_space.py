"""Points of a search and the policies that they stand for."""

import pytest

from mixdit_sim.search.space import Choices, Space
from mixdit_sw.errors import MixditError
from mixdit_sw.models.dit import DiT, DiTConfig
from mixdit_sw.policy.description import AttentionRule, LinearRule

CHOICES = {"shares": (0.0, 0.1, 0.5), "heads": (0, 1), "weights": ("nearest", "gptq")}
LINEARS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")


@pytest.fixture(scope="module")
def model():
    return DiT(DiTConfig(patch=14, hidden=64, heads=2, depth=2, mlp_ratio=2))


@pytest.mark.parametrize(
    ("per", "linears", "attentions"), [("model", 1, 1), ("role", 4, 1), ("layer", 8, 2)]
)
def test_groups(model, per, linears, attentions):
    space = Space.of(model, Choices(per=per, **CHOICES))
    counts = [len(group.rules) for group in space.groups]
    assert sorted(counts) == [2] * attentions + [6] * linears
    assert space.size == 6**linears * 2**attentions
    if per == "model":
        assert len(list(space.points())) == space.size


@pytest.mark.parametrize("per", ["model", "role", "layer"])
def test_policy_has_the_rule_of_each_group(model, per):
    space = Space.of(model, Choices(per=per, **CHOICES))
    point = tuple(n % len(group.rules) for n, group in enumerate(space.groups))
    policy = space.policy(point)
    seen = 0
    for group, chosen in zip(space.groups, point, strict=True):
        for pattern in group.layers:
            for block in range(2):
                linear, attention = policy.rules(pattern.replace("*", str(block)), 0)
                rule = group.rules[chosen]
                assert (linear if isinstance(rule, LinearRule) else attention) == rule
                seen += 1
    assert seen >= 12


def test_a_group_alone_is_all_that_is_quantized(model):
    space = Space.of(model, Choices(per="layer", **CHOICES))
    policies = [space.alone(number, 1) for number in range(len(space.groups))]
    layers = [name for policy in policies for name in policy.layers]
    assert len(layers) == len(set(layers)) == 12
    products = [p for p in policies if p.attention == AttentionRule(high_heads=1)]
    assert products[0].layers == ("blocks.0.attn.qk", "blocks.0.attn.av")


def test_shares_of_the_same_blocks_are_tried_once(model):
    shares = (0.0, 0.01, 0.25, 0.26, 1.0)
    space = Space.of(model, Choices(per="layer", shares=shares, weights=("nearest",)))
    by_layer = {
        g.layers[0]: [r.high_share for r in g.rules if isinstance(r, LinearRule)]
        for g in space.groups
    }
    assert by_layer["blocks.0.attn.qkv"] == [0.0, 0.01, 0.26, 1.0]
    assert by_layer["blocks.0.mlp.fc2"] == [0.0, 0.01, 0.25, 0.26, 1.0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"per": "block"}, "per model, role, layer, not 'block'"),
        ({"shares": ()}, "shares must be distinct, and at least one"),
        ({"heads": (1, 1)}, "heads must be distinct"),
        ({"shares": (2.0,)}, "high_share must be 0 to 1"),
        ({"weights": ("best",)}, "weight_method must be one of"),
        ({"heads": (-1,)}, "high_heads must be an integer"),
        ({"weight_blocks": (-1,)}, "weight_high_blocks must be an integer"),
    ],
)
def test_bad_choices(values, message):
    with pytest.raises(MixditError, match=message):
        Choices(**values)
