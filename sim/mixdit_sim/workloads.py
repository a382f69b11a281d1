"""GEMMs of a denoising step of public diffusion transformers, and MixDiT's policies for them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from mixdit_sw.errors import MixditError
from mixdit_sw.formats import LANES, MX6, MX9, Format

BRANCHES = 2
"""With and without the condition: classifier-free guidance."""
DIT_HEAD, SD3_HEAD = 72, 64
SD3_TEXT = 154
PATCH_CHANNELS = 16
"""Input channels of a patch of 2x2 latents."""

Kind = Literal["linear", "qk", "av"]


@dataclass(frozen=True)
class Matmul:
    """GEMMs of one name and size: C (m, n), the sum over k, `count` times a layer, both branches.

    Members
    -------
    name : str
        What it is.
    kind : str
        "linear": activations by weights; "qk": scores of a head; "av": a head's result.
    m, n, k : int
        Sizes. Rows of both branches are one matrix in linear layers; heads are GEMMs of their own.
    count : int
        GEMMs of a layer.
    layers : int
        Layers that have them.
    cross : bool
        Of attention to text apart from the image.
    """

    name: str
    kind: Kind
    m: int
    n: int
    k: int
    count: int = 1
    layers: int = 1
    cross: bool = False

    @property
    def macs(self) -> int:
        """Multiply-adds of a denoising step."""
        return self.layers * self.count * self.m * self.n * self.k


@dataclass(frozen=True)
class Policy:
    """Where MX9 is used (MixDiT).

    Members
    -------
    high_share : float
        Share of the input channels of linear layers whose activations are MX9.
    high_heads : int
        Heads of self-attention with MX9 queries, keys and probabilities.
    """

    high_share: float = 0.0
    high_heads: int = 0


@dataclass(frozen=True)
class Workload:
    """A model at a resolution.

    Members
    -------
    name : str
        As the command line calls it.
    heads : int
        Heads of attention.
    matmuls : tuple of Matmul
        GEMMs of a denoising step that the engine runs.
    other_macs : int
        Multiply-adds of the rest, both branches: patches, embeddings, modulation, final layer.
    policy : Policy
        Of MixDiT, where it is known; else all is MX6.
    """

    name: str
    heads: int
    matmuls: tuple[Matmul, ...]
    other_macs: int
    policy: Policy = Policy()


def high_channels(k: int, share: float) -> int:
    """Return the number of MX9 channels of k: the share, rounded down."""
    return int(k * share + 1e-9)


def formats(
    matmul: Matmul, heads: int, policy: Policy
) -> list[tuple[int, tuple[Format, ...], tuple[Format, ...]]]:
    """Return the formats of the K-blocks of A and B, and how many GEMMs of a layer have them.

    MX9 channels come first and fill whole blocks; a head is high or low as a whole.
    """
    blocks = -(-matmul.k // LANES)
    if matmul.kind == "linear":
        high = -(-high_channels(matmul.k, policy.high_share) // LANES)
        return [(matmul.count, (MX9,) * high + (MX6,) * (blocks - high), (MX6,) * blocks)]
    high_gemms = 0 if matmul.cross else matmul.count * policy.high_heads // heads
    b_format = MX9 if matmul.kind == "qk" else MX6
    parts = [
        (high_gemms, (MX9,) * blocks, (b_format,) * blocks),
        (matmul.count - high_gemms, (MX6,) * blocks, (MX6,) * blocks),
    ]
    return [part for part in parts if part[0]]


def mac_shares(workload: Workload) -> dict[str, float]:
    """Return the share of the multiply-adds of each pair of formats, MX9 not rounded to blocks."""
    policy = workload.policy
    macs = {"mx6xmx6": 0.0, "mx9xmx6": 0.0, "mx9xmx9": 0.0}
    for x in workload.matmuls:
        high, pair = 0.0, "mx9xmx6"
        if x.kind == "linear":
            high = high_channels(x.k, policy.high_share) / x.k
        elif not x.cross:
            high = policy.high_heads / workload.heads
            pair = "mx9xmx9" if x.kind == "qk" else pair
        macs[pair] += high * x.macs
        macs["mx6xmx6"] += (1 - high) * x.macs
    total = sum(macs.values())
    return {pair: value / total for pair, value in macs.items()}


def get_workload(name: str) -> Workload:
    """Return the workload called `name`.

    Raises
    ------
    MixditError
        When there is none.
    """
    if name not in WORKLOADS:
        raise MixditError(f"Model must be one of {', '.join(WORKLOADS)}, not '{name}'")
    return WORKLOADS[name]


def with_policy(workload: Workload, high_share: float | None, high_heads: int | None) -> Workload:
    """Return a workload with another policy, where one is given.

    Raises
    ------
    MixditError
        When there are no such shares or heads.
    """
    policy = workload.policy
    if high_share is not None:
        if not 0 <= high_share <= 1:
            raise MixditError(f"High share must be 0..1, not {high_share}")
        policy = replace(policy, high_share=high_share)
    if high_heads is not None:
        if not 0 <= high_heads <= workload.heads:
            raise MixditError(f"High heads must be 0..{workload.heads}, not {high_heads}")
        policy = replace(policy, high_heads=high_heads)
    return replace(workload, policy=policy)


def _attention(tokens: int, heads: int, dim: int, text: int | None = None) -> list[Matmul]:
    """Return the products of attention, to the tokens themselves or to a text."""
    cross, keys = text is not None, tokens if text is None else text
    name = "cross " if cross else ""
    count = heads * BRANCHES
    return [
        Matmul(f"{name}QK", "qk", tokens, keys, dim, count, cross=cross),
        Matmul(f"{name}AV", "av", tokens, dim, keys, count, cross=cross),
    ]


def _block(rows: int, d: int, prefix: str = "") -> list[Matmul]:
    linear = [("qkv", 3 * d, d), ("proj", d, d), ("fc1", 4 * d, d), ("fc2", d, 4 * d)]
    return [Matmul(prefix + name, "linear", rows, n, k) for name, n, k in linear]


def _repeat(matmuls: Sequence[Matmul], layers: int) -> tuple[Matmul, ...]:
    return tuple(replace(x, layers=layers) for x in matmuls)


def _dit(name: str, blocks: int, d: int, heads: int, tokens: int, policy: Policy) -> Workload:
    matmuls = _block(BRANCHES * tokens, d) + _attention(tokens, heads, d // heads)
    modulation = blocks * 6 * d * d + 2 * d * d
    ends = tokens * d * (PATCH_CHANNELS + 2 * PATCH_CHANNELS)
    other = modulation + ends + 256 * d + d * d
    return Workload(name, heads, _repeat(matmuls, blocks), BRANCHES * other, policy)


def _pixart(name: str, text: int, tokens: int, policy: Policy) -> Workload:
    d, heads, blocks = 16 * DIT_HEAD, 16, 28
    rows, words = BRANCHES * tokens, BRANCHES * text
    cross = [("cross q", rows, d), ("cross kv", words, 2 * d), ("cross out", rows, d)]
    matmuls = [
        *_block(rows, d),
        *_attention(tokens, heads, DIT_HEAD),
        *(Matmul(label, "linear", m, n, d) for label, m, n in cross),
        *_attention(tokens, heads, DIT_HEAD, text),
    ]
    caption = text * (4096 * d + d * d)
    ends = tokens * d * (PATCH_CHANNELS + 2 * PATCH_CHANNELS)
    other = caption + ends + 256 * d + d * d + 6 * d * d
    return Workload(name, heads, _repeat(matmuls, blocks), BRANCHES * other, policy)


def _sd3(name: str, tokens: int, policy: Policy) -> Workload:
    d, heads, blocks = 24 * SD3_HEAD, 24, 24
    text_block = _block(BRANCHES * SD3_TEXT, d, "text ")
    matmuls = (
        *_repeat(_block(BRANCHES * tokens, d), blocks),
        *_repeat(text_block[:1], blocks),
        # The last block's text goes no further than keys and values.
        *_repeat(text_block[1:], blocks - 1),
        *_repeat(_attention(tokens + SD3_TEXT, heads, SD3_HEAD), blocks),
    )
    modulation = (blocks * 6 + (blocks - 1) * 6 + 2 + 2) * d * d
    text = SD3_TEXT * 4096 * d
    ends = tokens * d * (4 * PATCH_CHANNELS + 4 * PATCH_CHANNELS)
    other = modulation + text + ends + 256 * d + d * d + 2048 * d + d * d
    return Workload(name, heads, matmuls, BRANCHES * other, policy)


_DITS = {"s": (12, 384, 6), "b": (12, 768, 12), "l": (24, 1024, 16), "xl": (28, 1152, 16)}
_POLICIES = {
    "dit-xl-2-256": Policy(0.0, 3),
    "dit-xl-2-512": Policy(0.01, 0),
    "pixart-sigma-1024": Policy(0.01, 0),
    "sd3-medium-512": Policy(0.01, 12),
    "sd3-medium-1024": Policy(0.05, 4),
}


def _workloads() -> list[Workload]:
    makers = {}
    for size, (blocks, d, heads) in _DITS.items():
        for pixels, tokens in ((256, 256), (512, 1024)):
            name = f"dit-{size}-2-{pixels}"
            makers[name] = partial(_dit, name, blocks, d, heads, tokens)
    for kind, text in (("alpha", 120), ("sigma", 300)):
        for pixels, tokens in ((512, 1024), (1024, 4096)):
            name = f"pixart-{kind}-{pixels}"
            makers[name] = partial(_pixart, name, text, tokens)
    for pixels, tokens in ((512, 1024), (1024, 4096)):
        name = f"sd3-medium-{pixels}"
        makers[name] = partial(_sd3, name, tokens)
    return [make(policy=_POLICIES.get(name, Policy())) for name, make in makers.items()]


WORKLOADS: dict[str, Workload] = {workload.name: workload for workload in _workloads()}
"""By name, as the command line takes it."""
