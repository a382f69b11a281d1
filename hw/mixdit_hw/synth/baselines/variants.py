"""Every unit that is compared, in every form in which it may be at its best."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from amaranth.lib import wiring

from ...array.array import MatrixArray
from ...config import get_preset
from .decomposed import DecomposedPe
from .floating import BF16, FP8, FP16, FloatFormat, FloatMac
from .integer import IntDot, IntMac
from .mx import MxUnit
from .pipeline import MAX_STAGES, IntPipeline, LoopPipeline, Pipeline
from .registered import RegisteredPe

_STAGES = range(1, MAX_STAGES + 1)
INT_PIPELINES = tuple(
    IntPipeline(s, k) for s in _STAGES for k in (False, True) if 1 <= s - k <= MAX_STAGES - 1
)
LOOP_PIPELINES = tuple(LoopPipeline(s, i) for s in _STAGES for i in range(max(1, s - 2), s + 1))
PIPELINES = tuple(Pipeline(s) for s in _STAGES)
PRESET = "small"
ARRAY = f"array of `{PRESET}`"
ONE = {"": 1}


Form = tuple[Callable[[], wiring.Component], bool]


@dataclass(frozen=True)
class Candidate:
    """A unit that is compared, by all its forms.

    Attributes
    ----------
    name
        In tables.
    macs
        Multiply-adds a cycle in each mode; the mode is "" where there is only one.
    forms
        Every form: a function that builds it, and whether Booth encoding is tried on it; it
        changes a `*` only.
    flat
        Whether the unit is tried flattened as well: small units only.
    """

    name: str
    macs: dict[str, int]
    forms: tuple[Form, ...]
    flat: bool = True


def _float_mac(fmt: FloatFormat) -> tuple[Form, ...]:
    return tuple((partial(FloatMac, fmt, p), True) for p in LOOP_PIPELINES)


def _ours(scale: int) -> dict[str, int]:
    peak = get_preset(PRESET).peak_macs_per_cycle
    return {pair: (macs or 0) // scale for pair, macs in peak.items()}


def candidates() -> tuple[Candidate, ...]:
    """Return every unit: INT8 first, ours last."""
    config = get_preset(PRESET)
    ours = config.rows * config.cols
    return (
        Candidate("INT8 MAC", ONE, tuple((partial(IntMac, 8, p), True) for p in INT_PIPELINES)),
        Candidate(
            "INT8 dot of 16",
            {"": 16},
            tuple((partial(IntDot, 8, 16, p), True) for p in INT_PIPELINES),
            flat=False,
        ),
        Candidate("INT4 MAC", ONE, tuple((partial(IntMac, 4, p), True) for p in INT_PIPELINES)),
        Candidate("FP16 MAC", ONE, _float_mac(FP16)),
        Candidate("BF16 MAC", ONE, _float_mac(BF16)),
        Candidate("FP8 MAC", ONE, _float_mac(FP8)),
        Candidate(
            "2-bit-decomposed PE",
            {"MX4": 16, "MX6": 4, "MX9": 1},
            tuple((partial(DecomposedPe, p), False) for p in LOOP_PIPELINES),
        ),
        Candidate(
            "MX6 only, dot of 16",
            {"": 16},
            tuple((partial(MxUnit, "mx6", p), False) for p in PIPELINES),
            flat=False,
        ),
        Candidate(
            "MX9 only, dot of 16",
            {"": 16},
            tuple((partial(MxUnit, "mx9", p), True) for p in PIPELINES),
            flat=False,
        ),
        Candidate("PE", _ours(ours), ((partial(RegisteredPe, config), False),), flat=False),
        Candidate(ARRAY, _ours(1), ((partial(MatrixArray, config), False),), flat=False),
    )
