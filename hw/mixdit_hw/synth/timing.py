"""Static timing of a mapped netlist with OpenSTA: register-to-register period and its path."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from mixdit_sw.errors import MixditError

from ..tools import cached_folder, content_key, failed_folder, require_program, run_logged
from .macros import memories_of_flip_flops
from .registers import register_names
from .targets import find_target

# Anything but what the script knowingly provokes: a module that is missing, for instance.
_PROBLEM = re.compile(
    r"^(?:Error|Warning: (?!.*relative to a clock defined on the same port))", re.M
)
PERIOD_NS = 1000.0
RESET = "rst"
"""How the names of resets end, in the top module."""
GROUPS = {
    "register": "-from [all_registers -clock_pins] -to [all_registers -data_pins]",
    "input": "-from [all_inputs] -to [all_registers -data_pins]",
    "output": "-from [all_registers -clock_pins] -to [all_outputs]",
    "through": "-from [all_inputs] -to [all_outputs]",
}


@dataclass(frozen=True)
class TimingPath:
    """The slowest path of a group.

    Attributes
    ----------
    start, end
        Names of the registers or ports.
    delay_ns
        From the clock edge (or the input) to the end, with the setup time of a register.
    stages
        Number of cells on it.
    report
        OpenSTA's listing.
    """

    start: str
    end: str
    delay_ns: float
    stages: int
    report: str


@dataclass(frozen=True)
class TimingReport:
    """Timing of a netlist with an ideal clock and without wires.

    Attributes
    ----------
    min_period_ns, fmax_mhz
        From register to register; None if there is no such path.
    paths
        Slowest path from `register` to register, from an `input`, to an `output`, and `through`
        from an input to an output; groups without a path are left out.
    tool
        Name and version.
    log
        OpenSTA's output.
    """

    min_period_ns: float | None
    fmax_mhz: float | None
    paths: dict[str, TimingPath]
    tool: str
    log: Path


def analyze_timing(netlist: Path, top: str, target: str, clock: str = "clk") -> TimingReport:
    """Analyze the timing of a netlist mapped to a Liberty file.

    Memories that synthesis has left out have the timing of flip-flops at their pins.

    Parameters
    ----------
    netlist
        Verilog of the mapped cells, hierarchical or not.
    top
        Name of the top module.
    target
        As given to `synthesize`; must have a Liberty file.
    clock
        Clock port of the top module; a design without it has paths from inputs to outputs only.

    Raises
    ------
    MixditError
        If the target has no timing, OpenSTA is not installed, or it fails.
    """
    library = find_target(target)
    if library.liberty is None:
        raise MixditError(f"Target {target} has no timing: give a Liberty file or osu018")
    program = require_program("sta")
    version = f"OpenSTA {_version(program)}"
    script = _script(top, clock)
    text = memories_of_flip_flops(_plain(netlist.read_text()), library.liberty)
    key = content_key(text, script, library.liberty, version)

    def fill(folder: Path) -> None:
        (folder / "netlist.v").write_text(text)
        (folder / "cells.lib").write_text(library.liberty)
        (folder / "script.tcl").write_text(script)
        run_logged([program, "-no_splash", "-exit", "script.tcl"], folder, "sta.log")
        log = (folder / "sta.log").read_text()
        if _PROBLEM.search(log) or "== end" not in log:
            place = failed_folder("timing", key) / "sta.log"
            raise MixditError(f"OpenSTA failed on module {top}: see {place}")

    folder = cached_folder("timing", key, fill)
    log = folder / "sta.log"
    names = register_names(text, top)
    paths = {
        group: replace(path, start=names(path.start), end=names(path.end))
        for group, path in parse_paths(log.read_text()).items()
    }
    register = paths.get("register")
    period = None if register is None else register.delay_ns
    return TimingReport(period, 1000.0 / period if period else None, paths, version, log)


def parse_paths(log: str) -> dict[str, TimingPath]:
    """Read the groups of paths from OpenSTA's output."""
    found = {}
    for group, report in re.findall(r"^== (\w+)\n(.*?)(?=^== )", log, re.S | re.M):
        slack = re.search(r"^\s*(-?[\d.]+)\s+slack", report, re.M)
        start = re.search(r"^Startpoint: (\S+)", report, re.M)
        end = re.search(r"^Endpoint: (\S+)", report, re.M)
        if slack and start and end:
            delay = PERIOD_NS - float(slack[1])
            found[group] = TimingPath(start[1], end[1], delay, _stages(report), report.strip())
    return found


def _plain(netlist: str) -> str:
    """Drop what OpenSTA's reader does not know: signs."""
    return re.sub(r"\b(input|output|wire) signed\b", r"\1", netlist)


def _stages(report: str) -> int:
    """Cells between the start and the end: output pins other than a register's."""
    pins = re.findall(r"[v^] (\S+)/\w+ \(", report.split("data arrival time")[0])
    return len(set(pins) - {pins[0], pins[-1]}) if pins else 0


def _version(program: str) -> str:
    return subprocess.run(
        [program, "-version"], capture_output=True, text=True, check=False
    ).stdout.strip()


def _script(top: str, clock: str) -> str:
    lines = [
        "read_liberty cells.lib",
        "read_verilog netlist.v",
        f"link_design {top}",
        # A clock that no port carries still lets the paths of combinational designs be asked for.
        f"if {{[llength [get_ports -quiet {clock}]]}} {{",
        f"  create_clock -name clock -period {PERIOD_NS} [get_ports {clock}]",
        "} else {",
        f"  create_clock -name clock -period {PERIOD_NS}",
        "}",
        "set_input_delay 0 -clock clock [all_inputs]",
        "set_output_delay 0 -clock clock [all_outputs]",
        # Resets, that of the domain inside too, are distributed like a clock, by trees that are
        # not part of the netlist.
        f"set resets [get_nets -quiet *{RESET}]",
        "if {[llength $resets]} {set_false_path -through $resets}",
    ]
    for group, selection in GROUPS.items():
        report = f"report_checks -path_delay max -digits 4 -fields {{fanout}} {selection}"
        if "registers" in selection:
            report = f"if {{[llength [all_registers]]}} {{{report}}}"
        lines += [f'puts "== {group}"', report]
    return "\n".join([*lines, 'puts "== end"', "exit"]) + "\n"
