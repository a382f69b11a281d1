"""Sweeps, searches and what they chose, on the terminal."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from mixdit_cli.terminal import ERR, OUT
from mixdit_sim.sweep.results import PointResult, SweepResult

if TYPE_CHECKING:  # needs torch, which most commands do without
    from mixdit_sim.search.on_engine import BlockReport
    from mixdit_sim.search.report import SearchReport


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
    OUT.print(table)
    notes = [
        f"{what}: {why}"
        for point in result.points
        if point.figures is not None
        for what, why in point.figures.missing.items()
    ]
    for note in dict.fromkeys(notes):
        ERR.print(f"warning: no {note}", highlight=False)
    for point in result.points:
        if point.figures is None:
            reason = point.refused or point.failed
            ERR.print(f"{point.status}: {point.name}: {reason}", highlight=False)
    if no_picture is not None:
        ERR.print(f"warning: no picture: {no_picture}", highlight=False)
    OUT.print(f"Results are in {out}", highlight=False)


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
    OUT.print(table)
    OUT.print(report.verdict.reason, highlight=False)
    OUT.print(f"Results are in {out}", highlight=False)


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
    OUT.print(table)
    if not report.passed:
        ERR.print("error: RTL and golden model, or cycles and their prediction, differ")
