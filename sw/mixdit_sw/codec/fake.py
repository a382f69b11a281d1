"""Fake quantization: decode(encode(x)), bit for bit, without the blocks in between.

It works on chunks that stay in cache, in a few passes without divisions or integer codes. With
s the step of a pair and L = (2**m - 1) * s the largest value of its elements:

* L is a float32 of exponent E - tau whose fraction starts with m - 1 ones;
* adding and subtracting L * 2**(24 - m), whose unit in the last place is s, rounds to a multiple
  of s, ties to even;
* only +-2**m * s can then exceed L, and clamping makes it +-L.

This is exact as long as no exponent is near an end of float32's range. Chunks that hold such a
block, NaN and Inf included, are encoded and decoded.
"""

import torch

from mixdit_sw.codec.fast import check_tensor, decode, encode
from mixdit_sw.formats import LANES, PAIR, BlockFormat

_CHUNK = {"cpu": 1 << 15, "cuda": 1 << 22}
_COMPILED_CHUNK = 1 << 22
_PAIRS = LANES // PAIR
_FRACTION_BITS = 23
_EVERY_BYTE = 0x0101010101010101
_BOTH_WORDS = 0x0000000100000001

_LOWEST, _HIGHEST = 9, 230
"""Block exponents between which subnormals are below half a step and no pass overflows."""


@torch.no_grad()
def fake_quantize(x: torch.Tensor, fmt: BlockFormat, *, compiled: bool = False) -> torch.Tensor:
    """Return the values that x has in a format.

    Parameters
    ----------
    x : float32 (..., K)
        Quantized along the last axis, as if padded with zeros to whole blocks.
    fmt : BlockFormat
        Format.
    compiled : bool
        Let torch.compile make one pass of it: faster, after half a minute of compiling. The bits
        are the same.

    Returns
    -------
    float32 (..., K)
        New tensor, contiguous. Beyond it, memory for some chunks is used.

    Raises
    ------
    MixditError
        When x is not float32, or has no elements along its last axis.
    """
    check_tensor(x)
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    rows, out_rows = x.reshape(-1, x.shape[-1]), out.view(-1, x.shape[-1])
    padding = -x.shape[-1] % LANES
    size = _COMPILED_CHUNK if compiled else _CHUNK.get(x.device.type, _CHUNK["cpu"])
    if padding:
        size = max(size // (x.shape[-1] + padding), 1) * (x.shape[-1] + padding)
    chunk = _round_trip if compiled else _Passes(size, x.device)
    if not padding:
        for source, result in zip(rows.view(-1).split(size), out.view(-1).split(size), strict=True):
            chunk(source, result, fmt)
        return out
    count = size // (x.shape[-1] + padding)
    for source, result in zip(rows.split(count), out_rows.split(count), strict=True):
        padded = torch.nn.functional.pad(source, (0, padding)).view(-1)
        chunk(padded, padded, fmt)
        result.copy_(padded.view(len(source), -1)[:, : x.shape[-1]])
    return out


class _Passes:
    """The passes, and the memory for them.

    Parameters
    ----------
    size : int
        Elements of the largest chunk.
    device : torch.device
        Where it is.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self._shifted = torch.empty(size, dtype=torch.int32, device=device)
        self._fields = torch.empty(size // PAIR, dtype=torch.uint8, device=device)
        self._largest = torch.empty(size // PAIR, dtype=torch.int64, device=device)
        self._magic = torch.empty(size, dtype=torch.float32, device=device)
        self._lowest = torch.empty(size, dtype=torch.float32, device=device)

    def __call__(self, x: torch.Tensor, out: torch.Tensor, fmt: BlockFormat) -> None:
        """Quantize the blocks x (n,) into out (n,), which may be x."""
        fields = self._pair_fields(x)
        exponents = fields.view(-1, _PAIRS).amax(dim=1)
        if not _is_safe(exponents):
            _round_trip(x, out, fmt)
            return
        below = (exponents.clamp(min=_LOWEST).to(torch.int64) - 1).mul_(_EVERY_BYTE)
        torch.maximum(fields, below.view(torch.uint8), out=fields)
        largest = self._largest_values(fields, fmt)
        magic = torch.mul(largest, 2.0 ** (24 - fmt.magnitude_bits), out=self._magic[: x.numel()])
        lowest = torch.neg(largest, out=self._lowest[: x.numel()])
        torch.add(x, magic, out=out).sub_(magic)
        torch.clamp(out, lowest, largest, out=out)

    def _pair_fields(self, x: torch.Tensor) -> torch.Tensor:
        """Return the greatest exponent field of each pair, uint8 (n / 2,)."""
        shifted = torch.bitwise_left_shift(x.view(torch.int32), 1, out=self._shifted[: x.numel()])
        octets = shifted.view(torch.uint8)
        return torch.maximum(octets[3::8], octets[7::8], out=self._fields[: x.numel() // PAIR])

    def _largest_values(self, fields: torch.Tensor, fmt: BlockFormat) -> torch.Tensor:
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


def _round_trip(x: torch.Tensor, out: torch.Tensor, fmt: BlockFormat) -> None:
    """Encode and decode the blocks x (n,) into out (n,)."""
    out.copy_(decode(encode(x.view(-1, LANES), fmt), fmt).view(-1))
