"""One GEMM on RTL: through the engine, or on the array alone."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mixdit_hw.config import ArrayConfig
from mixdit_hw.engine.config import EngineConfig, engine_for
from mixdit_sim.array.beats import Gemm
from mixdit_sim.array.cycles import predict_cycles
from mixdit_sim.array.rtl import run_gemms
from mixdit_sim.engine.run import run_layers
from mixdit_sw.engine.compiler import compile_sizes
from mixdit_sw.engine.gemm import LayerGemm
from mixdit_sw.engine.registers import Register
from mixdit_sw.errors import MixditError
from mixdit_sw.gemm.kinds import Kind
from mixdit_sw.operand import QuantizedOperand

Pair = tuple[QuantizedOperand, QuantizedOperand]


@dataclass(frozen=True)
class RtlGemm:
    """A GEMM that ran on RTL.

    Members
    -------
    engine : EngineConfig, optional
        What it ran through; None for the array alone.
    c : float32 (M, N)
        Result.
    cycles, predicted : int
        Measured, and by the model.
    stalls : dict of str to int, optional
        Cycles in which the engine's array waited, by cause.
    """

    engine: EngineConfig | None
    c: np.ndarray
    cycles: int
    predicted: int
    stalls: dict[str, int] | None

    @property
    def scope(self) -> str:
        """What the cycles span."""
        return "array" if self.engine is None else "engine"

    def golden(self, pair: Pair, kind: Kind) -> np.ndarray:
        """Return what C must be, float32 (M, N); an engine may run a long K in parts."""
        from mixdit_sw.engine.golden import golden_layer
        from mixdit_sw.gemm.fast import golden_gemm

        if self.engine is None:
            return golden_gemm(*pair, kind)
        return golden_layer(LayerGemm(a=pair[0], b=pair[1]), kind, self.engine.shape)


def rtl_gemm(
    config: ArrayConfig,
    engine: EngineConfig | None,
    pair: Pair,
    *,
    simulator: str = "verilator",
    waves: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> RtlGemm:
    """Run a GEMM through the engine, or where none can run it on the array alone.

    Parameters
    ----------
    config : ArrayConfig
        The array.
    engine : EngineConfig, optional
        The engine around it; `engine_for` by default.
    pair : (QuantizedOperand, QuantizedOperand)
        A and B.
    simulator, waves, progress
        As for `mixdit_sim.engine.run.run_layers`.

    Raises
    ------
    MixditError
        When the array cannot multiply these formats, or a tool is missing.
    """
    how: dict[str, Any] = {"simulator": simulator, "waves": waves, "progress": progress}
    layer = [LayerGemm(a=pair[0], b=pair[1])]
    try:
        engine = engine or engine_for(config)
        compile_sizes([layer[0].size], engine.shape)
    except MixditError as error:
        if progress:
            progress(f"No engine can run this ({error}): simulating the array alone")
        (result,) = run_gemms(config, [pair], **how)
        return RtlGemm(None, result.c, result.cycles, predict_cycles(Gemm.of(config, *pair)), None)
    (run,) = run_layers(engine, [layer], **how)
    cycles = run.predicted[Register.CYCLES]
    return RtlGemm(engine, run.c[0], run.outcome.cycles, cycles, array_stalls(run.outcome.counters))


def array_stalls(counters: dict[Register, int]) -> dict[str, int]:
    """Return the cycles in which the array waited, by cause."""
    prefix = "STALL_"
    return {
        register.name.removeprefix(prefix).lower(): count
        for register, count in counters.items()
        if register.name.startswith(prefix)
    }
