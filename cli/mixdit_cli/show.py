"""Tables and progress on the terminal."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from mixdit_hw.area import AreaReport
from mixdit_hw.fpga.bitstream import BitstreamReport
from mixdit_hw.preset_area import PresetReport
from mixdit_sim.demo.report import DemoReport
from mixdit_sim.estimate import Estimate
from mixdit_sim.gemm import GemmReport
from mixdit_sim.sweep.results import PointResult, SweepResult

if TYPE_CHECKING:  # needs torch, which most commands do without
    from mixdit_sim.search.on_engine import BlockReport
    from mixdit_sim.search.report import SearchReport

# Piped output is not cut to the 80 columns that rich assumes; brackets in names are no markup.
_out = Console(soft_wrap=True, markup=False, width=None if sys.stdout.isatty() else 140)
_err = Console(stderr=True, soft_wrap=True, markup=False)


@contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """Show that something goes on, and each line that the given function is told."""
    with _err.status(Text(what)) as status:

        def tell(line: str) -> None:
            if not _err.is_terminal:
                _err.print(line, highlight=False)
            status.update(Text(line))

        yield tell


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int, str], None]]:
    """Show how much is done, and each line that the given function is told."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=_err) as bar:
        task = bar.add_task(what, total=None)

        def tell(done: int, total: int, line: str) -> None:
            bar.console.print(f"{done} of {total}, {line}", highlight=False)
            bar.update(task, completed=done, total=total)

        yield tell


def values(report: Mapping[str, object], out: Path) -> None:
    """Show a report line by line, and where the result is."""
    for name, value in report.items():
        _out.print(f"{name:18} {_text(value)}", highlight=False)
    if report.get("nan_blocks"):
        _err.print(f"warning: {report['nan_blocks']} blocks hold NaN or Inf", highlight=False)
    _out.print(f"{'written to':18} {out}", highlight=False)


def gemm(report: GemmReport, out: Path) -> None:
    """Show a GEMM's report without what does not apply."""
    values({name: value for name, value in report.to_dict().items() if value is not None}, out)


def manifest(report: Mapping[str, object], out: Path) -> None:
    """Show what was emitted."""
    file = out / str(report["verilog"])
    facts = {
        "top": report["top"],
        "modules": len(report["modules"]),  # type: ignore[arg-type]
        "kilobytes": round(file.stat().st_size / 1000, 1),
        "peak MACs a cycle": report["peak_macs_per_cycle"] or "-",
    }
    values(facts, file)


def area(report: AreaReport) -> None:
    """Show areas by unit, and the clock or why there is none."""
    _out.print(_area_table(report))
    _clock(report)


def preset_area(report: PresetReport) -> None:
    """Show areas by kind and by unit, memories, and the clock or why there is none."""
    if report.kinds:
        _out.print(_kind_table(report))
    if report.memories:
        _out.print(_memory_table(report))
    _out.print(_area_table(report, logs=True))
    _clock(report)


def _clock(report: AreaReport) -> None:
    total = report.units[-1]
    if total.fmax_mhz is not None:
        _out.print(f"Fmax {total.fmax_mhz:.1f} MHz (register to register, no wires)")
        _out.print(f"slowest: {report.path}; log {total.log}", highlight=False)
        if report.recipe == "reference":
            _out.print("(recipe reference buffers no nets: for a clock take --recipe sized)")
    else:
        _out.print(f"no Fmax: {report.no_timing}", highlight=False)
    _out.print(f"{report.tool}, recipe {report.recipe}, netlist {report.netlist}", highlight=False)


def demo(report: DemoReport, out: Path) -> None:
    """Show the six GEMMs and the area."""
    table = Table(title="A transformer block on RTL, bit for bit")
    for name in ("GEMM", "shape", "formats"):
        table.add_column(name)
    for name in ("MACs", "cycles", "predicted", "utilization", "QSNR dB", "all MX6", "mismatches"):
        table.add_column(name, justify="right")
    for row in report.gemms:
        count, m, n, k = row.shape
        table.add_row(
            row.name,
            f"{count} x ({m} x {n} x {k})" if count > 1 else f"{m} x {n} x {k}",
            row.formats,
            f"{row.macs:,}",
            f"{row.cycles:,}",
            f"{row.predicted_cycles:,}",
            f"{row.utilization:.1%}",
            _text(row.qsnr_db),
            _text(row.qsnr_mx6_db),
            str(row.mismatches),
        )
    _out.print(table)
    area(report.area)
    _out.print(f"Verilog, report and picture are in {out}", highlight=False)
    if not report.passed:
        _err.print("error: RTL and golden model, or cycles and their prediction, differ")


def bitstream(report: BitstreamReport) -> None:
    """Show what the device's cells are used for, the clock, and where that comes from."""
    table = Table(title=f"{report.device}, board {report.board}")
    table.add_column("cell")
    for name in ("used", "available", "share"):
        table.add_column(name, justify="right")
    for use in report.utilization:
        share = f"{use.used / use.available:.1%}"
        table.add_row(use.cell, f"{use.used:,}", f"{use.available:,}", share)
    _out.print(table)
    path = report.critical_path
    _out.print(
        f"Fmax {report.fmax_mhz:.1f} MHz, wires included; the board's clock is "
        f"{report.clock_mhz:g} MHz\n"
        f"critical path: {path.logic_ns:.1f} ns in {path.cells} cells, {path.routing_ns:.1f} ns in "
        f"wires, {path.start} to {path.end}\n"
        f"{report.tool}, seed {report.seed}, logs {', '.join(report.logs)}\n"
        f"bitstream {report.bitstream}",
        highlight=False,
    )
    if not report.passed:
        _err.print("error: the design is too slow for the board's clock")


def estimate(report: Estimate) -> None:
    """Show cycles by GEMM and by kind, and the time of a step."""
    table = Table(title=f"A denoising step of {report.model} on {report.preset}")
    table.add_column("GEMM")
    names = ("cycles", "array", "score traffic", "utilization", "of array")
    causes = tuple(report.total.stalls)
    for name in (*names, *(f"wait: {cause}" for cause in causes)):
        table.add_column(name, justify="right")
    for section in (report.matmuls, report.kinds, [report.total]):
        for row in section:
            table.add_row(
                row.name,
                *(f"{value:,}" for value in (row.cycles, row.array_cycles, row.score_traffic)),
                f"{row.utilization:.1%}",
                f"{row.array_utilization:.1%}",
                *(f"{row.stalls[cause]:,}" for cause in causes),
            )
        table.add_section()
    _out.print(table)
    total = report.total
    times = report.ms(total.cycles), report.ms(total.array_cycles)
    _out.print(
        f"{times[0]:.3f} ms per step at {report.clock_ghz:g} GHz; "
        f"{times[1]:.3f} ms without score traffic",
        highlight=False,
    )
    if report.as_simulated_ms is not None:
        _out.print(
            f"MixDiT as simulated: {report.as_simulated_ms} ms, {report.speedup:.2f} times "
            "the time without score traffic",
            highlight=False,
        )


def sweep(result: SweepResult, out: Path, no_picture: str | None) -> None:
    """Show all points, what is missing, and where the results are."""
    settings = result.settings
    fronts = {place.name for place in (*result.quality_front, *result.loss_front)}
    table = Table(title=f"{settings.scope}, {settings.target}, {settings.workload}")
    table.add_column("point")
    for name in ("GE/MAC", "kGE", "MHz", "utilization", result.unit, "QSNR dB", "loss dB", "front"):
        table.add_column(name, justify="right")
    for point in result.points:
        cells = _sweep_cells(result, point)
        table.add_row(point.name, *cells, "*" if point.name in fronts else "")
    table.caption = "rates and QSNR of MX6xMX6 / MX9xMX6 / MX9xMX9; loss: below fp32, at worst"
    _out.print(table)
    notes = [
        f"{what}: {why}"
        for point in result.points
        if point.figures is not None
        for what, why in point.figures.missing.items()
    ]
    for note in dict.fromkeys(notes):
        _err.print(f"warning: no {note}", highlight=False)
    for point in result.points:
        if point.figures is None:
            reason = point.refused or point.failed
            _err.print(f"{point.status}: {point.name}: {reason}", highlight=False)
    if no_picture is not None:
        _err.print(f"warning: no picture: {no_picture}", highlight=False)
    _out.print(f"Results are in {out}", highlight=False)


def _sweep_cells(result: SweepResult, point: PointResult) -> list[str]:
    """Return the columns between a point's name and its mark."""
    x = point.figures
    if x is None:
        return [point.status, *[""] * 6]
    rates = " / ".join(f"{rate:.0f}" for rate in result.rates(point).values())
    qsnr = " / ".join(f"{db:.2f}" for db in (x.qsnr_db or {}).values())
    return [
        "-" if x.ge_per_mac is None else f"{x.ge_per_mac:.1f}",
        "-" if x.ge is None else f"{x.ge / 1000:.1f}",
        "-" if x.fmax_mhz is None else f"{x.fmax_mhz:.1f}",
        f"{x.utilization:.1%}",
        rates or "-",
        qsnr or "-",
        "-" if x.loss_db is None else f"{x.loss_db:.3f}",
    ]


def search(report: "SearchReport", out: Path) -> None:
    """Show what was judged, and the choice."""
    table = Table(title=f"{len(report.trials)} trials, {len(report.front)} on the Pareto front")
    table.add_column("policy")
    names = ("cycles", "over MX6", "one step", "FID change", "pixel distance")
    for name in names:
        table.add_column(name, justify="right")
    judged, chosen = report.verdict.judged, report.verdict.chosen
    for row in judged:
        scores = row.scores
        table.add_row(
            f"{row.name} (chosen)" if row == chosen else row.name,
            f"{row.cycles:,.0f}",
            f"{row.cycles / judged[0].cycles - 1:+.1%}",
            f"{row.distance:.4f}",
            "-" if scores is None else str(scores.fid_change),
            "-" if scores is None else str(scores.pixel_distance),
        )
    _out.print(table)
    _out.print(report.verdict.reason, highlight=False)
    _out.print(f"Results are in {out}", highlight=False)


def block(report: "BlockReport") -> None:
    """Show the GEMMs of a block that ran on RTL."""
    table = Table(title=f"Block {report.block} of {report.model} on RTL, bit for bit")
    for name in ("GEMM", "shape", "formats"):
        table.add_column(name)
    for name in ("cycles", "predicted", "utilization", "mismatches"):
        table.add_column(name, justify="right")
    for row in report.gemms:
        table.add_row(
            row.name,
            " x ".join(map(str, row.shape)),
            row.formats,
            f"{row.cycles:,}",
            f"{row.predicted_cycles:,}",
            f"{row.utilization:.1%}",
            str(row.mismatches),
        )
    _out.print(table)
    if not report.passed:
        _err.print("error: RTL and golden model, or cycles and their prediction, differ")


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


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1 else f"{value:.2f}"
    return "-" if value is None else str(value)
