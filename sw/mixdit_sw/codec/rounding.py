"""Rounding to codes in torch, bit for bit `mixdit_sw.formats.element` and `.rounding`."""

import torch

from mixdit_sw.formats import Element, Rounding

_LOW = 0xFFFFFFFF


def round_codes(x: torch.Tensor, element: Element, rounding: Rounding) -> torch.Tensor:
    """Return the codes of float64 x, which is in units of the least step; int64, saturated."""
    magnitude = x.abs()
    if element.mantissa_bits is None:
        rounded = _round(magnitude, rounding)
    else:
        exponent = torch.frexp(magnitude).exponent - 1 - element.mantissa_bits
        top = element.max_code.bit_length() - 1 - element.mantissa_bits
        exponent = exponent.clamp_(0, top)
        rounded = _round(magnitude * power_of_two(-exponent), rounding) * power_of_two(exponent)
    codes = rounded.clamp_(max=element.max_code)
    return torch.where(x < 0, -codes, codes).to(torch.int64)


def power_of_two(exponents: torch.Tensor) -> torch.Tensor:
    """Return 2**exponents in float64, for exponents of its normal numbers."""
    return ((exponents.to(torch.int64) + 1023) << 52).view(torch.float64)


def _round(x: torch.Tensor, rounding: Rounding) -> torch.Tensor:
    """Return float64 x >= 0, rounded to integers."""
    if rounding.mode == "nearest-even":
        return x.round()
    if rounding.mode == "half-away":
        return (x + 0.5).floor_()
    if rounding.mode == "truncate":
        return x.floor()
    return (x + _uniform(x, rounding.seed)).floor_()


def _uniform(like: torch.Tensor, seed: int) -> torch.Tensor:
    """Return one number in 0 .. 1 - 2**-24 for each position, float64."""
    hashed = torch.arange(like.numel(), device=like.device)
    hashed = _mix((hashed ^ (hashed >> 32)) & _LOW ^ seed)
    hashed = _mix(hashed + 0x9E3779B9) >> 8
    return (hashed.double() * 2.0**-24).view(like.shape)


def _mix(x: torch.Tensor) -> torch.Tensor:
    """Return a bijection of 32-bit numbers, held in int64."""
    x = x & _LOW
    x = x ^ (x >> 16)
    x = (x * 0x85EBCA6B) & _LOW
    x = x ^ (x >> 13)
    x = (x * 0xC2B2AE35) & _LOW
    return x ^ (x >> 16)
