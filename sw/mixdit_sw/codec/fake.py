"""Fake quantization: decode(encode(x)), bit for bit, without the blocks in between.

Tensors on the CPU go to a compiled loop, where the format has one, a compiler is there, and the
tensor is large or the loops are loaded already; others in chunks of rows through the codec, or, for
micro-exponents, through a few passes of torch.
The loops work without divisions or integer codes. For micro-exponents, with
s the step of a pair and L = (2**m - 1) * s the largest value of its elements:

* L is a float32 of exponent E - tau whose fraction starts with m - 1 ones;
* adding and subtracting L * 2**(24 - m), whose unit in the last place is s, rounds to a multiple
  of s, ties to even;
* only +-2**m * s can then exceed L, and clamping makes it +-L.

To truncate, s = L / (2**m - 1) divides and multiplies exactly.

This is exact as long as no exponent is near an end of float32's range. Blocks of other exponents,
NaN and Inf included, are encoded and decoded; the passes do so with the whole chunk.

For OCP elements the step of x is 2**(e - m), e being x's exponent but at least that of the least
normal element of the block, and adding and subtracting 1.5 * 2**23 steps rounds to it.
"""

from typing import Any

import torch

from mixdit_sw import native
from mixdit_sw.codec.fast import check_tensor, decode, encode, has_torch_form, whole_scale
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import (
    LANES,
    NEAREST,
    PAIR,
    Format,
    MicroExponentFormat,
    OcpFormat,
    Rounding,
)
from mixdit_sw.formats.nvfp4 import NvFormat

_CHUNK = {"cpu": 1 << 15, "cuda": 1 << 22}
_WORTH_COMPILING = 1 << 20
_PAIRS = LANES // PAIR
_FRACTION_BITS = 23
_EVERY_BYTE = 0x0101010101010101
_BOTH_WORDS = 0x0000000100000001

_LOWEST, _HIGHEST = 9, 230
"""Block exponents between which subnormals are below half a step and no pass overflows."""


def fake_quantize(
    x: torch.Tensor,
    fmt: Format,
    *,
    rounding: Rounding = NEAREST,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the values that x has in a format.

    Gradients pass straight through: that of x is that of the result, or 0 where that is NaN or Inf.

    Parameters
    ----------
    x : float32 (..., K)
        Quantized along the last axis, as if padded with zeros to whole blocks.
    fmt : Format
        Format.
    rounding : Rounding, optional
        To nearest even by default.
    out : float32 (..., K), optional
        Contiguous tensor for the result, which may be x; a new one by default. Without gradients.

    Returns
    -------
    float32 (..., K)
        The result. Beyond it, memory for a chunk is used.

    Raises
    ------
    MixditError
        When x is not float32, has no elements along its last axis, or does not match `out`.
    """
    check_tensor(x)
    if not isinstance(fmt, Format) or not isinstance(rounding, Rounding):
        raise MixditError("Fake quantization takes a Format and a Rounding: get_format(name)")
    if out is None:
        if torch.is_grad_enabled() and x.requires_grad:
            return _StraightThrough.apply(x, fmt, rounding)
        out = torch.empty_like(x, memory_format=torch.contiguous_format)
    if out.shape != x.shape or out.dtype != x.dtype or not out.is_contiguous():
        raise MixditError(
            f"Result must be contiguous float32 of shape {tuple(x.shape)}, "
            f"not {str(out.dtype).removeprefix('torch.')} of shape {tuple(out.shape)}"
        )
    with torch.no_grad():
        _fake_quantize(x.detach(), fmt, rounding, out)
    return out


class _StraightThrough(torch.autograd.Function):
    """Fake quantization forward, the identity backward."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, fmt: Format, rounding: Rounding) -> torch.Tensor:
        result = fake_quantize(x, fmt, rounding=rounding)
        ctx.save_for_backward(result.isfinite())
        return result

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (is_finite,) = ctx.saved_tensors
        return gradient.where(is_finite, 0.0), None, None


def _fake_quantize(x: torch.Tensor, fmt: Format, rounding: Rounding, out: torch.Tensor) -> None:
    rows, out_rows = (t.reshape(-1, t.shape[-1]) for t in (x.contiguous(), out))
    is_micro = isinstance(fmt, MicroExponentFormat) and has_torch_form(fmt)
    is_nearest, truncates = rounding == NEAREST, rounding.mode == "truncate"
    has_block_form = (
        is_micro and (is_nearest or truncates) or is_nearest and isinstance(fmt, OcpFormat)
    )
    if has_block_form and x.shape[-1] % fmt.unit == 0:
        rows, out_rows = rows.view(-1, fmt.unit), out_rows.view(-1, fmt.unit)
    pays = x.device.type == "cpu" and (x.numel() >= _WORTH_COMPILING or native.is_loaded())
    if has_block_form and pays and native.has_loop(fmt):
        native.fake_quantize(rows, out_rows, fmt, truncates=truncates)
    elif has_block_form and isinstance(fmt, MicroExponentFormat):
        _in_chunks(rows, out_rows, fmt, rounding)
    elif rounding.mode == "stochastic":
        # Positions are those in the whole tensor.
        out_rows.copy_(decode(encode(rows, fmt, rounding), fmt, rows.shape[1]))
    else:
        count = max(_CHUNK.get(x.device.type, _CHUNK["cpu"]) * 8 // rows.shape[1], 1)
        scale = whole_scale(rows.split(count), fmt) if isinstance(fmt, NvFormat) else None
        for source, result in zip(rows.split(count), out_rows.split(count), strict=True):
            blocks = encode(source, fmt, rounding, tensor_scale=scale)
            result.copy_(decode(blocks, fmt, rows.shape[1]))


def _in_chunks(
    rows: torch.Tensor, out: torch.Tensor, fmt: MicroExponentFormat, rounding: Rounding
) -> None:
    """Quantize rows (n, K) into `out`, some rows at a time."""
    padding = -rows.shape[1] % LANES
    width = rows.shape[1] + padding
    count = max(_CHUNK.get(rows.device.type, _CHUNK["cpu"]) // width, 1)
    passes = _Passes(count * width, rows.device, rounding)
    for source, result in zip(rows.split(count), out.split(count), strict=True):
        if padding:
            padded = torch.nn.functional.pad(source, (0, padding)).view(-1)
            passes(padded, padded, fmt)
            result.copy_(padded.view(-1, width)[:, : rows.shape[1]])
        else:
            passes(source.view(-1), result.view(-1), fmt)


class _Passes:
    """The passes, and the memory for them.

    Parameters
    ----------
    size : int
        Elements of the largest chunk.
    device : torch.device
        Where it is.
    rounding : Rounding
        To nearest even or truncating.
    """

    def __init__(self, size: int, device: torch.device, rounding: Rounding) -> None:
        self._rounding = rounding
        self._shifted = torch.empty(size, dtype=torch.int32, device=device)
        self._fields = torch.empty(size // PAIR, dtype=torch.uint8, device=device)
        self._largest = torch.empty(size // PAIR, dtype=torch.int64, device=device)
        self._magic = torch.empty(size, dtype=torch.float32, device=device)
        self._lowest = torch.empty(size, dtype=torch.float32, device=device)

    def __call__(self, x: torch.Tensor, out: torch.Tensor, fmt: MicroExponentFormat) -> None:
        """Quantize the blocks x (n,) into out (n,), which may be x."""
        fields = self._pair_fields(x)
        exponents = fields.view(-1, _PAIRS).amax(dim=1)
        if not _is_safe(exponents):
            _round_trip(x, out, fmt, self._rounding)
            return
        below = (exponents.clamp(min=_LOWEST).to(torch.int64) - 1).mul_(_EVERY_BYTE)
        torch.maximum(fields, below.view(torch.uint8), out=fields)
        largest = self._largest_values(fields, fmt)
        if self._rounding != NEAREST:
            step = largest.div_((1 << fmt.magnitude_bits) - 1)
            # Adding 0 makes -0 the +0 that codes hold.
            torch.div(x, step, out=out).trunc_().mul_(step).add_(0.0)
            return
        magic = torch.mul(largest, 2.0 ** (24 - fmt.magnitude_bits), out=self._magic[: x.numel()])
        lowest = torch.neg(largest, out=self._lowest[: x.numel()])
        torch.add(x, magic, out=out).sub_(magic)
        torch.clamp(out, lowest, largest, out=out)

    def _pair_fields(self, x: torch.Tensor) -> torch.Tensor:
        """Return the greatest exponent field of each pair, uint8 (n / 2,)."""
        shifted = torch.bitwise_left_shift(x.view(torch.int32), 1, out=self._shifted[: x.numel()])
        octets = shifted.view(torch.uint8)
        return torch.maximum(octets[3::8], octets[7::8], out=self._fields[: x.numel() // PAIR])

    def _largest_values(self, fields: torch.Tensor, fmt: MicroExponentFormat) -> torch.Tensor:
        """Return L for each element, float32 (n,), from the fields E - tau of the pairs."""
        ones = (1 << _FRACTION_BITS) - (1 << (24 - fmt.magnitude_bits))
        words = self._largest[: fields.numel()].copy_(fields)
        words.mul_(_BOTH_WORDS << _FRACTION_BITS).add_(ones * _BOTH_WORDS)
        return words.view(torch.float32)


def _is_safe(exponents: torch.Tensor) -> bool:
    """Return whether all block exponents, uint8 (n,), are 0 or _LOWEST.._HIGHEST."""
    from_lowest = exponents - _LOWEST
    outside = (from_lowest > _HIGHEST - _LOWEST) & (exponents != 0)
    return not bool(outside.any())


def _round_trip(
    x: torch.Tensor, out: torch.Tensor, fmt: MicroExponentFormat, rounding: Rounding
) -> None:
    """Encode and decode the blocks x (n,) into out (n,)."""
    out.copy_(decode(encode(x.view(-1, LANES), fmt, rounding), fmt).view(-1))
