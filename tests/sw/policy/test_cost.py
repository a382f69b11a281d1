"""Bits and digit passes of plans."""

import pytest

from mixdit_sw.errors import MixditError
from mixdit_sw.models.dit import DiTConfig
from mixdit_sw.policy.cost import dit_shapes, plan_cost
from mixdit_sw.policy.description import Dynamic, Policy
from mixdit_sw.policy.plan import LinearPlan, Phase, Plan, ProductPlan

SHAPES = {"fc": (10, 7, 64), "qk": (4, 5, 32)}


def plan(*phases):
    return Plan(policy=Policy(), model="", phases=phases)


def linear(activation="mx6 mx6 mx6 mx6", weight="mx6 mx6 mx6 mx6", **more):
    return LinearPlan(activation=tuple(activation.split()), weight=tuple(weight.split()), **more)


def phase(fc, qk=("mx6", "mx6"), first=0, last=999):
    products = {"qk": ProductPlan(a=qk, b=qk)}
    return Phase(first=first, last=last, linears={"fc": fc}, products=products)


def test_all_mx6():
    cost = plan_cost(plan(phase(linear())), SHAPES)
    assert (cost.activation_bits, cost.weight_bits, cost.passes) == (6, 6, 1)


def test_mixed_formats():
    fc = linear("mx9 mx6 mx6 mx6", "mx9 mx9 mx6 mx6")
    cost = plan_cost(plan(phase(fc, ("mx9", "mx6"))), SHAPES)
    assert (cost.activation_bits, cost.weight_bits) == (6.75, 7.5)
    # 70 outputs of 4 K-blocks, and 2 heads of 20 outputs of 2 K-blocks.
    assert cost.passes == (70 * (4 + 2 + 1 + 1) + 20 * (2 * 4 + 2)) / (70 * 4 + 2 * 20 * 2)


def test_phases_are_weighted():
    cost = plan_cost(
        plan(phase(linear(), last=749), phase(linear("mx9 mx9 mx9 mx9"), first=750)), SHAPES
    )
    assert cost.activation_bits == 6.75
    assert cost.passes == (0.75 * 360 + 0.25 * (560 + 80)) / 360


def test_dynamic_blocks_count():
    fc = linear(dynamic=Dynamic(blocks=2), dynamic_format="mx9")
    cost = plan_cost(plan(phase(fc)), SHAPES)
    assert cost.activation_bits == 7.5
    assert cost.passes == (70 * 6 + 80) / 360


def test_formats_without_packets():
    cost = plan_cost(plan(phase(linear(" ".join(["float32"] * 4)))), SHAPES)
    assert (cost.activation_bits, cost.passes) == (32, None)


def test_layers_need_shapes():
    with pytest.raises(MixditError, match="Layer fc has no shape"):
        plan_cost(plan(phase(linear())), {})


def test_shapes_of_a_dit():
    config = DiTConfig()
    shapes = dit_shapes(config)
    heads = {"qk": config.heads, "av": config.heads}
    macs = sum(m * n * k * heads.get(name[-2:], 1) for name, (m, n, k) in shapes.items())
    assert macs == 6 * 49 * (12 * 192 * 192 + 2 * 49 * 192)
