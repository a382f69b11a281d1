"""Compiled designs, cached by content."""

import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from mixdit_hw.tools import (
    cached_folder,
    content_key,
    failed_folder,
    package_version,
    require_package,
    require_program,
)
from mixdit_sw.errors import MixditError

from .process import OPTIMIZATION, run_worker, tool_environment

SIMULATORS = ("verilator", "icarus")

# The runner makes every signal public, which multiplies compile time and halves the speed; the
# last word counts, and cocotb needs the ports of the top module only. The rest was measured
# (docs/flows.md).
_VERILATOR = [
    *("--no-public-flat-rw", "--public-depth", "1"),
    *("--output-split", "100000", "--output-split-cfuncs", "5000"),
    "-fno-inline",
    *("--x-assign", "fast", "--x-initial", "fast"),
    *("-Wno-lint", "-Wno-style", "-Wno-PROCASSINIT", "-Wno-INITIALDLY"),
    *("-CFLAGS", "-std=gnu++20", "-LDFLAGS", "-pthread"),
]


class SimulationError(RuntimeError):
    """A simulation that did not build, or whose tests did not pass; the message names the log."""


def build(
    simulator: str,
    verilog: str | Path,
    top: str,
    waves: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Compile a design for cocotb, or find it compiled.

    Parameters
    ----------
    simulator
        `verilator` or `icarus`.
    verilog
        File.
    top
        Top module; its ports are what a test can touch.
    waves
        Record signals as `fst` or `vcd`.
    progress
        Called with one line if a build starts.

    Returns
    -------
    Path
        Folder of the build.

    Raises
    ------
    MixditError
        If an argument is wrong or a tool is not installed.
    SimulationError
        If the compiler fails.
    """
    _check(simulator, verilog, waves)
    environment = tool_environment(simulator)
    text = Path(verilog).read_bytes()
    arguments = build_arguments(simulator, waves)
    settings = [simulator, str(waves), OPTIMIZATION, *arguments, _versions(simulator)]
    key = content_key(text, top, " ".join(settings))

    def fill(folder: Path) -> None:
        if progress:
            progress(f"Building {top} for {simulator}")
        (folder / "design.v").write_bytes(text)
        job = {
            "simulator": simulator,
            "verilog": str(folder / "design.v"),
            "top": top,
            "build_dir": str(folder),
            "build_args": arguments,
            "waves": waves is not None,
        }
        if run_worker("build", job, folder, environment):
            log = failed_folder("sim", key) / "build.log"
            raise SimulationError(f"{simulator} could not build {top}: see {log}")
        _tidy(folder, top)

    return cached_folder("sim", key, fill)


def build_arguments(simulator: str, waves: str | None) -> list[str]:
    """Options for the simulator's compiler."""
    if simulator == "icarus":
        return []
    return [*_VERILATOR, *(["--trace-fst"] if waves == "fst" else [])]


def _tidy(folder: Path, top: str) -> None:
    """Drop what only the compiler needed, some 200 MB of it with Verilator."""
    kept = {top, "sim.vvp", "design.v", "build.json", "build.log"}
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in kept:
            path.unlink()


def _check(simulator: str, verilog: str | Path, waves: str | None) -> None:
    if simulator not in SIMULATORS:
        raise MixditError(f"Simulator must be one of {', '.join(SIMULATORS)}, not {simulator!r}")
    if not Path(verilog).is_file():
        raise MixditError(f"No Verilog file {str(verilog)!r}")
    formats = ("fst", "vcd") if simulator == "verilator" else ("fst",)
    if waves is not None and waves not in formats:
        raise MixditError(f"{simulator} records waves as .{' or .'.join(formats)}, not .{waves}")
    if (simulator, waves) == ("verilator", "fst") and not _has_headers("lz4.h", "zlib.h"):
        raise MixditError("FST waves need Debian's liblz4-dev and zlib1g-dev: install or use .vcd")


def _has_headers(*names: str) -> bool:
    includes = [argument for name in names for argument in ("-include", name)]
    command = [require_program("g++"), "-fsyntax-only", "-x", "c++", *includes, "/dev/null"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _versions(simulator: str) -> str:
    """Everything outside the design that decides what a build is."""
    program = require_program("iverilog" if simulator == "icarus" else "g++")
    return " ".join(
        [
            package_version("cocotb"),
            package_version("verilator"),
            str(require_package("cocotb")),
            program,
            platform.machine(),
            sys.version,
        ]
    )
