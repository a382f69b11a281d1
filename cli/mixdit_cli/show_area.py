"""Areas, clocks and bitstreams on the terminal."""

from pathlib import Path

from rich.table import Table

from mixdit_cli.terminal import ERR, OUT
from mixdit_hw.area import AreaReport
from mixdit_hw.fpga.bitstream import BitstreamReport
from mixdit_hw.preset_area import PresetReport


def area(report: AreaReport) -> None:
    """Show areas by unit, and the clock or why there is none."""
    OUT.print(_area_table(report))
    _clock(report)


def preset_area(report: PresetReport) -> None:
    """Show areas by kind and by unit, memories, and the clock or why there is none."""
    if report.kinds:
        OUT.print(_kind_table(report))
    if report.memories:
        OUT.print(_memory_table(report))
    OUT.print(_area_table(report, logs=True))
    _clock(report)


def _clock(report: AreaReport) -> None:
    total = report.units[-1]
    if total.fmax_mhz is not None:
        OUT.print(f"Fmax {total.fmax_mhz:.1f} MHz (register to register, no wires)")
        OUT.print(f"slowest: {report.path}; log {total.log}", highlight=False)
        if report.recipe == "reference":
            OUT.print("(recipe reference buffers no nets: for a clock take --recipe sized)")
    else:
        OUT.print(f"no Fmax: {report.no_timing}", highlight=False)
    OUT.print(f"{report.tool}, recipe {report.recipe}, netlist {report.netlist}", highlight=False)


def bitstream(report: BitstreamReport) -> None:
    """Show what the device's cells are used for, the clock, and where that comes from."""
    table = Table(title=f"{report.device}, board {report.board}")
    table.add_column("cell")
    for name in ("used", "available", "share"):
        table.add_column(name, justify="right")
    for use in report.utilization:
        share = f"{use.used / use.available:.1%}"
        table.add_row(use.cell, f"{use.used:,}", f"{use.available:,}", share)
    OUT.print(table)
    path = report.critical_path
    OUT.print(
        f"Fmax {report.fmax_mhz:.1f} MHz, wires included; the board's clock is "
        f"{report.clock_mhz:g} MHz\n"
        f"critical path: {path.logic_ns:.1f} ns in {path.cells} cells, {path.routing_ns:.1f} ns in "
        f"wires, {path.start} to {path.end}\n"
        f"{report.tool}, seed {report.seed}, logs {', '.join(report.logs)}\n"
        f"bitstream {report.bitstream}",
        highlight=False,
    )
    if not report.passed:
        ERR.print("error: the design is too slow for the board's clock")


def _area_table(report: AreaReport, logs: bool = False) -> Table:
    total = report.units[-1]
    measure = "GE" if total.ge is not None else "LUTs"
    table = Table(title=f"Area, {total.target}")
    table.add_column("unit")
    for name in ("instances", f"{measure} each", f"{measure} in all", "share"):
        table.add_column(name, justify="right")
    if logs:
        table.add_column("log in build/synth")
    whole = total.ge if total.ge is not None else total.area
    for unit in report.units:
        each = unit.ge if unit.ge is not None else unit.area
        together = each * unit.instances
        row = [
            unit.name,
            str(unit.instances),
            f"{each:,.0f}",
            f"{together:,.0f}",
            f"{together / whole:.1%}" if whole else "-",
        ]
        if logs:
            row.append(Path(unit.log).parent.name if unit is not total and unit.log else "")
        table.add_row(*row)
    if total.ge_per_mac is not None:
        table.caption = f"{total.ge_per_mac:.1f} GE per MX6 MAC"
    return table


def _kind_table(report: PresetReport) -> Table:
    total = report.units[-1]
    measure = "GE" if total.ge is not None else "LUTs"
    table = Table(title=f"{report.top} by kind, {total.target}, memories apart")
    table.add_column("kind")
    for name in (measure, "share", "of the array"):
        table.add_column(name, justify="right")
    for group in report.groups:
        kinds = [kind for kind in report.kinds if kind.group == group.name]
        for kind in (*kinds, group):
            name = f"all of {kind.name}" if kind is group else kind.name
            size = kind.ge if kind.ge is not None else kind.area
            table.add_row(name, f"{size:,.0f}", f"{kind.share:.1%}", f"{kind.share_of_array:.1%}")
        table.add_section()
    whole = total.ge if total.ge is not None else total.area
    table.add_row("whole", f"{whole:,.0f}", "100.0%", "")
    return table


def _memory_table(report: PresetReport) -> Table:
    table = Table(title="Memories, not in the area")
    table.add_column("unit")
    for name in ("count", "words", "bits of a word", "bits in all"):
        table.add_column(name, justify="right")
    for memory in report.memories:
        numbers = (memory.count, memory.depth, memory.width, memory.bits)
        table.add_row(memory.unit, *(f"{number:,}" for number in numbers))
    bits = sum(memory.bits for memory in report.memories)
    table.add_row("all", "", "", "", f"{bits:,}")
    return table
