"""Rules, their checks and their JSON."""

import pytest

from mixdit_sw.errors import MixditError
from mixdit_sw.policy.description import (
    AttentionRule,
    Dynamic,
    LinearRule,
    Override,
    Policy,
    paper_policy,
    uniform_policy,
)
from mixdit_sw.policy.json_form import from_plain, load_json, save_json, to_plain

RICH = Policy(
    name="rich",
    linear=LinearRule(high_share=0.01, weight_method="gptq", dynamic=Dynamic(rows=8)),
    attention=AttentionRule(high_heads=1, qk=("mx4", "mx6")),
    overrides=(
        Override(layers="blocks.0.*", timesteps=(0, 99), linear=LinearRule(order="sorted")),
        Override(timesteps=(500, 999), attention=AttentionRule(high_heads=2)),
    ),
)


@pytest.mark.parametrize("policy", [Policy(), RICH, paper_policy(0.05, 4), uniform_policy("mx9")])
def test_json_round_trip(policy, tmp_path):
    save_json(tmp_path / "policy.json", policy)
    assert load_json(tmp_path / "policy.json", Policy) == policy


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ([], "policy must be an object of Policy"),
        ({"nam": "x"}, "policy has the unknown key 'nam'; there are name, linear"),
        ({"linear": {"high_share": "1"}}, "policy.linear.high_share must be float, not '1'"),
        ({"linear": {"activation": "mx7"}}, "Format must be one of"),
        ({"overrides": [{"timesteps": [1]}]}, r"policy.overrides\[0\].timesteps must be"),
        ({"attention": {"qk": ["mx6", 6]}}, r"policy.attention.qk\[1\] must be str, not 6"),
        ({"linear": {"weight_high_blocks": True}}, "weight_high_blocks must be int, not True"),
    ],
)
def test_json_that_is_no_policy(plain, message):
    with pytest.raises(MixditError, match=message):
        from_plain(Policy, plain, "policy")


def test_integers_are_numbers():
    assert from_plain(LinearRule, {"high_share": 1}, "rule").high_share == 1.0


def test_files_that_are_no_policy(tmp_path):
    with pytest.raises(MixditError, match="Cannot read .*none.json: No such file"):
        load_json(tmp_path / "none.json", Policy)
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(MixditError, match=r"bad.json: it is not JSON"):
        load_json(tmp_path / "bad.json", Policy)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinearRule(high_share=1.1), "high_share must be 0 to 1, not 1.1"),
        (lambda: LinearRule(order="random"), "order must be one of natural, high-first, sorted"),
        (lambda: LinearRule(magnitude="max"), "magnitude must be one of absmax, mean"),
        (lambda: LinearRule(weight_high_blocks=-1), "weight_high_blocks must be an integer of at"),
        (lambda: LinearRule(weight="int4", weight_method="gptq"), "GPTQ needs micro-exponent"),
        (
            lambda: LinearRule(activation="mxfp4", dynamic=Dynamic()),
            "A dynamic rule needs micro-exponent formats such as mx6, not mxfp4",
        ),
        (lambda: Dynamic(rows=0), "dynamic rows must be an integer of at least 1, not 0"),
        (lambda: AttentionRule(high_heads=-1), "high_heads must be an integer of at least 0"),
        (lambda: AttentionRule(av=("mx6", "mx5")), "Format must be one of"),
        (lambda: Override(timesteps=(5, 4)), r"Override timesteps must be \(first, last\)"),
        (lambda: Policy(rounding="stochastic"), "Policy rounding cannot be stochastic"),
        (lambda: Policy(rounding="up"), "Rounding must be one of"),
    ],
)
def test_bad_rules(make, message):
    with pytest.raises(MixditError, match=message):
        make()


def test_the_last_override_that_holds_wins():
    a, b = LinearRule(high_share=0.1), LinearRule(high_share=0.2)
    policy = Policy(
        overrides=(
            Override(layers="blocks.0.*", linear=a),
            Override(timesteps=(10, 20), linear=b),
        )
    )
    assert policy.rules("blocks.0.mlp.fc1", 5) == (a, policy.attention)
    assert policy.rules("blocks.0.mlp.fc1", 10) == (b, policy.attention)
    assert policy.rules("blocks.1.mlp.fc1", 21) == (policy.linear, policy.attention)


def test_phases_cover_all_timesteps_once():
    policy = Policy(overrides=(Override(timesteps=(10, 20)), Override(timesteps=(15, 99))))
    assert policy.phases(100) == [(0, 9), (10, 14), (15, 20), (21, 99)]
    assert policy.phases(12) == [(0, 9), (10, 11)]
    assert Policy().phases(1000) == [(0, 999)]


@pytest.mark.parametrize(
    ("share", "channels", "count"), [(0, 192, 0), (0.01, 192, 2), (0.07, 100, 7), (1, 5, 5)]
)
def test_share_is_rounded_up_to_a_channel(share, channels, count):
    assert LinearRule(high_share=share).high_count(channels) == count


def test_plain_form_is_json_only():
    assert to_plain(RICH)["overrides"][0]["timesteps"] == [0, 99]
