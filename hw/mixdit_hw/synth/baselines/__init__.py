"""Units that the project's figures are ratios to: small, at their best, in the same flow."""

from .decomposed import DecomposedPe
from .floating import BF16, FLOAT_FORMATS, FP8, FP16, FloatFormat, FloatMac
from .integer import (
    ACCUMULATOR_WIDTH,
    OPERAND_WIDTH,
    Int8Mac,
    Int8Multiplier,
    IntDot,
    IntMac,
    IntMultiplier,
)
from .mx import MxUnit
from .pipeline import IntPipeline, LoopPipeline, Pipeline
from .registered import RegisteredPe

__all__ = [
    "ACCUMULATOR_WIDTH",
    "BF16",
    "FLOAT_FORMATS",
    "FP8",
    "FP16",
    "OPERAND_WIDTH",
    "DecomposedPe",
    "FloatFormat",
    "FloatMac",
    "Int8Mac",
    "Int8Multiplier",
    "IntDot",
    "IntMac",
    "IntMultiplier",
    "IntPipeline",
    "LoopPipeline",
    "MxUnit",
    "Pipeline",
    "RegisteredPe",
]
