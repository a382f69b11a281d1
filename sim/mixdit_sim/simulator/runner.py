"""Runs of cocotb test modules."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixdit_hw.tools import build_root

from .builder import SimulationError, build
from .payload import VARIABLE
from .process import run_worker, tool_environment


@dataclass(frozen=True)
class SimulationRun:
    """A run whose tests all passed.

    Attributes
    ----------
    folder
        Where the test module left its results.
    log
        Output of the simulator.
    tests
        Number of tests that ran.
    """

    folder: Path
    log: Path
    tests: int


def run(
    simulator: str,
    verilog: str | Path,
    top: str,
    test_module: str | Path,
    payload: Mapping[str, Any] | None = None,
    *,
    testcase: str | None = None,
    folder: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
    waves: str | Path | None = None,
    seed: int = 0,
    timeout_s: float | None = None,
    progress: Callable[[str], None] | None = None,
) -> SimulationRun:
    """Run a cocotb test module on a design.

    Parameters
    ----------
    simulator, verilog, top, progress
        As for `build`.
    test_module
        Name of the module, importable as it is here, or the path of its file.
    payload
        Anything JSON can hold, file paths for instance; the test module gets it from `payload()`.
    testcase
        Run this test only.
    folder
        Working folder of the test. Without it the run gets a temporary one under `build/sim`,
        which is removed when the tests pass.
    environment
        More variables.
    waves
        File to record all signals in: `.fst`, or with Verilator also `.vcd`.
    seed
        Of cocotb's random generator.
    timeout_s
        Give up after this time.

    Raises
    ------
    MixditError
        If an argument is wrong or a tool is not installed.
    SimulationError
        If the build fails, a test fails, none ran, or the time is over.
    """
    wave_file = None if waves is None else Path(waves).resolve()
    kind = None if wave_file is None else wave_file.suffix.lstrip(".")
    build_dir = build(simulator, verilog, top, kind, progress)
    work = Path(folder).resolve() if folder else _temporary_folder(top)
    work.mkdir(parents=True, exist_ok=True)
    (work / "payload.json").write_text(json.dumps({**(payload or {}), "folder": str(work)}))
    variables = {**tool_environment(simulator), **(environment or {})}
    variables[VARIABLE] = str(work / "payload.json")
    module = str(test_module)
    if isinstance(test_module, Path):
        module = test_module.stem
        search = [str(test_module.resolve().parent), variables["PYTHONPATH"]]
        variables["PYTHONPATH"] = os.pathsep.join(search)
    job = {
        "simulator": simulator,
        "top": top,
        "test_module": module,
        "testcase": testcase,
        "seed": seed,
        "build_dir": str(build_dir),
        "test_dir": str(work),
        "results": str(work / "results.xml"),
        "waves": wave_file is not None,
        **_wave_arguments(simulator, wave_file),
    }
    status = run_worker("test", job, work, variables, timeout_s)
    tests = _passed(status, work, f"{module} on {top} ({simulator})", timeout_s)
    if folder is None:
        shutil.rmtree(work, ignore_errors=True)
    return SimulationRun(work, work / "test.log", tests)


def _temporary_folder(top: str) -> Path:
    parent = build_root() / "sim"
    parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"run-{top}-", dir=parent))


def _wave_arguments(simulator: str, wave_file: Path | None) -> dict[str, list[str]]:
    """Options with which a simulator writes its waves to a given file."""
    if wave_file is None:
        return {"test_args": [], "plusargs": []}
    wave_file.parent.mkdir(parents=True, exist_ok=True)
    if simulator == "icarus":
        return {"test_args": [], "plusargs": [f"+dumpfile_path={wave_file}"]}
    return {"test_args": ["--trace-file", str(wave_file)], "plusargs": []}


def _passed(status: int | None, work: Path, what: str, timeout_s: float | None) -> int:
    """Count the tests that ran, all of which must have passed."""
    from cocotb_tools.check_results import get_results

    log = work / "test.log"
    if status is None:
        raise SimulationError(f"{what} took longer than {timeout_s:g} s: see {log}")
    try:
        tests, failed = get_results(work / "results.xml")
    except RuntimeError:
        raise SimulationError(f"{what} ended without a result: see {log}") from None
    if failed:
        raise SimulationError(f"{what}: {failed} of {tests} tests failed: see {log}")
    if status or not tests:
        raise SimulationError(f"{what} ran {tests} tests, exit status {status}: see {log}")
    return tests
