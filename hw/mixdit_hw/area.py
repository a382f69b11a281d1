"""Area, and where it can be measured the clock, of an array and its units."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass

from mixdit_hw.config import ArrayConfig
from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.generate import verilog
from mixdit_hw.synth.flow import SynthReport, synthesize
from mixdit_hw.synth.scripts import SynthOptions
from mixdit_hw.synth.timing import analyze_timing
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import LANES


@dataclass(frozen=True, kw_only=True)
class UnitReport:
    """Area of a unit; None where a value does not apply.

    Members
    -------
    name, target : str
        Module, or "total"; Yosys target.
    instances : int
        How often the unit occurs in the top.
    area : float
        Of one instance without the units inside it, in the library's unit, gate equivalents
        (generic) or LUTs; of everything for "total".
    ge : float
        The same in gate equivalents (NAND2 = 1).
    cells : int
        Cells of one instance.
    macs_per_cycle : int
        MX6 x MX6 multiply-adds a cycle, for "total" of an array or a PE.
    ge_per_mac : float
        Gate equivalents for each of them.
    fmax_mhz : float
        Clock of the netlist, for "total".
    """

    name: str
    target: str
    instances: int
    area: float
    ge: float | None
    cells: int
    macs_per_cycle: int | None
    ge_per_mac: float | None
    fmax_mhz: float | None


@dataclass(frozen=True, kw_only=True)
class AreaReport:
    """Area of a design.

    Members
    -------
    units : list of UnitReport
        "total" last.
    tool, recipe, netlist : str
        Yosys version; recipe of docs/flows.md; file of the mapped netlist.
    no_timing : str
        Why there is no clock, or None.
    memory_bits : int
        Of memory macros, which are not part of the area.
    """

    units: list[UnitReport]
    tool: str
    recipe: str
    netlist: str
    no_timing: str | None
    memory_bits: int

    def to_dict(self) -> dict[str, object]:
        """Return the values, as written to JSON."""
        return asdict(self)


def report_area(
    config: ArrayConfig | EngineConfig,
    *,
    top: str = "array",
    target: str = "generic",
    recipe: str = "reference",
    progress: Callable[[str], None] | None = None,
) -> AreaReport:
    """Synthesize an array, or one of its units, unit by unit.

    Parameters
    ----------
    config : ArrayConfig or EngineConfig
        Array, or engine around it.
    top : str
        One of `mixdit_hw.generate.TOPS`.
    target : str
        "generic", "xc7", "ecp5", "ice40", "osu018", "osu035" or a Liberty file.
    recipe : str
        Recipe of docs/flows.md, for Liberty targets.
    progress : callable, optional
        Told in a line what takes long.

    Raises
    ------
    MixditError
        When an argument is wrong or a tool is missing.
    """
    options = SynthOptions(recipe=recipe)
    report = synthesize(verilog(config, top), top, target, options, progress)
    fmax, no_timing = _fmax(report)
    array = config.array if isinstance(config, EngineConfig) else config
    macs = {"array": array.peak_macs_per_cycle["mx6xmx6"], "pe": LANES}.get(top)
    units = [
        UnitReport(
            name=unit.name,
            target=target,
            instances=unit.instances,
            area=unit.area,
            ge=unit.ge,
            cells=sum(unit.cells.values()),
            macs_per_cycle=None,
            ge_per_mac=None,
            fmax_mhz=None,
        )
        for unit in report.units
    ]
    total = UnitReport(
        name="total",
        target=target,
        instances=1,
        area=report.area,
        ge=report.ge,
        cells=sum(unit.cells * unit.instances for unit in units),
        macs_per_cycle=macs,
        ge_per_mac=report.ge / macs if report.ge is not None and macs else None,
        fmax_mhz=fmax,
    )
    return AreaReport(
        units=[*units, total],
        tool=report.tool,
        recipe=recipe,
        netlist=str(report.netlist),
        no_timing=no_timing,
        memory_bits=report.memory_bits,
    )


def _fmax(report: SynthReport) -> tuple[float | None, str | None]:
    """Return the clock in MHz, or None and why there is none."""
    if report.ge is None or report.target == "generic":
        return None, f"timing needs a Liberty file, which target {report.target} has not"
    if shutil.which("sta") is None:
        return None, "OpenSTA is not installed (Debian package opensta)"
    try:
        return analyze_timing(report.netlist, report.top, report.target).fmax_mhz, None
    except MixditError as error:
        return None, str(error)
