"""What to quantize how: rules for linears and for attention, before any model is looked at.

A policy says shares and counts; `select.resolve` turns it into a plan, which names the channels and
heads of one model.
"""

import math
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from mixdit_sw.errors import MixditError
from mixdit_sw.formats import LANES, MicroExponentFormat, Rounding, get_format

FLOAT = "float32"
"""In place of a format's name: not quantized."""

ORDERS = ("natural", "high-first", "sorted")
MAGNITUDES = ("absmax", "mean")
WEIGHT_METHODS = ("nearest", "gptq")


@dataclass(frozen=True, kw_only=True)
class Dynamic:
    """K-blocks raised to the high format at run time, in each token block of their own.

    The order of the channels stays; only the precision tag of a K-block differs by row tile.

    Attributes
    ----------
    rows : int
        Tokens of a token block. Samples are cut apart, so the last one of a sample may be shorter.
    blocks : int
        K-blocks with the largest absmax in the token block that become high, beyond the static
        ones; ties to the first.
    """

    rows: int = LANES
    blocks: int = 1

    def __post_init__(self) -> None:
        _check_count("dynamic rows", self.rows, least=1)
        _check_count("dynamic blocks", self.blocks, least=1)


@dataclass(frozen=True, kw_only=True)
class LinearRule:
    """How the operands of a linear are quantized, along the input channels.

    Attributes
    ----------
    activation : str
        Format of input channels that are not high; "float32" leaves the input as it is.
    high : str
        Format of the high channels' K-blocks.
    high_share : float
        Share r of the input channels that are high, those of largest calibrated magnitude; rounded
        up to a channel, then completed to whole K-blocks by the next largest.
    magnitude : {"absmax", "mean"}
        Calibrated magnitude of a channel: the largest or the mean absolute value.
    order : {"high-first", "sorted", "natural"}
        Order of the channels: the high ones first, both groups ascending; all by falling
        magnitude; or as they are, so that each K-block with a high channel is high.
    weight : str
        Format of the weight; "float32" leaves it as it is.
    weight_high : str
        Format of the weight's high K-blocks.
    weight_high_blocks : int
        K-blocks of the weight that are high: those whose rounding costs the output most.
    weight_method : {"nearest", "gptq"}
        Nearest rounding, or GPTQ.
    dynamic : Dynamic, optional
        More high K-blocks, chosen at run time.
    """

    activation: str = "mx6"
    high: str = "mx9"
    high_share: float = 0.0
    magnitude: str = "absmax"
    order: str = "high-first"
    weight: str = "mx6"
    weight_high: str = "mx9"
    weight_high_blocks: int = 0
    weight_method: str = "nearest"
    dynamic: Dynamic | None = None

    def __post_init__(self) -> None:
        for name in ("activation", "high", "weight", "weight_high"):
            check_format_name(getattr(self, name))
        _check_choice("magnitude", self.magnitude, MAGNITUDES)
        _check_choice("order", self.order, ORDERS)
        _check_choice("weight_method", self.weight_method, WEIGHT_METHODS)
        _check_count("weight_high_blocks", self.weight_high_blocks)
        if not 0 <= self.high_share <= 1:
            raise MixditError(f"high_share must be 0 to 1, not {self.high_share!r}")
        if self.weight_method == "gptq":
            needed = [self.weight] + [self.weight_high] * bool(self.weight_high_blocks)
            _check_micro("GPTQ", needed)
        if self.dynamic is not None:
            _check_micro("A dynamic rule", [self.activation, self.high])

    def high_count(self, channels: int) -> int:
        """Return how many of `channels` are high, before they are completed to K-blocks."""
        # Shares such as 0.07 times 100 are a little more than the integer that is meant.
        return math.ceil(self.high_share * channels - 1e-9)


@dataclass(frozen=True, kw_only=True)
class AttentionRule:
    """How the two products of an attention are quantized, head by head.

    Each pair is (format of A, format of B): queries and keys, or probabilities and values.

    Attributes
    ----------
    qk, av : tuple of str
        Formats of low heads.
    high_qk, high_av : tuple of str
        Formats of high heads; by default MixDiT's.
    high_heads : int
        High heads: those with the largest calibrated magnitude of queries times that of keys.
    magnitude : {"absmax", "mean"}
        Calibrated magnitude of a head's operand.
    """

    qk: tuple[str, str] = ("mx6", "mx6")
    av: tuple[str, str] = ("mx6", "mx6")
    high_qk: tuple[str, str] = ("mx9", "mx9")
    high_av: tuple[str, str] = ("mx9", "mx6")
    high_heads: int = 0
    magnitude: str = "absmax"

    def __post_init__(self) -> None:
        for pair in (self.qk, self.av, self.high_qk, self.high_av):
            for name in pair:
                check_format_name(name)
        _check_count("high_heads", self.high_heads)
        _check_choice("magnitude", self.magnitude, MAGNITUDES)


@dataclass(frozen=True, kw_only=True)
class Override:
    """Other rules for some layers, some timesteps, or both.

    Attributes
    ----------
    layers : str
        Pattern of module names, as of a shell: `blocks.0.*`.
    timesteps : tuple of int, optional
        First and last timestep, both included; all by default.
    linear, attention : optional
        The rule in place of the policy's; None leaves it as it was.
    """

    layers: str = "*"
    timesteps: tuple[int, int] | None = None
    linear: LinearRule | None = None
    attention: AttentionRule | None = None

    def __post_init__(self) -> None:
        if self.timesteps is not None and not 0 <= self.timesteps[0] <= self.timesteps[1]:
            raise MixditError(f"Override timesteps must be (first, last), not {self.timesteps}")

    def holds(self, name: str, timestep: int) -> bool:
        """Return whether a layer is meant at a timestep."""
        first, last = self.timesteps or (timestep, timestep)
        return first <= timestep <= last and fnmatchcase(name, self.layers)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A whole policy; without arguments everything is MX6.

    Attributes
    ----------
    name : str
        For tables and file names.
    linear, attention : LinearRule, AttentionRule
        The rules of the whole model.
    overrides : tuple of Override
        Exceptions; the last one that holds wins.
    layers : tuple of str
        Patterns of the modules that are quantized. By default the matrix products of a DiT's
        blocks; adaLN, embedders and the final layer stay in FP32, as in the paper.
    rounding : str
        Rounding of activations; weights are always rounded to nearest even.
    """

    name: str = "mx6"
    linear: LinearRule = field(default_factory=LinearRule)
    attention: AttentionRule = field(default_factory=AttentionRule)
    overrides: tuple[Override, ...] = ()
    layers: tuple[str, ...] = ("blocks.*.attn.*", "blocks.*.mlp.*")
    rounding: str = "nearest-even"

    def __post_init__(self) -> None:
        if Rounding(self.rounding).mode == "stochastic":
            raise MixditError("Policy rounding cannot be stochastic: its bits depend on the batch")

    def rules(self, name: str, timestep: int) -> tuple[LinearRule, AttentionRule]:
        """Return the rules of the module `name` at a timestep."""
        linear, attention = self.linear, self.attention
        for override in self.overrides:
            if override.holds(name, timestep):
                linear, attention = override.linear or linear, override.attention or attention
        return linear, attention

    def phases(self, timesteps: int) -> list[tuple[int, int]]:
        """Cut 0..timesteps - 1 into (first, last) in which no rule changes."""
        starts = {0}
        for override in self.overrides:
            if override.timesteps is not None:
                starts |= {override.timesteps[0], override.timesteps[1] + 1}
        ordered = sorted(start for start in starts if start < timesteps)
        ends = [*ordered[1:], timesteps]
        return [(start, end - 1) for start, end in zip(ordered, ends, strict=True)]


def paper_policy(r: float, high_heads: int, *, name: str = "paper") -> Policy:
    """Return MixDiT's policy (arXiv 2504.08398): one share r and one number of high heads."""
    return Policy(
        name=name,
        linear=LinearRule(high_share=r),
        attention=AttentionRule(high_heads=high_heads),
    )


def uniform_policy(activation: str, weight: str | None = None, *, name: str = "") -> Policy:
    """Return the policy that has one format for all activations, and one for weights."""
    linear = LinearRule(activation=activation, weight=weight or activation)
    pair = (activation, activation)
    return Policy(name=name or activation, linear=linear, attention=AttentionRule(qk=pair, av=pair))


def check_format_name(name: str) -> None:
    """Check that `name` is "float32" or a format's.

    Raises
    ------
    MixditError
        When it is not.
    """
    if name != FLOAT:
        get_format(name)


def _check_micro(what: str, names: list[str]) -> None:
    for name in names:
        if name == FLOAT or not isinstance(get_format(name), MicroExponentFormat):
            raise MixditError(f"{what} needs micro-exponent formats such as mx6, not {name}")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise MixditError(f"{name} must be one of {', '.join(choices)}, not {value!r}")


def _check_count(name: str, value: int, least: int = 0) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise MixditError(f"{name} must be an integer of at least {least}, not {value!r}")
