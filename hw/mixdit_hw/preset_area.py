"""Area of a whole preset, broken down by what its units are for; memories apart."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from mixdit_hw.area import AreaReport, describe
from mixdit_hw.area_kinds import ARRAY, KINDS, kind_of, rules_of
from mixdit_hw.config import ArrayConfig
from mixdit_hw.engine.config import EngineConfig, engine_for
from mixdit_hw.generate import cached_verilog
from mixdit_hw.synth.flow import SynthReport, UnitArea, synthesize
from mixdit_hw.synth.scripts import SynthOptions
from mixdit_hw.synth.shares import shared_out
from mixdit_hw.synth.targets import QFLOW_TARGETS, find_target
from mixdit_sw.errors import MixditError


@dataclass(frozen=True, kw_only=True)
class KindReport:
    """Area of a kind, in all instances of its units.

    Members
    -------
    name, group : str
        As in `mixdit_hw.area_kinds`.
    area : float
        In the library's unit, gate equivalents (generic) or LUTs.
    ge : float
        In gate equivalents; None for an FPGA.
    share, share_of_array : float
        Of the whole, and of the group "array".
    units : list of str
        Units that it is, or is a part of.
    """

    name: str
    group: str
    area: float
    ge: float | None
    share: float
    share_of_array: float
    units: list[str]


@dataclass(frozen=True, kw_only=True)
class MemoryReport:
    """A kind of memory, which is in no area.

    Members
    -------
    unit : str
        Where it is.
    count, depth, width, bits : int
        Memories of this size in all instances; words; bits of a word; bits in all of them.
    """

    unit: str
    count: int
    depth: int
    width: int
    bits: int


@dataclass(frozen=True, kw_only=True)
class PresetReport(AreaReport):
    """Area of a whole preset.

    Members
    -------
    top : str
        "engine", or "array" where no engine is around it.
    kinds, groups : list of KindReport
        What the units are for, and sums of these.
    memories : list of MemoryReport
        Memories, the largest first.
    """

    top: str
    kinds: list[KindReport]
    groups: list[KindReport]
    memories: list[MemoryReport]

    def group(self, name: str) -> KindReport:
        """Find a group by its name."""
        return next(group for group in self.groups if group.name == name)


def report_preset(
    machine: ArrayConfig | EngineConfig,
    *,
    target: str | None = None,
    recipe: str = "reference",
    memory_limit_bits: int = 0,
    progress: Callable[[str], None] | None = None,
) -> PresetReport:
    """Synthesize an engine, or an array that is in none, every part of it apart.

    For FPGAs the parts of the top are one unit, and there are no kinds.

    Parameters
    ----------
    machine : ArrayConfig or EngineConfig
        What to measure.
    target : str
        As of `report_area`; None for the first of osu018, osu035 and generic that there is.
    recipe : str
        Recipe of docs/flows.md, for Liberty targets.
    memory_limit_bits : int
        Memories of more bits are left out; smaller ones are made of flip-flops.
    progress : callable, optional
        Told in a line what takes long.

    Raises
    ------
    MixditError
        When an argument is wrong or a tool is missing.
    """
    target = target or best_target()
    machine, top = _whole(machine)
    by_kind = find_target(target).kind != "fpga"
    array = machine.array if isinstance(machine, EngineConfig) else machine
    report = synthesize(
        cached_verilog(machine, top, progress),
        top,
        target,
        SynthOptions(recipe=recipe),
        progress,
        open_top=by_kind,
        memory_limit_bits=memory_limit_bits,
    )
    plain = describe(report, recipe, array.peak_macs_per_cycle["mx6xmx6"])
    kinds = _kinds(report) if by_kind else []
    return PresetReport(
        **vars(plain),
        top=top,
        kinds=kinds,
        groups=_groups(kinds),
        memories=_memories(report.units),
    )


def best_target() -> str:
    """Name of the first of osu018, osu035 and generic that is installed."""
    for name in QFLOW_TARGETS:
        try:
            return find_target(name).name
        except MixditError:
            continue
    return "generic"


def _whole(machine: ArrayConfig | EngineConfig) -> tuple[ArrayConfig | EngineConfig, str]:
    """Return the engine around an array and its top's name, or the array if none can be."""
    if isinstance(machine, EngineConfig):
        return machine, "engine"
    try:
        return engine_for(machine), "engine"
    except MixditError:
        return machine, "array"


def _kinds(report: SynthReport) -> list[KindReport]:
    areas: dict[str, float] = defaultdict(float)
    units: dict[str, list[str]] = defaultdict(list)
    for unit in report.units:
        for kind, area in _shares(unit, report.target).items():
            areas[kind] += area * unit.instances
            units[kind].append(unit.name)
    array = sum(areas[kind.name] for kind in KINDS if kind.group == ARRAY)
    scale = None if report.ge is None else report.ge / report.area
    return [
        KindReport(
            name=kind.name,
            group=kind.group,
            area=areas[kind.name],
            ge=None if scale is None else areas[kind.name] * scale,
            share=areas[kind.name] / report.area,
            share_of_array=areas[kind.name] / array,
            units=units[kind.name],
        )
        for kind in KINDS
        if areas[kind.name]
    ]


def _shares(unit: UnitArea, target_name: str) -> dict[str, float]:
    """Area of one instance of a unit, by kind."""
    own, rules, target = kind_of(unit.name).name, rules_of(unit.name), find_target(target_name)
    if not rules:
        return {own: unit.area}
    return shared_out((unit.folder / "netlist.v").read_text(), target, rules, own)


def _groups(kinds: list[KindReport]) -> list[KindReport]:
    def total(group: str) -> KindReport:
        members = [kind for kind in kinds if kind.group == group]
        known = [kind.ge for kind in members if kind.ge is not None]
        return KindReport(
            name=group,
            group=group,
            area=sum(kind.area for kind in members),
            ge=sum(known) if known else None,
            share=sum(kind.share for kind in members),
            share_of_array=sum(kind.share_of_array for kind in members),
            units=[unit for kind in members for unit in kind.units],
        )

    return [total(group) for group in dict.fromkeys(kind.group for kind in kinds)]


def _memories(units: list[UnitArea]) -> list[MemoryReport]:
    counts: dict[tuple[str, int, int], int] = defaultdict(int)
    for unit in units:
        for depth, width in unit.memories:
            counts[unit.name, depth, width] += unit.instances
    found = [
        MemoryReport(unit=unit, count=count, depth=depth, width=width, bits=count * depth * width)
        for (unit, depth, width), count in counts.items()
    ]
    return sorted(found, key=lambda memory: -memory.bits)
