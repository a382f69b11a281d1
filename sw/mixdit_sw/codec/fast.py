"""Block codec in torch, on CPU or GPU: bit for bit `mixdit_sw.codec.reference`, and fast."""

from dataclasses import dataclass

import numpy as np
import torch

from mixdit_sw.codec.reference import Blocks
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import EXPONENT_BIAS, LANES, NAN_EXPONENT, PAIR, BlockFormat

_PAIRS = LANES // PAIR
_FRACTION_BITS = 23


@dataclass(frozen=True)
class TensorBlocks:
    """`mixdit_sw.codec.reference.Blocks` as tensors of one device.

    Members
    -------
    codes : int16 (..., n_blocks, 16)
        Signed integer codes.
    exponents : uint8 (..., n_blocks)
        Shared exponents as stored.
    micro_exponents : uint8 (..., n_blocks, 8)
        Micro-exponents.
    """

    codes: torch.Tensor
    exponents: torch.Tensor
    micro_exponents: torch.Tensor

    @classmethod
    def from_numpy(cls, blocks: Blocks, device: torch.device | str = "cpu") -> "TensorBlocks":
        """Return `blocks` on `device`."""
        arrays = (blocks.codes, blocks.exponents, blocks.micro_exponents)
        return cls(*(torch.from_numpy(np.ascontiguousarray(x)).to(device) for x in arrays))

    def numpy(self) -> Blocks:
        """Return the blocks as NumPy arrays."""
        return Blocks(
            self.codes.cpu().numpy(),
            self.exponents.cpu().numpy(),
            self.micro_exponents.cpu().numpy(),
        )


def check_tensor(x: torch.Tensor) -> None:
    """Check that x is a float32 tensor with elements along its last axis.

    Raises
    ------
    MixditError
        When it is not.
    """
    if x.dtype != torch.float32:
        raise MixditError(f"Tensor must be float32, not {str(x.dtype).removeprefix('torch.')}")
    if x.ndim == 0 or x.shape[-1] == 0:
        raise MixditError(
            f"Tensor must have elements along its last axis, not shape {tuple(x.shape)}"
        )


@torch.no_grad()
def encode(x: torch.Tensor, fmt: BlockFormat) -> TensorBlocks:
    """Quantize float32 x (..., K) along its last axis; see `mixdit_sw.codec.reference.encode`."""
    check_tensor(x)
    x = torch.nn.functional.pad(x, (0, -x.shape[-1] % LANES)).contiguous()
    x = x.reshape(*x.shape[:-1], x.shape[-1] // LANES, _PAIRS, PAIR)
    fields = (x.view(torch.int32) >> _FRACTION_BITS) & 0xFF
    pair_max = fields.amax(dim=-1)
    exponents = pair_max.amax(dim=-1)
    is_nan = exponents == NAN_EXPONENT
    taus = (pair_max < exponents[..., None]) & ~is_nan[..., None]

    x = x.masked_fill((fields == 0) | is_nan[..., None, None], 0.0)
    steps = exponents[..., None] - EXPONENT_BIAS - taus.int() - (fmt.magnitude_bits - 1)
    codes = _scale(x, -steps[..., None]).round_().clamp_(-fmt.max_code, fmt.max_code)
    return TensorBlocks(
        codes=codes.to(torch.int16).flatten(-2),
        exponents=exponents.to(torch.uint8),
        micro_exponents=taus.to(torch.uint8),
    )


@torch.no_grad()
def decode(blocks: TensorBlocks, fmt: BlockFormat, k: int | None = None) -> torch.Tensor:
    """Return the exact values of blocks, float32 (..., k); without `k` those of all elements."""
    exponents = blocks.exponents.int()[..., None]
    taus = blocks.micro_exponents.int()
    steps = exponents - EXPONENT_BIAS - taus - (fmt.magnitude_bits - 1)
    codes = blocks.codes.to(torch.float32).unflatten(-1, (_PAIRS, PAIR))
    values = _scale(codes, steps[..., None]).flatten(-2)
    values.masked_fill_(exponents == NAN_EXPONENT, torch.nan)
    return values.flatten(-2)[..., :k]


def _scale(x: torch.Tensor, exponents: torch.Tensor) -> torch.Tensor:
    """Return x * 2**exponents for int32 exponents of -252..254, exact unless it is subnormal.

    In two factors, since the power itself may be out of float32's range. Where the first product is
    subnormal and rounds, the second is far below 1/2.
    """
    first = exponents >> 1
    return (x * _power_of_two(first)).mul_(_power_of_two(exponents - first))


def _power_of_two(exponents: torch.Tensor) -> torch.Tensor:
    return ((exponents + EXPONENT_BIAS) << _FRACTION_BITS).view(torch.float32)
