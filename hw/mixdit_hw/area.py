"""Area, and where it can be measured the clock, of a unit."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass

from mixdit_hw.config import ArrayConfig
from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.generate import verilog
from mixdit_hw.synth.flow import SynthReport, synthesize
from mixdit_hw.synth.scripts import SynthOptions
from mixdit_hw.synth.timing import TimingReport, analyze_timing
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import LANES

TIMED_CELLS = 2_000_000
"""Cells of the largest design that is timed: OpenSTA takes a kilobyte or two for each."""


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
    flops : int
        Flip-flops of one instance.
    memory_bits : int
        Of one instance, in memories that are not in the area.
    log : str
        Yosys's, of the unit; OpenSTA's for "total".
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
    flops: int
    memory_bits: int
    log: str | None


@dataclass(frozen=True, kw_only=True)
class AreaReport:
    """Area of a design.

    Members
    -------
    units : list of UnitReport
        "total" last.
    tool, recipe, netlist : str
        Yosys version; recipe of docs/flows.md; file of the mapped netlist.
    path : str
        The slowest path between registers: where it begins and ends.
    no_timing : str
        Why there is no clock, or None.
    """

    units: list[UnitReport]
    tool: str
    recipe: str
    netlist: str
    path: str | None
    no_timing: str | None

    @property
    def memory_bits(self) -> int:
        """Bits of memory macros, which are not part of the area."""
        return self.units[-1].memory_bits

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
    array = config.array if isinstance(config, EngineConfig) else config
    macs = {"array": array.peak_macs_per_cycle["mx6xmx6"], "pe": LANES}.get(top)
    return describe(report, recipe, macs)


def describe(report: SynthReport, recipe: str, macs: int | None) -> AreaReport:
    """Describe what synthesis found, and time it; `macs` are MX6 x MX6 multiply-adds a cycle."""
    timing, no_timing = _timing(report)
    units = [
        UnitReport(
            name=unit.name,
            target=report.target,
            instances=unit.instances,
            area=unit.area,
            ge=unit.ge,
            cells=sum(unit.cells.values()),
            macs_per_cycle=None,
            ge_per_mac=None,
            fmax_mhz=None,
            flops=unit.flops,
            memory_bits=unit.memory_bits,
            log=str(unit.folder / "yosys.log"),
        )
        for unit in report.units
    ]
    total = UnitReport(
        name="total",
        target=report.target,
        instances=1,
        area=report.area,
        ge=report.ge,
        cells=sum(unit.cells * unit.instances for unit in units),
        macs_per_cycle=macs,
        ge_per_mac=report.ge / macs if report.ge is not None and macs else None,
        fmax_mhz=timing.fmax_mhz if timing else None,
        flops=sum(unit.flops * unit.instances for unit in units),
        memory_bits=report.memory_bits,
        log=str(timing.log) if timing else None,
    )
    path = timing.paths.get("register") if timing else None
    return AreaReport(
        units=[*units, total],
        tool=report.tool,
        recipe=recipe,
        netlist=str(report.netlist),
        path=f"{path.start} -> {path.end}, {path.stages} cells" if path else None,
        no_timing=no_timing,
    )


def _timing(report: SynthReport) -> tuple[TimingReport | None, str | None]:
    """Return the timing, or None and why there is none."""
    if report.ge is None or report.target == "generic":
        return None, f"timing needs a Liberty file, which target {report.target} has not"
    if shutil.which("sta") is None:
        return None, "OpenSTA is not installed (Debian package opensta)"
    cells = sum(sum(unit.cells.values()) * unit.instances for unit in report.units)
    if cells > TIMED_CELLS:
        return None, f"{cells:,} cells are too many for OpenSTA: time a smaller array"
    try:
        return analyze_timing(report.netlist, report.top, report.target), None
    except MixditError as error:
        return None, str(error)
