"""What a design is mapped to, and how much a gate of it counts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mixdit_sw.errors import MixditError

# Where Debian's qflow-tech packages put their Liberty files.
QFLOW = "/usr/share/qflow/tech/{name}/{name}_stdcells.lib"
QFLOW_TARGETS = ("osu018", "osu035")
FPGA_TARGETS = ("xc7", "ecp5", "ice40")

# Gate equivalents of Yosys's internal cells: areas of the OSU cells over NAND2's, rounded to a
# quarter; those that OSU lacks as two of its cells.
GENERIC_GE = {
    "$_NOT_": 0.75,
    "$_BUF_": 1.0,
    "$_NAND_": 1.0,
    "$_NOR_": 1.0,
    "$_AND_": 1.25,
    "$_OR_": 1.25,
    "$_ANDNOT_": 1.5,
    "$_ORNOT_": 1.5,
    "$_XOR_": 2.25,
    "$_XNOR_": 2.25,
    "$_MUX_": 2.0,
    "$_DFF_P_": 4.0,
    "$_DLATCH_P_": 3.0,
}
GENERIC_GATES = "AND,NAND,OR,NOR,XOR,XNOR,ANDNOT,ORNOT,MUX"


@dataclass(frozen=True)
class Target:
    """A synthesis target.

    Attributes
    ----------
    name
        As given on the command line.
    kind
        `generic`, `liberty` or `fpga`.
    liberty
        Text of the Liberty file.
    nand2_area
        Area of one gate equivalent in it.
    driver_cell
        Its inverter that recipes which size gates take for the driver of every input.
    """

    name: str
    kind: str
    liberty: str | None = None
    nand2_area: float | None = None
    driver_cell: str | None = None


def find_target(name: str) -> Target:
    """Resolve a target's name.

    Parameters
    ----------
    name
        `generic`, an FPGA family, an installed qflow library or the path of a Liberty file.

    Raises
    ------
    MixditError
        If there is no such target, or it is not installed, or it has no 2-input NAND.
    """
    if name == "generic":
        return Target(name, "generic")
    if name in FPGA_TARGETS:
        return Target(name, "fpga")
    path = Path(QFLOW.format(name=name) if name in QFLOW_TARGETS else name)
    if name in QFLOW_TARGETS and not path.is_file():
        raise MixditError(
            f"Target {name} is not installed: install Debian's package `qflow-tech-{name}`"
        )
    if not path.is_file():
        known = ", ".join(("generic", *FPGA_TARGETS, *QFLOW_TARGETS))
        raise MixditError(f"Target {name!r} is none of {known}, nor a Liberty file")
    liberty = path.read_text(errors="replace")
    return Target(name, "liberty", liberty, nand2_area(liberty, name), driver_cell(liberty))


def driver_cell(liberty: str) -> str | None:
    """Inverter of a Liberty file, of strength 4 if there is one."""
    cells = re.findall(r'\bcell\s*\(\s*"?([\w$]+)"?\s*\)', liberty)
    inverters = [cell for cell in cells if re.search(r"inv", cell, re.I)]
    strong = [cell for cell in inverters if re.search(r"(?<!\d)4$", cell)]
    return next(iter(strong + inverters), None)


def nand2_area(liberty: str, name: str) -> float:
    """Area of the smallest 2-input NAND of a Liberty file: one gate equivalent."""
    areas = [
        float(area)
        for cell, area in re.findall(
            r'\bcell\s*\(\s*"?([\w$]+)"?\s*\)\s*\{.*?\barea\s*:\s*([\d.eE+-]+)', liberty, re.S
        )
        if re.search(r"nand2(?!\d)|nd2(?!\d)", cell, re.I) and float(area) > 0
    ]
    if not areas:
        raise MixditError(f"Liberty file {name} has no cell named like NAND2: no gate equivalent")
    return min(areas)
