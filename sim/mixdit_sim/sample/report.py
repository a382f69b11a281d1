"""What is sampled how, and what came of it."""

from dataclasses import asdict, dataclass
from pathlib import Path

BACKENDS = ("float", "golden", "rtl")


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """An image and the way to it.

    Members
    -------
    backend : str
        "float": the float model. "golden": quantized operands with the engine's bits, multiplied in
        FP32. "rtl": products by the golden model, and each of them checked on simulated RTL.
    steps, guidance, seed : int, float, int
        As in `SamplerConfig`.
    label : int
        Class.
    policy : Path, optional
        Policy or plan; by default MixDiT's with r = 1 % and one high head.
    simulator : str
        "verilator" or "icarus".
    """

    backend: str = "golden"
    steps: int = 50
    guidance: float = 2.0
    seed: int = 0
    label: int = 0
    policy: Path | None = None
    simulator: str = "verilator"


@dataclass(frozen=True, kw_only=True)
class SampleReport:
    """How it went; None where a value does not apply.

    Members
    -------
    scope : str
        What cycles span: "engine", from start to interrupt of each layer's program.
    backend, policy : str
        Backend; name of the policy.
    label, steps, seed : int
        Of the image.
    guidance : float
        Guidance scale.
    macs : int
        Multiply-adds of the blocks' products, both branches of guidance.
    cycles, predicted_cycles : int
        Of the simulated RTL; of the cycle model.
    words, mismatches : int
        Results that the RTL gave, and those with other bits than the model saw. Without a mismatch
        the image is the one that the RTL computes, since every product had its operands and result.
    wall_s : float
        Seconds of sampling and simulation, without calibration.
    """

    scope: str | None
    backend: str
    policy: str | None
    label: int
    steps: int
    seed: int
    guidance: float
    macs: int
    cycles: int | None
    predicted_cycles: int | None
    words: int | None
    mismatches: int | None
    wall_s: float

    def to_dict(self) -> dict[str, object]:
        """Return the values, as written to JSON."""
        return asdict(self)
