"""From a policy and a calibration to a plan: which channels, K-blocks and heads are high."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from mixdit_sw.codec.fake import fake_quantize
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import LANES, get_format
from mixdit_sw.policy.calibrate import Calibration
from mixdit_sw.policy.description import FLOAT, AttentionRule, LinearRule, Policy
from mixdit_sw.policy.plan import LinearPlan, Phase, Plan, ProductPlan
from mixdit_sw.policy.targets import targets

PRODUCERS = {
    "mlp.fc2": "mlp.fc1",
    "ff.net.2": "ff.net.0.proj",
    "ff_context.net.2": "ff_context.net.0.proj",
}
"""Linears, by the end of their name, whose input is an elementwise function of another's output.

A gated MLP, which multiplies one half of that output by the other, has the same names in diffusers;
it is told by its producer's outputs, twice as many.
"""


def resolve(
    policy: Policy, calibration: Calibration, model: nn.Module, *, timesteps: int = 1000
) -> Plan:
    """Resolve a policy for a model.

    Parameters
    ----------
    policy : Policy
        Rules.
    calibration : Calibration
        Magnitudes of this model's operands.
    model : Module
        Float model.
    timesteps : int
        Timesteps of its noise schedule.

    Raises
    ------
    MixditError
        When the calibration is of another model or lacks a layer, or the policy names layers that
        do not exist or cannot be quantized, or more heads than there are.
    """
    calibration.check_model(model)
    modules = targets(model, policy.layers)
    for override in policy.overrides:
        if not any(override.holds(n, (override.timesteps or (0, 0))[0]) for n in modules):
            raise MixditError(f"Override {override.layers!r} names no layer that is quantized")
    phases = []
    for span in policy.phases(timesteps):
        linears, products = {}, {}
        for name, module in modules.items():
            linear_rule, attention_rule = policy.rules(name, span[0])
            if isinstance(module, nn.Linear):
                plan = _linear_plan(linear_rule, calibration, name, module.weight, span)
                linears[name] = _from_producer(plan, name, modules)
            else:
                products[name] = _product_plan(attention_rule, calibration, name, span)
        phases.append(Phase(first=span[0], last=span[1], linears=linears, products=products))
    return Plan(policy=policy, model=calibration.model, phases=tuple(phases))


def _from_producer(plan: LinearPlan, name: str, modules: dict[str, nn.Module]) -> LinearPlan:
    """Leave the order to the linear before, where only an elementwise function is between them."""
    for reader, producer in PRODUCERS.items():
        source = name.removesuffix(reader) + producer
        if plan.order is None or not name.endswith(reader):
            continue
        found = modules.get(source)
        if isinstance(found, nn.Linear) and found.out_features == len(plan.order):
            return replace(plan, order_from=source)
    return plan


def channel_order(
    magnitude: Tensor, high_count: int, order: str
) -> tuple[tuple[int, ...] | None, tuple[bool, ...]]:
    """Order the channels of a linear's input.

    Parameters
    ----------
    magnitude : float32 (K,)
        Calibrated magnitudes.
    high_count : int
        High channels, completed to whole K-blocks unless the order is natural.
    order : {"high-first", "sorted", "natural"}
        As in `LinearRule`.

    Returns
    -------
    tuple of int or None
        Channel at each position; None where all stay.
    tuple of bool
        Which K-blocks are high.
    """
    k = len(magnitude)
    n_blocks = -(-k // LANES)
    # Ties go to the lower channel, as in `select_high_channels`.
    ranked = torch.argsort(-magnitude.nan_to_num(nan=torch.inf), stable=True).tolist()
    if order == "natural":
        touched = {channel // LANES for channel in ranked[:high_count]}
        return None, tuple(block in touched for block in range(n_blocks))
    count = min(-(-high_count // LANES) * LANES, k)
    chosen = ranked if order == "sorted" else sorted(ranked[:count]) + sorted(ranked[count:])
    high = tuple(block < -(-count // LANES) for block in range(n_blocks))
    return (None if chosen == list(range(k)) else tuple(chosen)), high


def _linear_plan(
    rule: LinearRule, calibration: Calibration, name: str, weight: Tensor, span: tuple[int, int]
) -> LinearPlan:
    magnitude = calibration.over(name, rule.magnitude, span)
    k = weight.shape[1]
    if len(magnitude) != k:
        raise MixditError(f"Layer {name} has {k} inputs, its calibration {len(magnitude)}")
    order, high = channel_order(magnitude, rule.high_count(k), rule.order)
    square = calibration.over(name, "square", span)
    raised = _costly_blocks(rule, weight.detach().cpu(), square, order)
    return LinearPlan(
        activation=tuple(rule.high if h else rule.activation for h in high),
        weight=tuple(rule.weight_high if r else rule.weight for r in raised),
        order=order,
        weight_method=rule.weight_method,
        dynamic=rule.dynamic,
        dynamic_format=rule.high if rule.dynamic else None,
    )


def _costly_blocks(
    rule: LinearRule, weight: Tensor, square: Tensor, order: tuple[int, ...] | None
) -> list[bool]:
    """Return which K-blocks of the weight are high: where rounding costs the output most.

    The cost of a K-block is the sum over its channels of the mean squared input times the squared
    errors of the weights, which is the output's error if inputs were uncorrelated.
    """
    k = weight.shape[1]
    n_blocks = -(-k // LANES)
    count = min(rule.weight_high_blocks, n_blocks)
    if count == 0 or rule.weight == FLOAT:
        return [False] * n_blocks
    chosen = list(range(k)) if order is None else list(order)
    weight, square = weight.float()[:, chosen], square[chosen]
    error = (fake_quantize(weight, get_format(rule.weight)) - weight).square().sum(dim=0) * square
    costs = nn.functional.pad(error, (0, -k % LANES)).view(n_blocks, LANES).sum(dim=1)
    raised = set(torch.argsort(-costs, stable=True)[:count].tolist())
    return [block in raised for block in range(n_blocks)]


def _product_plan(
    rule: AttentionRule, calibration: Calibration, name: str, span: tuple[int, int]
) -> ProductPlan:
    parent, _, product = name.rpartition(".")
    heads = len(calibration.over(name, "a_absmax", span))
    if rule.high_heads > heads:
        raise MixditError(f"Layer {name} has {heads} heads, not {rule.high_heads} high ones")
    high = set()
    if rule.high_heads:
        scores = f"{parent}.qk"
        size = calibration.over(scores, f"a_{rule.magnitude}", span) * calibration.over(
            scores, f"b_{rule.magnitude}", span
        )
        high = set(torch.argsort(-size, stable=True)[: rule.high_heads].tolist())
    low_pair, high_pair = (rule.qk, rule.high_qk) if product == "qk" else (rule.av, rule.high_av)
    pairs = [high_pair if head in high else low_pair for head in range(heads)]
    return ProductPlan(a=tuple(p[0] for p in pairs), b=tuple(p[1] for p in pairs))
