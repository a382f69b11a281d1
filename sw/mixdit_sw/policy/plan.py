"""A policy resolved for one model: the channels, K-blocks and heads by number, phase by phase.

This is what is applied to a model, and what a compiler takes: each linear has the order of its
channels and the format of every K-block of both operands, each product the formats of every head.
"""

from dataclasses import dataclass
from pathlib import Path

from mixdit_sw.errors import MixditError
from mixdit_sw.formats import LANES
from mixdit_sw.policy.description import Dynamic, Policy, check_format_name
from mixdit_sw.policy.json_form import load_json, save_json


@dataclass(frozen=True, kw_only=True)
class LinearPlan:
    """One linear.

    Attributes
    ----------
    activation, weight : tuple of str
        Format of each K-block, in the new order.
    order : tuple of int, optional
        Input channel that stands at each position; None leaves them as they are.
    order_from : str, optional
        Linear whose outputs come in this order because its weight's rows do, which costs nothing.
        None: something before this layer has to gather channels.
    weight_method : str
        How the weight is rounded.
    dynamic : Dynamic, optional
        K-blocks raised at run time, to `dynamic_format`.
    dynamic_format : str, optional
        Format of those.
    """

    activation: tuple[str, ...]
    weight: tuple[str, ...]
    order: tuple[int, ...] | None = None
    order_from: str | None = None
    weight_method: str = "nearest"
    dynamic: Dynamic | None = None
    dynamic_format: str | None = None

    def __post_init__(self) -> None:
        for name in {*self.activation, *self.weight}:
            check_format_name(name)
        if len(self.activation) != len(self.weight):
            raise MixditError(
                f"A linear's operands must have the same K-blocks, "
                f"not {len(self.activation)} and {len(self.weight)}"
            )
        if self.order is not None:
            k = len(self.order)
            if sorted(self.order) != list(range(k)) or -(-k // LANES) != len(self.activation):
                raise MixditError(f"Order must hold each of the channels 0..{k - 1} once")


@dataclass(frozen=True, kw_only=True)
class ProductPlan:
    """One attention product: the formats of A and B of each head."""

    a: tuple[str, ...]
    b: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in {*self.a, *self.b}:
            check_format_name(name)
        if len(self.a) != len(self.b):
            raise MixditError(
                f"A product's operands must have the same heads, not {len(self.a)}, {len(self.b)}"
            )


@dataclass(frozen=True, kw_only=True)
class Phase:
    """All layers, for timesteps `first` to `last`, both included."""

    first: int
    last: int
    linears: dict[str, LinearPlan]
    products: dict[str, ProductPlan]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A model's plan.

    Attributes
    ----------
    policy : Policy
        Where it comes from.
    model : str
        Fingerprint of the model that it was made for.
    phases : tuple of Phase
        By rising timestep.
    """

    policy: Policy
    model: str
    phases: tuple[Phase, ...]

    def phase_at(self, timestep: int) -> int:
        """Return the index of the phase of a timestep.

        Raises
        ------
        MixditError
            When there is none.
        """
        for index, phase in enumerate(self.phases):
            if phase.first <= timestep <= phase.last:
                return index
        raise MixditError(f"The plan has no phase for timestep {timestep}")

    def save(self, path: Path) -> None:
        """Write the plan as JSON, whole or not at all."""
        save_json(path, self)

    @classmethod
    def load(cls, path: Path) -> "Plan":
        """Read a plan that `save` wrote.

        Raises
        ------
        MixditError
            When the file is missing, damaged or something else.
        """
        return load_json(path, cls)
