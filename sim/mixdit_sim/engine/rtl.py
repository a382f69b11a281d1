"""Programs on the generated Verilog of an engine, simulated with its memory."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mixdit_hw.engine.config import EngineConfig
from mixdit_sim.array.rtl import check_simulable, check_waves, working_folder
from mixdit_sim.engine.model.parts import MemoryTiming
from mixdit_sim.engine.testbench import TOP, testbench_verilog
from mixdit_sim.simulator import run
from mixdit_sw.engine.commands import Error
from mixdit_sw.engine.compiler import Program
from mixdit_sw.engine.driver import Outcome
from mixdit_sw.engine.registers import Register, Status

PATIENCE = 20_000_000
"""Cycles after which an engine counts as hung."""
MEMORY_WORDS = 1 << 12
"""Bus words of the smallest memory; others are larger by powers of four, so that few are built."""


@dataclass(frozen=True)
class Fault:
    """A memory that does not answer well.

    Members
    -------
    word : int
        Bus word at which it fails.
    response : int
        What it answers there: 2 is SLVERR, 3 DECERR.
    port : int
        Port whose part of the word fails.
    """

    word: int
    response: int = 2
    port: int = 0


@dataclass(frozen=True)
class Disturbance:
    """What is done to an engine while it runs.

    Members
    -------
    action : str
        "stop"; "reset", of engine and memory; "start", of the list at `address`.
    cycle : int
        Cycles after the start.
    address : int
        Bytes.
    """

    action: str
    cycle: int
    address: int = 0


@dataclass(frozen=True)
class Job:
    """A program and the memory that it runs on.

    Members
    -------
    image : uint8 (n,)
        Memory before the run.
    list_address : int
        Bytes.
    dump : (int, int), optional
        First byte and number of bytes of what is to be read back; whole bus words.
    timing : MemoryTiming
        Of the memory.
    fault : Fault, optional
        Of the memory.
    disturbance : Disturbance, optional
        In the middle of the run.
    patience : int
        Cycles after which the engine counts as hung.
    """

    image: np.ndarray
    list_address: int
    dump: tuple[int, int] | None = None
    timing: MemoryTiming = field(default_factory=MemoryTiming)
    fault: Fault | None = None
    disturbance: Disturbance | None = None
    patience: int = PATIENCE


@dataclass(frozen=True)
class JobResult:
    """How a job ended.

    Members
    -------
    outcome : Outcome
        What the registers say.
    status : Status
        STATUS at the interrupt.
    memory : uint8 (n,), optional
        What was to be read back.
    """

    outcome: Outcome
    status: Status
    memory: np.ndarray | None


def run_jobs(
    config: EngineConfig,
    jobs: Sequence[Job],
    *,
    simulator: str = "verilator",
    waves: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[JobResult]:
    """Run jobs one after the other on one simulated engine, that is not reset between them.

    Parameters
    ----------
    config : EngineConfig
        The engine.
    jobs : sequence of Job
        What to run.
    simulator : str
        "verilator" or "icarus".
    waves : Path, optional
        File to record all signals in.
    progress : callable, optional
        Told in a line what takes long.

    Raises
    ------
    MixditError
        When the engine is too large or a tool is missing.
    SimulationError
        When the simulation fails, or the engine hangs.
    """
    check_simulable(config.array, simulator)
    check_waves(waves)
    size = max(job.image.size for job in jobs) // config.bus_bytes
    words = MEMORY_WORDS
    while words < size:
        words *= 4
    with working_folder() as folder:
        verilog = folder / f"{TOP}.v"
        verilog.write_text(testbench_verilog(config, words))
        cases = [_case(config, folder, number, job) for number, job in enumerate(jobs)]
        run(
            simulator,
            verilog,
            TOP,
            "mixdit_sim.engine.bench",
            {"cases": cases},
            folder=folder,
            waves=waves,
            progress=progress,
        )
        outcomes = json.loads((folder / "outcomes.json").read_text())
        return [
            JobResult(
                _outcome(values), Status(values["status"]), _dumped(config, folder, number, job)
            )
            for number, (values, job) in enumerate(zip(outcomes, jobs, strict=True))
        ]


def program_job(program: Program, timing: MemoryTiming | None = None) -> Job:
    """Return the job of a program; its whole memory is read back."""
    return Job(
        program.image.bytes(),
        program.list_address,
        (0, program.image.size),
        timing or MemoryTiming(),
    )


def _case(config: EngineConfig, folder: Path, number: int, job: Job) -> dict[str, Any]:
    """Write a job's memory; return what the bench must know."""
    knobs = {
        "number": number,
        "latency": job.timing.latency,
        "gain": job.timing.gain,
        "price": job.timing.price,
        "fault": job.fault.response if job.fault else 0,
        "fault_word": job.fault.word if job.fault else 0,
        "fault_port": job.fault.port if job.fault else 0,
    }
    words = job.image.reshape(-1, config.ports, config.port_bytes)
    for port in range(config.ports):
        lines = (row[::-1].tobytes().hex() for row in words[:, port])
        (folder / f"image_{number}_{port}.hex").write_text("\n".join(lines) + "\n")
    if job.dump is not None:
        first, count = (value // config.bus_bytes for value in job.dump)
        knobs |= {"dump_first": first, "dump_last": first + count - 1}
    return {
        "knobs": knobs,
        "list_address": job.list_address,
        "patience": job.patience,
        "disturbance": asdict(job.disturbance) if job.disturbance else None,
    }


def _outcome(values: dict[str, Any]) -> Outcome:
    return Outcome(
        error=Error(values["error"]),
        error_address=values["error_address"],
        saw_nan=bool(values["status"] & Status.NAN),
        counters={Register[name]: count for name, count in values["counters"].items()},
    )


def _dumped(config: EngineConfig, folder: Path, number: int, job: Job) -> np.ndarray | None:
    """Read back what the memories wrote."""
    if job.dump is None:
        return None
    ports = []
    for port in range(config.ports):
        lines = (folder / f"result_{number}_{port}.hex").read_text().splitlines()
        raw = "".join(line.strip() for line in lines if line and line[0] not in "@/")
        rows = np.frombuffer(bytes.fromhex(raw.replace("x", "0")), np.uint8)
        ports.append(rows.reshape(-1, config.port_bytes)[:, ::-1])
    return np.stack(ports, axis=1).reshape(-1)
