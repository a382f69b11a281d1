"""Cycles of policies against the exact model of what is really compiled."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mixdit_hw.engine.config import get_engine
from mixdit_sim.engine.model.engine import predict
from mixdit_sim.engine.run import memory_timing
from mixdit_sim.estimate import estimate
from mixdit_sim.search.cycles import plan_cycles, policy_cycles
from mixdit_sim.workloads import WORKLOADS, Matmul, Workload, with_policy
from mixdit_sw.engine.compiler import compile_gemms
from mixdit_sw.engine.registers import Register
from mixdit_sw.errors import MixditError
from mixdit_sw.models.diffusion import SamplerConfig
from mixdit_sw.models.load import load_dit
from mixdit_sw.policy.apply import apply_plan
from mixdit_sw.policy.calibrate import CalibrationConfig, calibrate
from mixdit_sw.policy.description import (
    AttentionRule,
    Dynamic,
    LinearRule,
    Override,
    Policy,
    paper_policy,
    uniform_policy,
)
from mixdit_sw.policy.lower import lower_block
from mixdit_sw.policy.select import resolve

MIXED = Policy(
    linear=LinearRule(high_share=0.3, weight_high_blocks=1),
    attention=AttentionRule(high_heads=1),
    overrides=(Override(layers="blocks.1.mlp.*", linear=LinearRule(activation="mx4")),),
)


@pytest.fixture
def bundle(weights):
    return load_dit(Path(weights))


@pytest.fixture
def calibration(bundle):
    return calibrate(bundle.model, bundle.schedule, CalibrationConfig(images=3, steps=2))


@pytest.fixture
def toy(monkeypatch):
    """Four layers of a DiT with four heads."""
    sizes = (("qkv", 96, 32), ("proj", 32, 32), ("fc1", 64, 32), ("fc2", 32, 64))
    matmuls = (
        *(Matmul(name, "linear", 8, n, k, layers=4) for name, n, k in sizes),
        Matmul("QK", "qk", 4, 4, 8, count=8, layers=4),
        Matmul("AV", "av", 4, 8, 4, count=8, layers=4),
    )
    workload = Workload("toy", 4, matmuls, 0)
    monkeypatch.setitem(WORKLOADS, "toy", workload)
    return workload


@pytest.mark.parametrize("policy", [Policy(), MIXED], ids=["mx6", "mixed"])
def test_cycles_of_a_plan_are_those_of_its_programs(policy, bundle, calibration):
    engine, plan = get_engine("tiny"), resolve(policy, calibration, bundle.model)
    total = 0
    with apply_plan(bundle.model, plan):
        for block in range(2):
            labels, sampler = torch.tensor([1]), SamplerConfig(steps=2)
            for gemms in lower_block(bundle, block, 1, labels, sampler).values():
                bare = [replace(gemm, bias=None) for gemm in gemms]
                # The order of heads is free; high ones come first.
                bare.sort(key=lambda gemm: gemm.a.formats[0].name, reverse=len(bare) > 1)
                program = compile_gemms(bare, engine.shape)
                total += predict(engine, program, memory_timing(engine))[Register.CYCLES]
    assert plan_cycles(plan, bundle.model.config, "tiny") == total


def test_phases_are_weighted(bundle, calibration):
    late = Override(timesteps=(0, 249), linear=LinearRule(high_share=1.0))
    policies = [Policy(), Policy(linear=late.linear), Policy(overrides=(late,))]
    low, high, mixed = (
        plan_cycles(resolve(p, calibration, bundle.model), bundle.model.config, "tiny")
        for p in policies
    )
    assert mixed == 0.75 * low + 0.25 * high


@pytest.mark.parametrize(
    "policy", [uniform_policy("fp16"), Policy(linear=LinearRule(dynamic=Dynamic()))]
)
def test_what_the_engine_cannot_run_has_no_cycles(policy, bundle, calibration, toy):
    plan = resolve(policy, calibration, bundle.model)
    assert plan_cycles(plan, bundle.model.config, "tiny") is None
    assert policy_cycles(policy, bundle.model.config, "toy", "tiny") is None


@pytest.mark.parametrize(("share", "heads"), [(0.0, 0), (0.5, 1)])
def test_cycles_of_a_public_model_are_the_estimate_s(share, heads, bundle, toy, monkeypatch):
    # One head of the model's two is two of four.
    monkeypatch.setitem(WORKLOADS, "toy", with_policy(toy, share, 2 * heads))
    wanted = estimate(WORKLOADS["toy"], "tiny").total.cycles
    policy = paper_policy(share, heads)
    assert policy_cycles(policy, bundle.model.config, "toy", "tiny") == wanted


def test_blocks_of_a_deeper_model_have_the_rules_of_their_place(bundle, toy):
    high = LinearRule(high_share=1.0)
    policies = [
        Policy(),
        Policy(linear=high),
        Policy(overrides=(Override(layers="blocks.1.*", linear=high),)),
    ]
    low, top, half = (policy_cycles(p, bundle.model.config, "toy", "tiny") for p in policies)
    assert half == (low + top) / 2 > low


def test_layers_that_are_not_quantized_do_not_count(bundle, toy):
    parts = [Policy(layers=(name,)) for name in ("*.attn.*", "*.mlp.*")]
    counts = [policy_cycles(p, bundle.model.config, "toy", "tiny") for p in parts]
    assert sum(counts) == policy_cycles(Policy(), bundle.model.config, "toy", "tiny")


def test_models_that_are_no_plain_dit(bundle):
    with pytest.raises(MixditError, match="counted on plain DiTs, not on pixart-sigma-512"):
        policy_cycles(Policy(), bundle.model.config, "pixart-sigma-512", "paper")
    late = Policy(overrides=(Override(timesteps=(0, 9), linear=LinearRule()),))
    with pytest.raises(MixditError, match="policies without timesteps"):
        policy_cycles(late, bundle.model.config, "dit-s-2-256", "paper")
