"""Lists of GEMMs and conversions on the simulated engine, memory to memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from mixdit_hw.engine.config import EngineConfig
from mixdit_sim.engine.model.engine import predict
from mixdit_sim.engine.model.parts import MemoryTiming
from mixdit_sim.engine.rtl import program_job, run_jobs
from mixdit_sim.simulator.builder import SimulationError
from mixdit_sw.engine.commands import Error
from mixdit_sw.engine.compiler import compile_gemms
from mixdit_sw.engine.convert import LayerConvert
from mixdit_sw.engine.driver import Outcome
from mixdit_sw.engine.gemm import GemmSize, LayerGemm
from mixdit_sw.engine.registers import Register
from mixdit_sw.formats import LANES


def memory_timing(engine: EngineConfig) -> MemoryTiming:
    """Return the memory that an engine is meant for; its words a cycle are rounded to 1/1000."""
    words = Fraction(engine.memory_words).limit_denominator(1000)
    return MemoryTiming(engine.memory_latency, *words.as_integer_ratio())


@dataclass(frozen=True)
class LayerRun:
    """GEMMs and conversions that ran as one command list.

    Members
    -------
    c : list of float32 (M, N)
        Their results; of what is stored as an operand uint8 (tiles, bytes), its tiles in memory.
    outcome : Outcome
        What the registers say.
    predicted : dict of Register to int
        What the cycle model says.
    """

    c: list[np.ndarray]
    outcome: Outcome
    predicted: dict[Register, int]


def run_layers(
    engine: EngineConfig,
    layers: Sequence[Sequence[LayerGemm | LayerConvert]],
    *,
    timing: MemoryTiming | None = None,
    simulator: str = "verilator",
    waves: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[LayerRun]:
    """Run layers one after the other, each a command list of its GEMMs and conversions.

    Parameters
    ----------
    engine : EngineConfig
        The engine.
    layers : sequence of sequences of LayerGemm or LayerConvert
        What to run.
    timing : MemoryTiming, optional
        Of the memory; `memory_timing` by default.
    simulator, waves, progress
        As for `run_jobs`.

    Raises
    ------
    MixditError
        When a GEMM does not fit the engine, or a tool is missing.
    SimulationError
        When the simulation fails, or the engine reports an error.
    """
    timing = timing or memory_timing(engine)
    programs = [compile_gemms(layer, engine.shape) for layer in layers]
    jobs = [program_job(program, timing) for program in programs]
    results = run_jobs(engine, jobs, simulator=simulator, waves=waves, progress=progress)
    runs = []
    for program, result in zip(programs, results, strict=True):
        if result.outcome.error != Error.NONE or result.memory is None:
            raise SimulationError(f"The engine ended with {result.outcome.error.name}")
        c = [
            program.result(result.memory, index)
            if program.gemms[number].as_operand is None
            else program.operand(result.memory, index)
            for index, number in enumerate(program.outputs)
        ]
        runs.append(LayerRun(c, result.outcome, predict(engine, program, timing)))
    return runs


def useful_passes(layer: Sequence[LayerGemm | LayerConvert]) -> int:
    """Return the digit passes of the unpadded products: the sum over M * N * K of each."""
    total = 0
    for gemm in layer:
        size = gemm.size
        if not isinstance(size, GemmSize):
            continue
        lanes = [min(LANES, size.k - LANES * i) for i in range(len(size.a_formats))]
        passes = sum(p * n for p, n in zip(size.passes, lanes, strict=True))
        total += size.m * size.n * passes
    return total


def engine_utilization(
    engine: EngineConfig, layer: Sequence[LayerGemm | LayerConvert], cycles: int
) -> float:
    """Return the share of the multipliers' time that went into the unpadded products."""
    return useful_passes(layer) / (cycles * engine.array.rows * engine.array.cols * LANES)
