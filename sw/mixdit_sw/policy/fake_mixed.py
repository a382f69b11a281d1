"""Fake quantization of tensors whose K-blocks or heads have formats of their own.

Bits are those of the codec: `fake_mixed` gives the values of `mixdit_sw.mixed.MixedTensor`, in its
order of channels and without its padding.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mixdit_sw.codec.fake import fake_quantize
from mixdit_sw.formats import (
    LANES,
    NEAREST,
    Format,
    MicroExponentFormat,
    Rounding,
    get_format,
)
from mixdit_sw.policy.description import FLOAT


def fake_mixed(x: Tensor, formats: Sequence[str], rounding: Rounding = NEAREST) -> Tensor:
    """Return the values that x has when each K-block has its format.

    Parameters
    ----------
    x : float32 (..., K)
        Channels in the order of the K-blocks.
    formats : sequence of str
        Format of each K-block, or "float32". K-blocks of a format whose groups are larger than a
        K-block are taken together in their order, as `quantize_operand` does.

    Returns
    -------
    float32 (..., K)
        The values.
    """
    names = list(dict.fromkeys(formats))
    if len(names) == 1:
        return _whole(x, names[0], rounding)
    base = max(names, key=list(formats).count)
    if _is_per_block(base):
        result = _whole(x, base, rounding)
        names.remove(base)
    else:
        result = torch.empty_like(x, memory_format=torch.contiguous_format)
    for name in names:
        channels = _channels(formats, name, x.shape[-1])
        index = torch.tensor(channels, device=x.device)
        span = slice(channels[0], channels[-1] + 1)
        if len(channels) == span.stop - span.start:
            result[..., span] = _whole(x[..., span], name, rounding)
        else:
            result[..., index] = _whole(x[..., index], name, rounding)
    return result


def raise_blocks(
    x: Tensor,
    low: Tensor,
    fmt: str,
    rows: int,
    blocks: int,
    static: Sequence[bool],
    rounding: Rounding = NEAREST,
) -> Tensor:
    """Give the largest K-blocks of each token block another format.

    Parameters
    ----------
    x : float32 (..., T, K)
        Tokens.
    low : float32 (..., T, K)
        Their values in the static formats; changed in place.
    fmt : str
        Format of the chosen K-blocks, one with blocks of 16.
    rows : int
        Tokens of a token block.
    blocks : int
        K-blocks chosen in each, by absmax, ties to the first.
    static : sequence of bool
        K-blocks that are never chosen.
    rounding : Rounding
        Rounding of the chosen K-blocks.

    Returns
    -------
    float32 (..., T, K)
        `low`.
    """
    chosen = dynamic_blocks(x, rows, blocks, static)
    mask = chosen.repeat_interleave(rows, dim=-2)[..., : x.shape[-2], :]
    mask = mask.repeat_interleave(LANES, dim=-1)[..., : x.shape[-1]]
    return torch.where(mask, _whole(x, fmt, rounding), low, out=low)


def dynamic_blocks(x: Tensor, rows: int, blocks: int, static: Sequence[bool]) -> Tensor:
    """Return which K-blocks a dynamic rule raises, bool (..., token blocks, K-blocks)."""
    tokens, k = x.shape[-2:]
    size = nn.functional.pad(x.abs(), (0, -k % LANES, 0, -tokens % rows))
    largest = size.unflatten(-1, (-1, LANES)).amax(dim=-1).unflatten(-2, (-1, rows)).amax(dim=-2)
    largest = largest.nan_to_num(nan=torch.inf)
    largest[..., torch.tensor(list(static), device=x.device)] = -1.0
    count = min(blocks, len(static) - sum(static))
    ranked = torch.argsort(largest, dim=-1, descending=True, stable=True)[..., :count]
    return torch.zeros_like(largest, dtype=torch.bool).scatter_(-1, ranked, True)


def fake_heads(x: Tensor, formats: Sequence[str], rounding: Rounding = NEAREST) -> Tensor:
    """Return the values that x (..., heads, M, K) has when each head has its format."""
    names = list(dict.fromkeys(formats))
    if len(names) == 1:
        return _whole(x, names[0], rounding)
    result = torch.empty_like(x, memory_format=torch.contiguous_format)
    for name in names:
        heads = torch.tensor([n for n, f in enumerate(formats) if f == name], device=x.device)
        result[..., heads, :, :] = _whole(x[..., heads, :, :], name, rounding)
    return result


def _whole(x: Tensor, name: str, rounding: Rounding) -> Tensor:
    if name == FLOAT:
        return x.contiguous()
    return fake_quantize(x, get_format(name), rounding=rounding)


def _is_per_block(name: str) -> bool:
    """Return whether a K-block's values do not depend on other K-blocks."""
    fmt: Format | None = None if name == FLOAT else get_format(name)
    return fmt is not None and isinstance(fmt, MicroExponentFormat)


def _channels(formats: Sequence[str], name: str, k: int) -> list[int]:
    """Return the positions of the channels whose K-block has a format."""
    return [c for c in range(k) if formats[c // LANES] == name]
