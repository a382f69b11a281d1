"""Number formats: what codec, golden model, packing and hardware widths derive from."""

from mixdit_sw.formats.base import (
    DIGIT_BITS,
    EXPONENT_BIAS,
    LANES,
    MAX_DIGITS,
    NAN_EXPONENT,
    PAIR,
    Blocks,
    Format,
    check_matrix,
    dot_bits,
)
from mixdit_sw.formats.element import Element
from mixdit_sw.formats.micro_exponent import MX4, MX6, MX9, MicroExponentFormat
from mixdit_sw.formats.ocp import OcpFormat
from mixdit_sw.formats.registry import FORMATS, get_format, load_formats, register
from mixdit_sw.formats.rounding import MODES, NEAREST, Rounding
from mixdit_sw.formats.scaled import AsymmetricFormat, ScaledFormat

__all__ = [
    "DIGIT_BITS",
    "EXPONENT_BIAS",
    "FORMATS",
    "LANES",
    "MAX_DIGITS",
    "MODES",
    "MX4",
    "MX6",
    "MX9",
    "NAN_EXPONENT",
    "NEAREST",
    "PAIR",
    "AsymmetricFormat",
    "Blocks",
    "Element",
    "Format",
    "MicroExponentFormat",
    "OcpFormat",
    "Rounding",
    "ScaledFormat",
    "check_matrix",
    "dot_bits",
    "get_format",
    "load_formats",
    "register",
]
