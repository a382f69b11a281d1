"""Kind `aligned` of the fast golden GEMM, one tile at a time.

A step moves s to window max(W, Y), where W is the least window that leaves s a bit for a sum; so
v = s * 2**(q X) is the whole state. With u = 2**(q max(W, Y)) the rule reads

    v <- floor((v + 2**(q Y - 1)) / u) * u + floor(D / u + 1/2) * u

where W > Y the addend is too small to matter to v, which is floored, else it is half of u. All of
it is exact in float64. Most steps need none of it, because no output of the tile can lose a bit:
runs of such K-blocks are one matrix product. The others are, in large products on the CPU, one
pass of a compiled loop, where there is a compiler, else some passes of torch.
"""

import math
from functools import cached_property

import torch

from mixdit_sw import native
from mixdit_sw.gemm.fast_values import to_fp32
from mixdit_sw.gemm.kinds import GUARDED_BITS, Aligned
from mixdit_sw.gemm.sides import FLOAT32_BITS, NO_BLOCK, Side, is_native

RAISED = 1
"""A's exponents are one too high: float64's exponent field of window 0 is then 1024, 0 mod q."""

_FIELD = 52
_BELOW_ONE = 1.0 - 2.0**-53


class AlignedTile:
    """Accumulators of a tile.

    Parameters
    ----------
    kind : Aligned
        Accumulator.
    a, b : Side
        Sides of the tile; A's exponents are `RAISED`.
    is_worth_compiling : bool
        The matrix product is large, and on the CPU.
    """

    def __init__(self, kind: Aligned, a: Side, b: Side, is_worth_compiling: bool = False) -> None:
        self._kind, self._a, self._b = kind, a, b
        self._is_worth_compiling = is_worth_compiling
        self._low, self._high = (a.low + b.low).tolist(), (a.high + b.high).tolist()
        self._norm = (a.norm * b.norm).tolist()
        self._block_norm = (a.block_norm * b.block_norm).tolist()
        block_bits = (a.width * a.peak * b.peak).bit_length() + 1
        self._fall = kind.wide_steps(block_bits) * kind.step_bits
        shape = (a.rows, b.rows)
        self._value = torch.zeros(shape, dtype=torch.float64, device=a.device)
        self._dot = torch.empty_like(self._value)
        # Every v is a multiple of 2**_grid, and at most _bound in magnitude.
        self._grid = NO_BLOCK
        self._bound = 0.0
        self._error = 0.0
        self._is_measured = True

    def result(self) -> torch.Tensor:
        """Return the outputs, float32 (rows of a, rows of b), NaN blocks aside."""
        k = self._first_run()
        while k < self._a.n_blocks:
            run = self._lossless_run(k)
            if run:
                self._value.add_(self._product(torch.float64, k, k + run))
            else:
                self._step(k)
                run = 1
            k += run
        return self._drain()

    def _first_run(self) -> int:
        """Add the first lossless K-blocks, in float32 if that is exact; return their number."""
        run = self._lossless_run(0)
        if run:
            is_short = is_native(self._a, self._b) and _is_below(
                self._bound, FLOAT32_BITS + self._grid
            )
            dtype = torch.float32 if is_short else torch.float64
            self._value = self._product(dtype, 0, run).to(torch.float64)
        return run

    def _lossless_run(self, k: int) -> int:
        """Return for how many K-blocks from k on no output can lose a bit, and count them in.

        None can while all are multiples of 2**_grid, and no window lies above that: neither that of
        a block nor that which leaves room for a sum of magnitude _bound.
        """
        start = k
        while k < self._a.n_blocks:
            grid = min(self._grid, self._low[k])
            room = self._kind.significand_bits - 2 + _window_bottom(grid, self._kind)
            has_room = _is_below(self._bound, room)
            if not has_room or grid < self._unit_exponent(self._high[k]):
                if k == start and not self._is_measured and self._measure():
                    continue
                break
            self._count_in(k)
            k += 1
        return k - start

    def _measure(self) -> bool:
        """Replace the bound by the greatest magnitude; return whether that helps."""
        low, high = torch.aminmax(self._value)
        greatest = max(-float(low), float(high))
        self._is_measured = True
        is_less = greatest < self._bound
        self._bound = min(greatest, self._bound)
        return is_less

    def _count_in(self, k: int) -> None:
        """Update grid and bound for the sum with K-block k."""
        self._grid = min(self._grid, self._low[k])
        self._bound = min(self._bound + self._block_norm[k], self._norm[k] + self._error)
        self._is_measured = False

    def _unit_exponent(self, weight: int) -> int:
        """Return the exponent of the highest window of a block of `weight`."""
        return _window_bottom(weight - self._kind.guard_bits, self._kind) + self._fall

    def _product(self, dtype: torch.dtype, start: int, stop: int) -> torch.Tensor:
        """Return the sum of the D of some K-blocks."""
        return self._a.values(dtype, start, stop) @ self._b.values(dtype, start, stop).T

    def _step(self, k: int) -> None:
        """Add K-block k by the rule."""
        kind = self._kind
        most = self._unit_exponent(self._high[k])
        least = (
            _window_bottom(self._low[k] - kind.guard_bits, kind) - kind.max_lift * kind.step_bits
        )
        headroom = self._kind.significand_bits - 2
        has_room = _is_below(self._bound, headroom + least)
        coarsest = max(2.0**most, self._bound * 2.0 ** (self._kind.step_bits + 1 - headroom))
        torch.mm(
            self._a.block(torch.float64, k),
            self._b.block_transposed(torch.float64, k),
            out=self._dot,
        )
        if self._is_worth_compiling and native.is_available():
            powers = (self._a.powers[k], self._b.powers[k])
            native.aligned_step(self._value, self._dot, *powers, self._kind)
        else:
            self._add_rounded(k, has_room)
        self._error += 2.0 * coarsest
        self._count_in(k)
        self._bound += 2.0 * coarsest

    def _add_rounded(self, k: int, has_room: bool) -> None:
        """Apply the rule to each output; `has_room` says that W <= Y for all of them."""
        value, dot = self._value, self._dot
        moved, unit, window = self._scratch
        self._set_block_unit(unit, k, moved)
        torch.add(value, unit, alpha=0.5, out=moved)
        untouched = dot == 0
        if has_room:
            moved.div_(unit).floor_().mul_(unit).add_(dot)
        else:
            self._set_room_unit(window)
            torch.maximum(unit, window, out=unit)
            reciprocal = torch.reciprocal(unit, out=window)
            moved.mul_(reciprocal).floor_()
            dot.mul_(reciprocal).add_(0.5).floor_()
            moved.add_(dot).mul_(unit)
        torch.where(untouched, value, moved, out=value)

    @cached_property
    def _scratch(self) -> list[torch.Tensor]:
        return [torch.empty_like(self._value) for _ in range(3)]

    def _set_block_unit(self, out: torch.Tensor, k: int, scratch: torch.Tensor) -> None:
        """Set `out` to 2**(q Y) of each output, in the exponent field of float64."""
        kind, q = self._kind, self._kind.step_bits
        torch.mul(self._a.powers[k][:, None], self._b.powers[k][None, :], out=out)
        weight = out.view(torch.int64)
        lift = _magnitude(self._dot, scratch).view(torch.int64)
        lift.bitwise_and_(-1 << _FIELD).neg_().add_(weight)
        lift.add_((GUARDED_BITS - 2) << _FIELD).bitwise_and_(-q << _FIELD)
        lift.clamp_(max=kind.max_lift * q << _FIELD)
        weight.sub_(kind.guard_bits << _FIELD).bitwise_and_(-q << _FIELD).sub_(lift)

    def _set_room_unit(self, out: torch.Tensor) -> None:
        """Set `out` to 2**(q W) of each output, 0 where that is 0."""
        q, f = self._kind.step_bits, self._kind.significand_bits
        _magnitude(self._value, out)
        out.mul_(2.0 ** (q + 2 - f))
        out.view(torch.int64).bitwise_and_(-q << _FIELD)

    def _drain(self) -> torch.Tensor:
        """Return the values rounded to nearest even to FP32, below normal +0."""
        return to_fp32(self._value * 2.0**-RAISED)


def _magnitude(x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Set `out` to |x|; a negative x loses its last bit, since -2**n fits n bits, and 2**n not."""
    return torch.ops.aten.leaky_relu.out(x, -_BELOW_ONE, out=out)


def _window_bottom(weight: int, kind: Aligned) -> int:
    """Return the exponent of the lowest bit of the highest window at or below `weight`."""
    return (weight - RAISED) // kind.step_bits * kind.step_bits + RAISED


def _is_below(bound: float, exponent: int) -> bool:
    """Return whether bound < 2**exponent, for any exponent."""
    return bound == 0.0 or math.frexp(bound)[1] <= exponent
