"""Every unit that is compared, in every form in which it may be at its best."""

from collections.abc import Callable
from dataclasses import dataclass

from amaranth.lib import wiring

from ...array.array import MatrixArray
from ...config import get_preset
from .decomposed import DecomposedPe
from .floating import BF16, FP8, FP16, FloatMac
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
        Functions that build it, one for each pipeline.
    booth
        Whether Booth encoding is tried; pointless without a `*` in the unit.
    flat
        Whether the unit is tried flattened as well: small units only.
    """

    name: str
    macs: dict[str, int]
    forms: tuple[Callable[[], wiring.Component], ...]
    booth: bool = True
    flat: bool = True


def _int_mac(width: int) -> tuple[Callable[[], wiring.Component], ...]:
    return tuple(lambda p=p: IntMac(width, p) for p in INT_PIPELINES)


def _float_mac(fmt: object) -> tuple[Callable[[], wiring.Component], ...]:
    return tuple(lambda p=p: FloatMac(fmt, p) for p in LOOP_PIPELINES)


def _mx(fmt: str) -> tuple[Callable[[], wiring.Component], ...]:
    return tuple(lambda p=p: MxUnit(fmt, p) for p in PIPELINES)


def _ours(scale: int) -> dict[str, int]:
    peak = get_preset(PRESET).peak_macs_per_cycle
    return {pair: (macs or 0) // scale for pair, macs in peak.items()}


def candidates() -> tuple[Candidate, ...]:
    """Return every unit: INT8 first, ours last."""
    config = get_preset(PRESET)
    pes = config.rows * config.cols
    dots = tuple(lambda p=p: IntDot(8, 16, p) for p in INT_PIPELINES)
    decomposed = tuple(lambda p=p: DecomposedPe(p) for p in LOOP_PIPELINES)
    return (
        Candidate("INT8 MAC", {"": 1}, _int_mac(8)),
        Candidate("INT8 dot of 16", {"": 16}, dots, flat=False),
        Candidate("INT4 MAC", {"": 1}, _int_mac(4)),
        Candidate("FP16 MAC", {"": 1}, _float_mac(FP16)),
        Candidate("BF16 MAC", {"": 1}, _float_mac(BF16)),
        Candidate("FP8 MAC", {"": 1}, _float_mac(FP8)),
        Candidate("2-bit-decomposed PE", {"MX4": 16, "MX6": 4, "MX9": 1}, decomposed, booth=False),
        Candidate("MX6 only, dot of 16", {"": 16}, _mx("mx6"), flat=False),
        Candidate("MX9 only, dot of 16", {"": 16}, _mx("mx9"), flat=False),
        Candidate("PE", _ours(pes), (lambda: RegisteredPe(config),), booth=False, flat=False),
        Candidate(
            f"array of `{PRESET}`",
            _ours(1),
            (lambda: MatrixArray(config),),
            booth=False,
            flat=False,
        ),
    )
