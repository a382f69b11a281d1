"""What a search chooses between: groups of layers, and the rules that each may have."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

from torch import nn

from mixdit_sw.errors import MixditError
from mixdit_sw.formats import LANES
from mixdit_sw.policy.description import AttentionRule, LinearRule, Override, Policy
from mixdit_sw.policy.targets import targets

GRAINS = ("model", "role", "layer")

Rule = TypeVar("Rule", LinearRule, AttentionRule)
Point = tuple[int, ...]
"""The number of a rule for each group."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Values that a search may give to a rule, and how many layers share one.

    Attributes
    ----------
    per : {"model", "role", "layer"}
        One rule for all linears and one for all attentions, as in MixDiT; one for each role (qkv,
        proj, fc1, fc2, attention); or one for each layer.
    shares : tuple of float
        Shares r of MX9 channels in the activations of linears.
    heads : tuple of int
        Numbers of high heads.
    weights : tuple of str
        Ways of rounding weights: "nearest", "gptq".
    weight_blocks : tuple of int
        Numbers of MX9 K-blocks in the weights of linears.
    """

    per: str = "model"
    shares: tuple[float, ...] = (0.0, 0.01, 0.03, 0.06, 0.12, 0.25)
    heads: tuple[int, ...] = (0, 1, 2, 3)
    weights: tuple[str, ...] = ("nearest", "gptq")
    weight_blocks: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if self.per not in GRAINS:
            raise MixditError(f"Search must be per {', '.join(GRAINS)}, not {self.per!r}")
        for name in ("shares", "heads", "weights", "weight_blocks"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise MixditError(f"Search {name} must be distinct, and at least one: {values}")
        self.linear_rules()
        self.attention_rules()

    def linear_rules(self) -> tuple[LinearRule, ...]:
        """Return the rules of linears.

        Raises
        ------
        MixditError
            When a value is none of a rule.
        """
        return tuple(
            LinearRule(high_share=share, weight_method=method, weight_high_blocks=blocks)
            for method, blocks, share in product(self.weights, self.weight_blocks, self.shares)
        )

    def attention_rules(self) -> tuple[AttentionRule, ...]:
        """Return the rules of attention.

        Raises
        ------
        MixditError
            When a value is none of a rule.
        """
        return tuple(AttentionRule(high_heads=heads) for heads in self.heads)


@dataclass(frozen=True)
class Group:
    """Layers that have one rule.

    Attributes
    ----------
    layers : tuple of str
        Patterns of their names.
    rules : tuple of LinearRule, or of AttentionRule
        What it may be.
    """

    layers: tuple[str, ...]
    rules: tuple[LinearRule, ...] | tuple[AttentionRule, ...]


@dataclass(frozen=True)
class Space:
    """All policies of a search; a point has the number of a rule for each group."""

    groups: tuple[Group, ...]

    @classmethod
    def of(cls, model: nn.Module, choices: Choices) -> "Space":
        """Return the space of a model.

        Of shares that give each linear of a group the same number of K-blocks, the first stays.

        Raises
        ------
        MixditError
            When the model has layers that cannot be quantized.
        """
        patterns: dict[str, list[str]] = {}
        channels: dict[str, list[int]] = {}
        for name, module in targets(model, Policy().layers).items():
            is_linear = isinstance(module, nn.Linear)
            key = {
                "model": "linear" if is_linear else "attention",
                "role": _role(name if is_linear else _parent(name)),
                "layer": name if is_linear else _parent(name),
            }[choices.per]
            patterns.setdefault(key, []).append(name if choices.per == "layer" else _role(name))
            if isinstance(module, nn.Linear):
                channels.setdefault(key, []).append(module.in_features)
        return cls(
            tuple(
                Group(
                    tuple(dict.fromkeys(names)),
                    _distinct(choices.linear_rules(), channels[key])
                    if key in channels
                    else choices.attention_rules(),
                )
                for key, names in patterns.items()
            )
        )

    @property
    def size(self) -> int:
        """Number of points."""
        count = 1
        for group in self.groups:
            count *= len(group.rules)
        return count

    def points(self) -> Iterable[Point]:
        """Return all points."""
        return product(*(range(len(group.rules)) for group in self.groups))

    def policy(self, point: Sequence[int], name: str = "searched") -> Policy:
        """Return the policy of a point: the commonest rules are its own, others overrides."""
        chosen = [(g, g.rules[n]) for g, n in zip(self.groups, point, strict=True)]
        linears = [(g, rule) for g, rule in chosen if isinstance(rule, LinearRule)]
        attentions = [(g, rule) for g, rule in chosen if isinstance(rule, AttentionRule)]
        linear = _commonest([rule for _, rule in linears])
        attention = _commonest([rule for _, rule in attentions])
        overrides = [
            Override(layers=pattern, linear=rule)
            for group, rule in linears
            for pattern in group.layers
            if rule != linear
        ]
        overrides += [
            Override(layers=pattern, attention=rule)
            for group, rule in attentions
            for pattern in group.layers
            if rule != attention
        ]
        return Policy(name=name, linear=linear, attention=attention, overrides=tuple(overrides))

    def alone(self, group: int, rule: int) -> Policy:
        """Return the policy that quantizes nothing but one group."""
        layers, chosen = self.groups[group].layers, self.groups[group].rules[rule]
        if isinstance(chosen, LinearRule):
            return Policy(name="alone", linear=chosen, layers=layers)
        return Policy(name="alone", attention=chosen, layers=layers)


def _distinct(rules: Iterable[LinearRule], channels: list[int]) -> tuple[LinearRule, ...]:
    """Return the rules that differ for linears of so many input channels, of equals the first."""
    found: dict[tuple[object, ...], LinearRule] = {}
    for rule in rules:
        blocks = tuple(-(-rule.high_count(k) // LANES) for k in channels)
        found.setdefault((blocks, rule.weight_method, rule.weight_high_blocks), rule)
    return tuple(found.values())


def _commonest(rules: list[Rule]) -> Rule:
    """Return the rule that most have, of equals the first."""
    return max(dict.fromkeys(rules), key=rules.count)


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


def _role(name: str) -> str:
    """Return a pattern for a layer's name in every block."""
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name)
