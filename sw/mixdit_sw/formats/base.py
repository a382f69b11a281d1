"""What every number format is: elements, the scales they share, and how both are stored."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from mixdit_sw.errors import MixditError
from mixdit_sw.formats.element import Element
from mixdit_sw.formats.rounding import NEAREST, Rounding

LANES = 16
"""Elements of a K-block, and multipliers of a PE."""

PAIR = 2
"""Elements that share a micro-exponent."""

DIGIT_BITS = 4
"""Magnitude bits of one lane of a digit packet."""

MAX_DIGITS = 3
"""Digits of a format that the engine can multiply."""

EXPONENT_BIAS = 127
"""Bias of a stored 8-bit shared exponent, as in FP32."""

NAN_EXPONENT = 255
"""Exponent of a NaN block: codes, micro-exponents 0."""


@dataclass(frozen=True)
class Blocks:
    """K-blocks of 16 elements along the last axis of an array, in any format.

    Members
    -------
    codes : int16, int32 or int64 (..., n_blocks, 16)
        Signed integers in units of the element's least step; zero points are subtracted already.
    exponents : uint8 (..., n_blocks)
        Shared exponents as stored, biased by 127; 255 marks a NaN block. 127 where a format has
        none; the same in all K-blocks of a larger block.
    micro_exponents : uint8 (..., n_blocks, 8)
        Micro-exponent tau of each pair, 0 or 1; 1 where a format has none.
    scales : float32 (..., n_groups), optional
        Real-valued scale of each group; NaN marks a NaN group.
    zero_points : uint8 (..., n_groups), optional
        Zero point of each group.
    tensor_scale : float32, optional
        Scale of the whole tensor.
    """

    codes: np.ndarray
    exponents: np.ndarray
    micro_exponents: np.ndarray
    scales: np.ndarray | None = None
    zero_points: np.ndarray | None = None
    tensor_scale: np.float32 | None = None


@dataclass(frozen=True, kw_only=True)
class Format(ABC):
    """A number format. `docs/formats.md` shows how to add one.

    Members
    -------
    name : str
        Name in files, configurations and on the command line.
    element : Element
        What is stored of each number.
    """

    name: str
    element: Element

    unit: int = LANES
    """Elements that are stored together, and the multiple that rows are padded to."""

    @property
    def max_code(self) -> int:
        """Largest magnitude of a code."""
        return self.element.max_code

    @property
    def digits(self) -> int | None:
        """Digit packets of one K-block; None if there are too many for the engine."""
        digits = -(-self.max_code.bit_length() // DIGIT_BITS)
        return digits if digits <= MAX_DIGITS else None

    @property
    def has_micro_exponents(self) -> bool:
        """Whether pairs have micro-exponents; products of lanes are then shifted by up to 2."""
        return False

    @property
    def is_scaled(self) -> bool:
        """Whether groups have a real-valued scale."""
        return False

    @property
    def depends_on_tensor(self) -> bool:
        """Whether the whole tensor decides the bits of each block."""
        return False

    @property
    def is_engine_format(self) -> bool:
        """Whether the array can multiply it."""
        return self.digits is not None and not self.is_scaled

    def group(self, k: int) -> int:
        """Return how many elements of a row of k share a scale."""
        return self.unit

    def padded(self, k: int) -> int:
        """Return k, rounded up to what is stored."""
        return -(-k // self.unit) * self.unit

    @property
    @abstractmethod
    def exponent_offset(self) -> int:
        """Stored exponent less exponent of a digit packet; see `packet_exponent`."""

    def packet_exponent(self, stored: int) -> int:
        """Signed exponent e of the digit packets of a block whose stored exponent is `stored`.

        The value of a lane of the least significant packet is +-mag * 2**(e + 1 - tau).
        """
        return stored - self.exponent_offset

    @property
    @abstractmethod
    def header_bits(self) -> int:
        """Stored bits that a group has beside its elements; a whole number of bytes."""

    def row_bytes(self, k: int) -> int:
        """Return the stored bytes of a row of k elements."""
        width = self.padded(k)
        groups = -(-width // self.group(k))
        return (groups * self.header_bits + width * self.element.bits) // 8

    def bits_per_element(self, k: int = LANES) -> float:
        """Return the stored bits of an element in rows of k, its share of the scales included."""
        return 8 * self.row_bytes(k) / self.padded(k)

    @abstractmethod
    def encode(self, x: np.ndarray, rounding: Rounding = NEAREST) -> Blocks:
        """Quantize float32 x (..., K), K a multiple of `unit`, along its last axis."""

    @abstractmethod
    def decode(self, blocks: Blocks) -> np.ndarray:
        """Return the values of blocks, float32 (..., K)."""

    @abstractmethod
    def pack_header(self, blocks: Blocks) -> np.ndarray:
        """Return what each group shares, uint8 (..., n_groups, header_bits / 8)."""

    @abstractmethod
    def unpack(
        self, header: np.ndarray, elements: np.ndarray, tensor_scale: np.float32 | None
    ) -> Blocks:
        """Return the blocks of headers and of elements' bits uint64 (..., K)."""

    def pack_elements(self, blocks: Blocks) -> np.ndarray:
        """Return the stored bits of each element, uint64 (..., K)."""
        return self.element.to_bits(blocks.codes.reshape(*blocks.codes.shape[:-2], -1))

    def code_range(self, blocks: Blocks) -> tuple[np.ndarray | int, np.ndarray | int]:
        """Return the least and the greatest code that each element may have."""
        return -self.max_code, self.max_code

    @property
    def has_nan_blocks(self) -> bool:
        """Whether a NaN takes its whole block with it."""
        return True

    def check_shared(self, blocks: Blocks) -> None:  # noqa: B027  most share no more than that
        """Check what groups share; raises MixditError when it is not what the format stores."""

    def block_scales(self, blocks: Blocks) -> np.ndarray | None:
        """Return the real-valued scale of each K-block, float32 (..., n_blocks); None without."""
        return None

    def __str__(self) -> str:
        return self.name


def dot_bits(a: Format, b: Format) -> int:
    """Return the width of a block's exact signed dot product D, 21 for MX9 x MX9.

    It is the sum of 16 products of codes, each shifted left by up to 2 for the micro-exponents.
    """
    shifts = a.has_micro_exponents + b.has_micro_exponents
    return (LANES * (a.max_code << shifts) * b.max_code).bit_length() + 1


def check_matrix(x: np.ndarray) -> None:
    """Check that x is a float32 array with elements along its last axis.

    Raises
    ------
    MixditError
        When it is not.
    """
    if not isinstance(x, np.ndarray):
        raise MixditError(f"Tensor must be a NumPy array, not {type(x).__name__}")
    if x.dtype != np.float32:
        raise MixditError(f"Tensor must be float32, not {x.dtype}")
    if x.ndim == 0 or x.size == 0:
        raise MixditError(
            f"Tensor must have rows of elements along its last axis, not shape {x.shape}"
        )


def finite_groups(x: np.ndarray, group: int) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 x in groups, float64 (..., n, group), and which of them hold a NaN or an Inf.

    Those are zeroed. A short last group is filled with zeros.
    """
    padding = -x.shape[-1] % group
    x = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, padding)])
    x = x.reshape(*x.shape[:-1], -1, group)
    is_nan = np.logical_not(np.isfinite(x).all(axis=-1))
    return np.where(is_nan[..., None], np.float32(0), x).astype(np.float64), np.asarray(is_nan)
