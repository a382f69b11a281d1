"""Cycles of a policy's GEMMs, by the engine's cycle model.

Softmax, norms, GELU and the sums of the residual stream are the host's and are not counted.
Operands are taken as they lie in memory, in their order of channels.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cache

from mixdit_hw.engine.config import get_engine
from mixdit_sim.engine.model.repeat import predict_quickly
from mixdit_sim.engine.run import memory_timing
from mixdit_sim.programs import sizes_program
from mixdit_sim.workloads import BRANCHES, Matmul, get_workload
from mixdit_sw.engine.gemm import GemmSize
from mixdit_sw.engine.registers import Register
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import LANES, get_format
from mixdit_sw.models.dit import DiTConfig
from mixdit_sw.policy.cost import dit_shapes
from mixdit_sw.policy.description import LinearRule, Policy
from mixdit_sw.policy.plan import LinearPlan, Plan

Names = tuple[str, ...]
Product = tuple[int, tuple[int, int, int], Names, Names]
"""How many, (M, N, K), the formats of the K-blocks of A and B."""

ROLES = {
    "qkv": "attn.qkv",
    "QK": "attn.qk",
    "AV": "attn.av",
    "proj": "attn.proj",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
}
"""GEMMs of a workload, and the layers of a DiT's block that they are."""


def plan_cycles(plan: Plan, config: DiTConfig, preset: str) -> float | None:
    """Return the cycles of a denoising step of one image with guidance, both branches.

    Each layer is a program of its own. Phases are weighted by their timesteps.

    Returns
    -------
    float or None
        None where the engine lacks a format, or formats are known only at run time.

    Raises
    ------
    MixditError
        When there is no such engine, or a GEMM does not fit.
    """
    shapes, total = dit_shapes(config), 0.0
    timesteps = sum(phase.last - phase.first + 1 for phase in plan.phases)
    for phase in plan.phases:
        cycles = 0
        for name, layer in (phase.linears | phase.products).items():
            m, n, k = shapes[name]
            if isinstance(layer, LinearPlan):
                if layer.dynamic is not None:
                    return None
                products = [(1, (BRANCHES * m, n, k), layer.activation, layer.weight)]
            else:
                blocks = -(-k // LANES)
                pairs = sorted(zip(layer.a, layer.b, strict=True), reverse=True)
                products = [
                    (BRANCHES * pairs.count(p), (m, n, k), (p[0],) * blocks, (p[1],) * blocks)
                    for p in dict.fromkeys(pairs)
                ]
            if not _is_built(products, preset):
                return None
            cycles += program_cycles(tuple(products), preset)
        total += cycles * (phase.last - phase.first + 1) / timesteps
    return total


def policy_cycles(policy: Policy, config: DiTConfig, workload: str, preset: str) -> float | None:
    """Return the cycles of a public model's denoising step under the rules of a policy.

    The shares of channels and of heads are the policy's, rounded up; its block j of n has the rules
    of this model's block j * depth // n. The high K-blocks of weights, a share too, are taken to be
    among those of the activations: the dearer case.

    Raises
    ------
    MixditError
        When there is no such workload or engine, the workload is no plain DiT, or the policy has
        rules for timesteps.
    """
    chosen = get_workload(workload)
    if {matmul.name for matmul in chosen.matmuls} - set(ROLES):
        raise MixditError(f"Cycles are counted on plain DiTs, not on {workload}")
    if any(override.timesteps for override in policy.overrides):
        raise MixditError("Cycles of other models are counted for policies without timesteps")
    total = 0
    for matmul in chosen.matmuls:
        for block in range(matmul.layers):
            name = f"blocks.{block * config.depth // matmul.layers}.{ROLES[matmul.name]}"
            if not any(fnmatchcase(name, pattern) for pattern in policy.layers):
                continue
            products = _products(policy, name, matmul, chosen.heads, config)
            if products is None or not _is_built(products, preset):
                return None
            total += program_cycles(tuple(products), preset)
    return total


def _products(
    policy: Policy, name: str, matmul: Matmul, heads: int, config: DiTConfig
) -> list[Product] | None:
    """Return the products of a layer of another model under the rule of this model's layer."""
    linear, attention = policy.rules(name, 0)
    size, blocks = (matmul.m, matmul.n, matmul.k), -(-matmul.k // LANES)
    if matmul.kind == "linear":
        if linear.dynamic is not None:
            return None
        own_blocks = -(-dit_shapes(config)[name][2] // LANES)
        return [(matmul.count, size, *_linear_formats(linear, matmul.k, own_blocks))]
    high = -(-attention.high_heads * heads // config.heads) * matmul.count // heads
    low_pair, high_pair = (
        (attention.qk, attention.high_qk)
        if matmul.kind == "qk"
        else (attention.av, attention.high_av)
    )
    counted = [(high, high_pair), (matmul.count - high, low_pair)]
    return [(n, size, (p[0],) * blocks, (p[1],) * blocks) for n, p in counted if n]


def _linear_formats(rule: LinearRule, k: int, own_blocks: int) -> tuple[Names, Names]:
    blocks = -(-k // LANES)
    high_a = -(-rule.high_count(k) // LANES)
    high_b = min(-(-rule.weight_high_blocks * blocks // own_blocks), blocks)
    return (
        (rule.high,) * high_a + (rule.activation,) * (blocks - high_a),
        (rule.weight_high,) * high_b + (rule.weight,) * (blocks - high_b),
    )


@cache
def program_cycles(products: tuple[Product, ...], preset: str) -> int:
    """Return the cycles of one program of GEMMs, from start to interrupt."""
    engine = get_engine(preset)
    sizes = [(count, _size(shape, a, b)) for count, shape, a, b in products]
    program = sizes_program(engine, sizes)
    return predict_quickly(engine, program, memory_timing(engine))[Register.CYCLES]


def _size(shape: tuple[int, int, int], a: Names, b: Names) -> GemmSize:
    m, n, k = shape
    a_formats, b_formats = (tuple(get_format(name) for name in names) for names in (a, b))
    return GemmSize(m=m, n=n, k=k, a_formats=a_formats, b_formats=b_formats)


def _is_built(products: Iterable[Product], preset: str) -> bool:
    """Return whether an engine has the formats."""
    built = set(get_engine(preset).shape.formats)
    return all({*a, *b} <= built for _, _, a, b in products)
