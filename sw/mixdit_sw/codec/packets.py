"""Digit packets: what every engine format decodes into, and the only operand the array knows."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from mixdit_sw.errors import MixditError
from mixdit_sw.formats import DIGIT_BITS, NAN_EXPONENT, Blocks, Format


@dataclass(frozen=True)
class Packets:
    """Digit packets of blocks.

    Members
    -------
    mag : uint8 (..., n_blocks, digits, 16)
        4-bit magnitude digits; digit 0 is the least significant.
    sign : uint8 (..., n_blocks, 16)
        1 where the element is negative.
    tau : uint8 (..., n_blocks, 8)
        Micro-exponent of each pair.
    exponent : int16 (..., n_blocks)
        Exponent e of the least significant digit: a lane is worth +-mag * 2**(e + 1 - tau). That
        the next digit is worth 16 times as much is the join's business.
    nan : bool (..., n_blocks)
        NaN blocks; their exponent is that of a zero block.
    """

    mag: np.ndarray
    sign: np.ndarray
    tau: np.ndarray
    exponent: np.ndarray
    nan: np.ndarray


@dataclass(frozen=True)
class Pass:
    """One pass of the dot unit over a digit of A and a digit of B.

    Members
    -------
    a_digit, b_digit : int
        Digits, 0 the least significant.
    shift : bool
        The join register moves up by one digit before this pass is added.
    """

    a_digit: int
    b_digit: int
    shift: bool


@cache
def passes(a_digits: int, b_digits: int) -> tuple[Pass, ...]:
    """Return the passes of a block, by anti-diagonals, most significant first.

    A single pass is a pass of 1 x 1 digits; MX9 x MX9 is hh, shift, hl, lh, shift, ll.
    """
    steps: list[Pass] = []
    for weight in reversed(range(a_digits + b_digits - 1)):
        diagonal = [
            (i, weight - i) for i in reversed(range(a_digits)) if 0 <= weight - i < b_digits
        ]
        steps += [Pass(i, j, bool(steps) and not n) for n, (i, j) in enumerate(diagonal)]
    return tuple(steps)


def to_packets(blocks: Blocks, fmt: Format) -> Packets:
    """Split the blocks of one format into digit packets. Real-valued scales are not in them.

    Raises
    ------
    MixditError
        When the format needs more digits than the engine takes.
    """
    if fmt.digits is None:
        raise MixditError(f"{fmt.name} has no digit packets: the engine does not multiply it")
    magnitude = np.abs(blocks.codes).astype(np.uint16)
    mask = (1 << DIGIT_BITS) - 1
    digits = [(magnitude >> (DIGIT_BITS * d)) & mask for d in range(fmt.digits)]
    nan = blocks.exponents == NAN_EXPONENT
    stored = np.where(nan, 0, blocks.exponents).astype(np.int16)
    return Packets(
        mag=np.stack(digits, axis=-2).astype(np.uint8),
        sign=(blocks.codes < 0).astype(np.uint8),
        tau=blocks.micro_exponents,
        exponent=stored - np.int16(fmt.exponent_offset),
        nan=nan,
    )
