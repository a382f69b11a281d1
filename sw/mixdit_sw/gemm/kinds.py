"""Accumulator kinds: how the exact dot products of K-blocks are summed (docs/numerics.md)."""

import re
from dataclasses import dataclass

from mixdit_sw.errors import MixditError

GUARDED_BITS = 21
"""Width of a block's exact signed integer that `aligned` keeps its guard bits for: MX9 x MX9."""

SIGNIFICAND_BITS = 24
"""Bits of an FP32 significand, which every accumulator is rounded to."""

LIFT_BITS = 8
"""Bits by which `aligned` may lift a block that is smaller than that."""


@dataclass(frozen=True)
class Fp32:
    """One rounding to nearest even per block, to FP32 without subnormals."""

    def __str__(self) -> str:
        return "fp32"


@dataclass(frozen=True)
class Aligned:
    """A signed significand in a window that moves in steps; bits are lost only when it must move.

    Members
    -------
    significand_bits : int
        Bits f of the significand, its sign included.
    step_bits : int
        Bits q of a step, a power of two. In text only if it is not 8: "aligned40", "aligned32x4".
    """

    significand_bits: int
    step_bits: int = 8

    def __post_init__(self) -> None:
        if self.step_bits not in (2, 4, 8, 16):
            raise MixditError(f"Accumulator step must be 2, 4, 8 or 16 bits, not {self.step_bits}")
        least = max(SIGNIFICAND_BITS + 1, GUARDED_BITS + self.step_bits)
        if not least <= self.significand_bits <= 52:
            first, last = (_name(bits, self.step_bits) for bits in (least, 52))
            raise MixditError(f"Accumulator must be {first} to {last}, not {self}")

    @property
    def guard_bits(self) -> int:
        """Bits g of the significand below the least bit of a block of `GUARDED_BITS`."""
        return self.significand_bits - GUARDED_BITS - self.step_bits

    @property
    def max_lift(self) -> int:
        """Steps by which a block that is smaller than `GUARDED_BITS` moves further up, at most."""
        return LIFT_BITS // self.step_bits

    def __str__(self) -> str:
        return _name(self.significand_bits, self.step_bits)

    def wide_steps(self, block_bits: int) -> int:
        """Steps by which blocks of more than `GUARDED_BITS` move down, at most; 0 for others."""
        return -(-max(block_bits - GUARDED_BITS, 0) // self.step_bits)

    def check_block_bits(self, block_bits: int) -> None:
        """Check that a block always fits, with all its bits.

        Parameters
        ----------
        block_bits : int
            Width of a block's exact signed integer, 21 for MX9 x MX9.

        Raises
        ------
        MixditError
            When it does not.
        """
        needed = GUARDED_BITS + self.step_bits * (1 + self.wide_steps(block_bits))
        if self.significand_bits < needed:
            raise MixditError(
                f"Accumulator {self} needs at least {needed} significand bits "
                f"for blocks of {block_bits} bits"
            )


def _name(significand_bits: int, step_bits: int) -> str:
    return f"aligned{significand_bits}" + ("" if step_bits == 8 else f"x{step_bits}")


Kind = Fp32 | Aligned

DEFAULT_KIND = Aligned(40)


def parse_kind(text: str) -> Kind:
    """Return the kind that `text` names, e.g. "fp32", "aligned40", "aligned32x4".

    Raises
    ------
    MixditError
        When there is none.
    """
    if text == "fp32":
        return Fp32()
    match = re.fullmatch(r"aligned(\d{1,9})(?:x(\d{1,9}))?", text)
    if not match:
        raise MixditError(
            "Accumulator must be fp32, aligned<f> (29 to 52 bits) or aligned<f>x<q> "
            f"(steps of 2, 4, 8 or 16 bits), not '{text}'"
        )
    return Aligned(int(match[1]), int(match[2] or 8))
