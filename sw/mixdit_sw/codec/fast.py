"""Block codec in torch, on CPU or GPU: bit for bit `mixdit_sw.codec.reference`, and fast.

Each family of formats has its form here; a family without one is encoded by its definition in
NumPy. All is done in float64, which holds every quotient of the definitions well enough to round.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

import numpy as np
import torch

from mixdit_sw import native
from mixdit_sw.codec.rounding import power_of_two, round_codes
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import (
    EXPONENT_BIAS,
    LANES,
    NAN_EXPONENT,
    NEAREST,
    PAIR,
    AsymmetricFormat,
    Blocks,
    Format,
    MicroExponentFormat,
    OcpFormat,
    Rounding,
    ScaledFormat,
)
from mixdit_sw.formats.halves import HalfFormat
from mixdit_sw.formats.nvfp4 import NvFormat

_PAIRS = LANES // PAIR
_FRACTION_BITS = 23

_WORTH_COMPILING = 1 << 20
"""Elements above which a second for a compiled loop may pay."""

_HALVES = {7: torch.bfloat16, 10: torch.float16}
_DTYPES = {np.int16: torch.int16, np.int32: torch.int32, np.int64: torch.int64}


@dataclass(frozen=True)
class TensorBlocks:
    """`mixdit_sw.formats.Blocks` as tensors of one device, with the same members."""

    codes: torch.Tensor
    exponents: torch.Tensor
    micro_exponents: torch.Tensor
    scales: torch.Tensor | None = None
    zero_points: torch.Tensor | None = None
    tensor_scale: np.float32 | None = None

    @classmethod
    def from_numpy(cls, blocks: Blocks, device: torch.device | str = "cpu") -> "TensorBlocks":
        """Return `blocks` on `device`."""
        values = {field.name: getattr(blocks, field.name) for field in fields(blocks)}
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                values[name] = torch.from_numpy(np.ascontiguousarray(value)).to(device)
        return cls(**values)

    def numpy(self) -> Blocks:
        """Return the blocks as NumPy arrays."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in values.items():
            if isinstance(value, torch.Tensor):
                values[name] = value.cpu().numpy()
        return Blocks(**values)


def check_tensor(x: torch.Tensor) -> None:
    """Check that x is a float32 tensor with elements along its last axis.

    Raises
    ------
    MixditError
        When it is not.
    """
    if not isinstance(x, torch.Tensor):
        raise MixditError(f"Tensor must be a torch tensor, not {type(x).__name__}")
    if x.dtype != torch.float32:
        raise MixditError(f"Tensor must be float32, not {str(x.dtype).removeprefix('torch.')}")
    if x.ndim == 0 or x.numel() == 0:
        raise MixditError(
            f"Tensor must have rows of elements along its last axis, not shape {tuple(x.shape)}"
        )


@torch.no_grad()
def encode(
    x: torch.Tensor,
    fmt: Format,
    rounding: Rounding = NEAREST,
    *,
    tensor_scale: np.float32 | None = None,
) -> TensorBlocks:
    """Quantize float32 x (..., K) along its last axis; see `mixdit_sw.codec.reference.encode`.

    `tensor_scale` is for a part of a tensor, in formats that have a scale for the whole.
    """
    check_tensor(x)
    x = torch.nn.functional.pad(x, (0, fmt.padded(x.shape[-1]) - x.shape[-1])).contiguous()
    given = {} if tensor_scale is None else {"tensor_scale": tensor_scale}
    if has_torch_form(fmt):
        encoder, _ = _FAMILIES[type(fmt)]
        return encoder(x, fmt, rounding, **given)
    return TensorBlocks.from_numpy(fmt.encode(x.cpu().numpy(), rounding, **given), x.device)


@torch.no_grad()
def decode(blocks: TensorBlocks, fmt: Format, k: int | None = None) -> torch.Tensor:
    """Return the values of blocks, float32 (..., k); without `k` those of all elements."""
    if has_torch_form(fmt):
        _, decoder = _FAMILIES[type(fmt)]
        return decoder(blocks, fmt)[..., :k]
    return torch.from_numpy(fmt.decode(blocks.numpy())).to(blocks.codes.device)[..., :k]


def has_torch_form(fmt: Format) -> bool:
    """Return whether a format has one: a known family, and micro-exponent codes fit float32."""
    is_wide = isinstance(fmt, MicroExponentFormat) and fmt.digits is None
    return type(fmt) in _FAMILIES and not is_wide


def _encode_micro(x: torch.Tensor, fmt: MicroExponentFormat, rounding: Rounding) -> TensorBlocks:
    x = x.reshape(*x.shape[:-1], x.shape[-1] // LANES, _PAIRS, PAIR)
    fields_ = (x.view(torch.int32) >> _FRACTION_BITS) & 0xFF
    pair_max = fields_.amax(dim=-1)
    exponents = pair_max.amax(dim=-1)
    is_nan = exponents == NAN_EXPONENT
    taus = (pair_max < exponents[..., None]) & ~is_nan[..., None]

    x = x.masked_fill((fields_ == 0) | is_nan[..., None, None], 0.0)
    steps = exponents[..., None] - EXPONENT_BIAS - taus.int() - (fmt.magnitude_bits - 1)
    if rounding == NEAREST:
        codes = _scale(x, -steps[..., None]).round_().clamp_(-fmt.max_code, fmt.max_code)
    else:
        codes = round_codes(x.double() * power_of_two(-steps[..., None]), fmt.element, rounding)
    return TensorBlocks(
        codes=codes.to(torch.int16).flatten(-2),
        exponents=exponents.to(torch.uint8),
        micro_exponents=taus.to(torch.uint8),
    )


def _decode_micro(blocks: TensorBlocks, fmt: MicroExponentFormat) -> torch.Tensor:
    exponents = blocks.exponents.int()[..., None]
    taus = blocks.micro_exponents.int()
    steps = exponents - EXPONENT_BIAS - taus - (fmt.magnitude_bits - 1)
    codes = blocks.codes.to(torch.float32).unflatten(-1, (_PAIRS, PAIR))
    values = _scale(codes, steps[..., None]).flatten(-2)
    values.masked_fill_(exponents == NAN_EXPONENT, torch.nan)
    return values.flatten(-2)


def _encode_ocp(x: torch.Tensor, fmt: OcpFormat, rounding: Rounding) -> TensorBlocks:
    is_large = x.device.type == "cpu" and x.numel() >= _WORTH_COMPILING
    if is_large and rounding == NEAREST and native.has_loop(fmt):
        shape = (*x.shape[:-1], x.shape[-1] // LANES)
        codes = torch.empty((*shape, LANES), dtype=_DTYPES[fmt.element.dtype])
        exponents = torch.empty(shape, dtype=torch.uint8)
        per_unit = (-1, fmt.unit // LANES)
        native.encode_ocp(x.view(-1, fmt.unit), codes, exponents.view(per_unit), fmt)
        return TensorBlocks(codes, exponents, _no_micro_exponents(codes))
    groups, is_nan = _finite_groups(x, fmt.unit)
    largest = groups.abs().amax(dim=-1)
    exponents = torch.frexp(largest).exponent - 1 - fmt.largest_exponent
    exponents = exponents.masked_fill(largest == 0, -EXPONENT_BIAS).clamp_(min=-EXPONENT_BIAS)
    steps = exponents[..., None] + fmt.element.lsb
    codes = round_codes(groups * power_of_two(-steps), fmt.element, rounding)
    stored = (exponents + EXPONENT_BIAS).masked_fill(is_nan, NAN_EXPONENT).to(torch.uint8)
    return _plain_blocks(codes, stored, fmt, x.shape[-1])


def _decode_ocp(blocks: TensorBlocks, fmt: OcpFormat) -> torch.Tensor:
    steps = blocks.exponents.int()[..., None] - fmt.exponent_offset
    values = (blocks.codes.double() * power_of_two(steps)).to(torch.float32)
    values.masked_fill_(blocks.exponents[..., None] == NAN_EXPONENT, torch.nan)
    return values.flatten(-2)


def _encode_scaled(x: torch.Tensor, fmt: ScaledFormat, rounding: Rounding) -> TensorBlocks:
    groups, is_nan = _finite_groups(x, fmt.group(x.shape[-1]))
    scales = (groups.abs().amax(dim=-1) / fmt.max_code).to(torch.float32)
    codes = round_codes(_quotient(groups, scales), fmt.element, rounding)
    return _scaled_blocks(codes, is_nan, scales, fmt, x.shape[-1])


def _encode_asymmetric(x: torch.Tensor, fmt: AsymmetricFormat, rounding: Rounding) -> TensorBlocks:
    groups, is_nan = _finite_groups(x, fmt.group(x.shape[-1]))
    low, high = groups.amin(dim=-1).clamp_(max=0.0), groups.amax(dim=-1).clamp_(min=0.0)
    scales = ((high - low) / fmt.levels).to(torch.float32)
    zeros = _quotient(-low[..., None], scales)[..., 0].round_().clamp_(max=fmt.levels)
    codes = round_codes(_quotient(groups, scales), fmt.element, rounding)
    whole = zeros[..., None].to(codes.dtype)
    codes = torch.minimum(torch.maximum(codes, -whole), fmt.levels - whole)
    blocks = _scaled_blocks(codes, is_nan, scales, fmt, x.shape[-1])
    stored = zeros.masked_fill_(is_nan, 0).to(torch.uint8)
    return TensorBlocks(**{**vars(blocks), "zero_points": stored})


def whole_scale(parts: Iterable[torch.Tensor], fmt: NvFormat) -> np.float32:
    """Return the scale of the whole tensor that float32 `parts` (..., K) are."""
    largest = 0.0
    for part in parts:
        groups, _ = _finite_groups(part, fmt.unit)
        largest = max(largest, float(groups.abs().max()))
    return fmt.tensor_scale(largest)


def _encode_nv(
    x: torch.Tensor, fmt: NvFormat, rounding: Rounding, tensor_scale: np.float32 | None = None
) -> TensorBlocks:
    groups, is_nan = _finite_groups(x, fmt.group(x.shape[-1]))
    largest = groups.abs().amax(dim=-1)
    scale = fmt.tensor_scale(float(largest.max())) if tensor_scale is None else tensor_scale
    grid = fmt.block_scale
    quotient = largest / 6.0 / float(scale) if scale else largest * 0.0
    scales = round_codes(quotient * 2.0**-grid.lsb, grid, NEAREST).double() * 2.0**grid.lsb
    step = (scales * (float(scale) * 0.5)).to(torch.float32)
    codes = round_codes(_quotient(groups, step), fmt.element, rounding)
    blocks = _scaled_blocks(codes, is_nan, scales.to(torch.float32), fmt, x.shape[-1])
    return TensorBlocks(**{**vars(blocks), "tensor_scale": scale})


def _encode_half(x: torch.Tensor, fmt: HalfFormat, rounding: Rounding) -> TensorBlocks:
    if rounding != NEAREST:
        return TensorBlocks.from_numpy(fmt.encode(x.cpu().numpy(), rounding), x.device)
    bits = x.to(_HALVES[fmt.mantissa_bits]).view(torch.int16).int() & 0xFFFF
    top = ((1 << fmt.exponent_bits) - 1) << fmt.mantissa_bits
    bits = bits.masked_fill(x.isnan(), top | 1 << (fmt.mantissa_bits - 1))
    codes = bits.masked_fill(bits == 1 << 15, 0).unflatten(-1, (-1, LANES))
    is_nan = (codes & top == top).any(dim=-1)
    exponents = torch.full_like(is_nan, EXPONENT_BIAS, dtype=torch.uint8)
    return TensorBlocks(
        codes=codes,
        exponents=exponents.masked_fill_(is_nan, NAN_EXPONENT),
        micro_exponents=_no_micro_exponents(codes),
    )


def _decode_half(blocks: TensorBlocks, fmt: HalfFormat) -> torch.Tensor:
    words = blocks.codes.to(torch.int16).view(_HALVES[fmt.mantissa_bits])
    return words.to(torch.float32).flatten(-2)


def _decode_scaled(blocks: TensorBlocks, fmt: ScaledFormat) -> torch.Tensor:
    assert blocks.scales is not None
    n_blocks = blocks.codes.shape[-2]
    scales = blocks.scales
    if blocks.tensor_scale is not None:
        scales = (scales.double() * (float(blocks.tensor_scale) * 0.5)).to(torch.float32)
    per_group = fmt.group(n_blocks * LANES) // LANES
    scales = scales.repeat_interleave(per_group, dim=-1)[..., :n_blocks, None]
    return (blocks.codes.double() * scales.double()).to(torch.float32).flatten(-2)


def _finite_groups(x: torch.Tensor, group: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return x in groups, float64 (..., n, group), NaN groups zeroed, and which those are."""
    x = torch.nn.functional.pad(x, (0, -x.shape[-1] % group))
    groups = x.reshape(*x.shape[:-1], x.shape[-1] // group, group).double()
    is_nan = ~groups.isfinite().all(dim=-1)
    return groups.masked_fill_(is_nan[..., None], 0.0), is_nan


def _quotient(groups: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Return groups / scales, 0 where the scale is 0."""
    return groups / scales.double().masked_fill(scales == 0, torch.inf)[..., None]


def _scaled_blocks(
    codes: torch.Tensor, is_nan: torch.Tensor, scales: torch.Tensor, fmt: Format, width: int
) -> TensorBlocks:
    stored = torch.full_like(is_nan, EXPONENT_BIAS, dtype=torch.uint8)
    blocks = _plain_blocks(codes, stored.masked_fill_(is_nan, NAN_EXPONENT), fmt, width)
    return TensorBlocks(**{**vars(blocks), "scales": scales.masked_fill(is_nan, torch.nan)})


def _plain_blocks(
    codes: torch.Tensor, exponents: torch.Tensor, fmt: Format, width: int
) -> TensorBlocks:
    """Return the K-blocks of codes (..., n_groups, group) in rows of `width`."""
    per_group = codes.shape[-1] // LANES
    codes = codes.flatten(-2)[..., :width].unflatten(-1, (width // LANES, LANES))
    return TensorBlocks(
        codes=codes.to(_DTYPES[fmt.element.dtype]),
        exponents=exponents.repeat_interleave(per_group, dim=-1)[..., : width // LANES],
        micro_exponents=_no_micro_exponents(codes),
    )


def _no_micro_exponents(codes: torch.Tensor) -> torch.Tensor:
    """Return the micro-exponents of K-blocks in formats without: ones."""
    return torch.ones((*codes.shape[:-1], _PAIRS), dtype=torch.uint8, device=codes.device)


def _scale(x: torch.Tensor, exponents: torch.Tensor) -> torch.Tensor:
    """Return x * 2**exponents for int32 exponents of -252..254, exact unless it is subnormal.

    In two factors, since the power itself may be out of float32's range. Where the first product is
    subnormal and rounds, the second is far below 1/2.
    """
    first = exponents >> 1
    return (x * _power_of_two(first)).mul_(_power_of_two(exponents - first))


def _power_of_two(exponents: torch.Tensor) -> torch.Tensor:
    return ((exponents + EXPONENT_BIAS) << _FRACTION_BITS).view(torch.float32)


_FAMILIES: dict[type, tuple[Callable[..., TensorBlocks], Callable[..., torch.Tensor]]] = {
    MicroExponentFormat: (_encode_micro, _decode_micro),
    OcpFormat: (_encode_ocp, _decode_ocp),
    ScaledFormat: (_encode_scaled, _decode_scaled),
    AsymmetricFormat: (_encode_asymmetric, _decode_scaled),
    NvFormat: (_encode_nv, _decode_scaled),
    HalfFormat: (_encode_half, _decode_half),
}
