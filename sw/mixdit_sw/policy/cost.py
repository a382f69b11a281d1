"""What a plan costs: stored bits and digit passes, the engine's lower bound on cycles."""

from collections.abc import Sequence
from dataclasses import dataclass

from mixdit_sw.errors import MixditError
from mixdit_sw.formats import LANES, get_format
from mixdit_sw.models.dit import DiTConfig
from mixdit_sw.policy.description import FLOAT
from mixdit_sw.policy.plan import LinearPlan, Plan, ProductPlan


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Cost of a plan, its phases weighted by their timesteps.

    Attributes
    ----------
    activation_bits : float
        Mean stored bits of an element of the linears' inputs, scales included.
    weight_bits : float
        Mean stored bits of a weight.
    passes : float or None
        Digit passes over those of all-MX6, for the same products; None where a format has no
        digit packets. Equals the ratio of cycles of an array that never waits.
    """

    activation_bits: float
    weight_bits: float
    passes: float | None


def plan_cost(plan: Plan, shapes: dict[str, tuple[int, int, int]]) -> Cost:
    """Compute the cost of a plan.

    Parameters
    ----------
    plan : Plan
        Plan.
    shapes : dict
        (M, N, K) of a sample's product of each layer, per head for attention products.

    Raises
    ------
    MixditError
        When a layer has no shape.
    """
    total = {"a": 0.0, "a_bits": 0.0, "b": 0.0, "b_bits": 0.0, "work": 0.0, "passes": 0.0}
    has_packets = True
    for phase in plan.phases:
        share = phase.last - phase.first + 1
        layers: dict[str, LinearPlan | ProductPlan] = {**phase.linears, **phase.products}
        for name, layer in layers.items():
            if name not in shapes:
                raise MixditError(f"Layer {name} has no shape")
            rows, columns, k = shapes[name]
            blocks = -(-k // LANES)
            if isinstance(layer, LinearPlan):
                a_bits, passes = _linear(layer, rows)
                total["a"] += share * rows * k
                total["a_bits"] += share * rows * a_bits
                total["b"] += share * columns * k
                total["b_bits"] += share * columns * sum(map(_block_bits, layer.weight))
            else:
                pairs = zip(layer.a, layer.b, strict=True)
                counts = [_passes(a, b) for a, b in pairs]
                passes = None if None in counts else blocks * sum(c or 0 for c in counts)
                blocks *= len(layer.a)
            total["work"] += share * rows * columns * blocks
            has_packets = has_packets and passes is not None
            total["passes"] += share * rows * columns * (passes or 0)
    return Cost(
        activation_bits=total["a_bits"] / total["a"],
        weight_bits=total["b_bits"] / total["b"],
        passes=total["passes"] / total["work"] if has_packets else None,
    )


def _linear(layer: LinearPlan, rows: int) -> tuple[float, float | None]:
    """Return stored bits and digit passes of a row of A times a row of B."""
    bits = sum(map(_block_bits, layer.activation))
    counts = [_passes(a, b) for a, b in zip(layer.activation, layer.weight, strict=True)]
    passes = None if None in counts else float(sum(c or 0 for c in counts))
    if layer.dynamic is not None and layer.dynamic_format is not None:
        low = [n for n, f in enumerate(layer.activation) if f != layer.dynamic_format]
        count = min(layer.dynamic.blocks, len(low))
        raised = [_block_bits(layer.dynamic_format) - _block_bits(layer.activation[n]) for n in low]
        bits += count * sum(raised) / max(len(low), 1)
        more = [
            (_passes(layer.dynamic_format, layer.weight[n]) or 0) - (counts[n] or 0) for n in low
        ]
        if passes is not None:
            # Which K-blocks are raised is known at run time only; their mean stands for them.
            passes += count * sum(more) / max(len(low), 1)
    return bits, passes


def _block_bits(name: str) -> float:
    return LANES * (32.0 if name == FLOAT else get_format(name).bits_per_element(1152))


def _passes(a: str, b: str) -> int | None:
    digits: Sequence[int | None] = [
        None if name == FLOAT else get_format(name).digits for name in (a, b)
    ]
    return None if None in digits else (digits[0] or 0) * (digits[1] or 0)


def dit_shapes(config: DiTConfig) -> dict[str, tuple[int, int, int]]:
    """Return (M, N, K) of a sample's products in a DiT by layer; a head's for attention."""
    tokens, hidden, dim = config.tokens, config.hidden, config.head_dim
    inner = hidden * config.mlp_ratio
    block = {
        "attn.qkv": (tokens, 3 * hidden, hidden),
        "attn.qk": (tokens, tokens, dim),
        "attn.av": (tokens, dim, tokens),
        "attn.proj": (tokens, hidden, hidden),
        "mlp.fc1": (tokens, inner, hidden),
        "mlp.fc2": (tokens, hidden, inner),
    }
    return {
        f"blocks.{n}.{name}": shape for n in range(config.depth) for name, shape in block.items()
    }
