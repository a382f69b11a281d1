"""Accumulators of the fast golden GEMM: the rules of `gemm.reference` on tiles of floating point.

Each holds the state of one tile, a value per output, and equals the reference bit for bit:

* `Fp32Native`: float32 addition is the rule as long as nothing is subnormal or overflows;
* `Fp32Wide`: float64 addition rounded to odd, then to 24 bits, for every exponent;
* `AlignedTile`: significand times window is one float64.
"""

import math

import torch

from mixdit_sw.gemm.kinds import Aligned
from mixdit_sw.gemm.sides import Side

_FIELD = 52
_SIGNIFICANT_BELOW_ONE = 1.0 - 2.0**-53
_TINY = 2.0**-126
_HUGE = 2.0**128


class Fp32Native:
    """Kind `fp32` where float32 addition follows its rule: no subnormals, no overflow of a D."""

    dtype = torch.float32

    def __init__(self, prefix: torch.Tensor) -> None:
        self.value = prefix

    def add(self, dot: torch.Tensor, _k: int) -> None:
        """Add the exact dot products of a K-block."""
        self.value.add_(dot)

    def result(self) -> torch.Tensor:
        """Return the outputs."""
        return self.value


class Fp32Wide:
    """Kind `fp32` for any exponent: the FP32 value of each output in float64."""

    dtype = torch.float64

    def __init__(self, prefix: torch.Tensor) -> None:
        self.value = prefix

    def add(self, dot: torch.Tensor, _k: int) -> None:
        """Add the exact dot products of a K-block."""
        old = self.value
        total = old + dot
        part = total - old
        error = (old - (total - part)) + (dot - part)
        rounded = _round_bits(_to_odd(total, error), 24)
        rounded = torch.where(rounded.abs() >= _HUGE, rounded * math.inf, rounded)
        rounded = torch.where(rounded.abs() < _TINY, 0.0, rounded)
        self.value = torch.where(old.isinf(), old, rounded)

    def result(self) -> torch.Tensor:
        """Return the outputs."""
        return self.value.to(torch.float32)


def _to_odd(total: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
    """Return total + error rounded to odd, where total is their sum rounded to nearest."""
    bits = total.view(torch.int64)
    away = (error > 0) == (total > 0)
    moved = torch.where(away, bits, bits - 1) | 1
    return torch.where(error == 0, bits, moved).view(torch.float64)


def _round_bits(x: torch.Tensor, significant: int) -> torch.Tensor:
    """Return float64 x rounded to nearest even at `significant` bits."""
    drop = 53 - significant
    bits = x.view(torch.int64)
    odd = (bits >> drop) & 1
    return ((bits + ((1 << (drop - 1)) - 1) + odd) >> drop << drop).view(torch.float64)


class AlignedTile:
    """Kind `aligned`; A's exponents are one too high, so that window 0 has exponent field 1024.

    A window X' moves s to the least window that leaves it room, W, or to Y where that is higher;
    so s * 2**(q X), v for short, is the whole state, and with u = 2**(q max(W, Y)) the rule is
    v <- floor((v + 2**(q Y - 1)) / u) * u + floor(D / u + 1/2) * u: where W > Y the addend is too
    small to matter to v, which then is floored, else it is half of u. All of it is exact in
    float64, whose 53 bits hold every s.

    Parameters
    ----------
    kind : Aligned
        Accumulator.
    a, b : Side
        Sides of the tile.
    prefix : float64 (rows of a, rows of b)
        Exact sum of the first K-blocks.
    prefix_grid : int
        The prefix is a multiple of 2**prefix_grid.
    """

    dtype = torch.float64

    def __init__(
        self, kind: Aligned, a: Side, b: Side, prefix: torch.Tensor, prefix_grid: int
    ) -> None:
        self.kind = kind
        self.value = prefix
        self._a, self._b = a, b
        self._low, self._high = (a.low + b.low).tolist(), (a.high + b.high).tolist()
        self._bound = (a.norm * b.norm).tolist()
        self._grid = prefix_grid
        self._error = 0.0
        self._next, self._unit = torch.empty_like(prefix), torch.empty_like(prefix)
        self._window = torch.empty_like(prefix)

    def add(self, dot: torch.Tensor, k: int) -> None:
        """Add the exact dot products of K-block k; `dot` is overwritten."""
        floor, ceiling = lowest_unit(self._low[k], self.kind), lowest_unit(self._high[k], self.kind)
        bound = self._bound[k] + self._error
        headroom = self.kind.significand_bits - 2
        if self._grid >= ceiling and bound < 2.0 ** (headroom + floor):
            self.value.add_(dot)
            self._grid = min(self._grid, self._low[k])
            return
        self._add_rounded(dot, k)
        self._grid = min(self._grid, floor)
        coarsest = 2.0 ** (self.kind.step_bits + 1 - headroom) * bound
        self._error += 2.0 * max(coarsest, 2.0**ceiling)

    def _add_rounded(self, dot: torch.Tensor, k: int) -> None:
        """Apply the rule to each element."""
        value, moved, unit, lowest = self.value, self._next, self._unit, self._window
        self._set_block_unit(lowest, k)
        self._set_room_unit(unit)
        torch.maximum(unit, lowest, out=unit)
        untouched = dot == 0

        torch.add(value, lowest, alpha=0.5, out=moved)
        reciprocal = torch.reciprocal(unit, out=lowest)
        moved.mul_(reciprocal).floor_()
        dot.mul_(reciprocal).add_(0.5).floor_()
        moved.add_(dot).mul_(unit)
        torch.where(untouched, value, moved, out=value)

    def _set_block_unit(self, out: torch.Tensor, k: int) -> None:
        """Set `out` to 2**(q Y) of each output."""
        q = self.kind.step_bits
        row = self._a.exponent_fields[k][:, None] + ((1023 - q) << _FIELD)
        fields = out.view(torch.int64)
        torch.add(row, self._b.exponent_fields[k][None, :], out=fields)
        fields.bitwise_and_(-q << _FIELD)

    def _set_room_unit(self, out: torch.Tensor) -> None:
        """Set `out` to 2**(q W) of each output, 0 where it is 0.

        Negative values lose their last bit first, since -2**(f-2) has room and 2**(f-2) has not.
        """
        q, f = self.kind.step_bits, self.kind.significand_bits
        torch.ops.aten.leaky_relu.out(self.value, -_SIGNIFICANT_BELOW_ONE, out=out)
        out.mul_(2.0 ** (q + 2 - f))
        out.view(torch.int64).bitwise_and_(-q << _FIELD)

    def result(self) -> torch.Tensor:
        """Return the outputs: to nearest even, below normal +0."""
        value = self.value * 0.5
        flushed = value.abs() < _TINY - 2.0**-151
        return value.masked_fill_(flushed, 0.0).to(torch.float32)


def lowest_unit(weight: int, kind: Aligned) -> int:
    """Return q Y + 1: the exponent of the window of a block of `weight`, in A's raised scale."""
    q = kind.step_bits
    return ((weight - 1) // q - 1) * q + 1


Tile = Fp32Native | Fp32Wide | AlignedTile
