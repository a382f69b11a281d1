"""Results on the terminal."""

from collections.abc import Mapping
from pathlib import Path

from rich.table import Table

from mixdit_cli import show_area
from mixdit_cli.terminal import ERR, OUT
from mixdit_sim.demo.report import DemoReport
from mixdit_sim.estimate import Estimate
from mixdit_sim.gemm import GemmReport


def values(report: Mapping[str, object], out: Path) -> None:
    """Show a report line by line, and where the result is."""
    for name, value in report.items():
        OUT.print(f"{name:18} {_text(value)}", highlight=False)
    if report.get("nan_blocks"):
        ERR.print(f"warning: {report['nan_blocks']} blocks hold NaN or Inf", highlight=False)
    OUT.print(f"{'written to':18} {out}", highlight=False)


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
    OUT.print(table)
    show_area.area(report.area)
    OUT.print(f"Verilog, report and picture are in {out}", highlight=False)
    if not report.passed:
        ERR.print("error: RTL and golden model, or cycles and their prediction, differ")


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
    OUT.print(table)
    total = report.total
    times = report.ms(total.cycles), report.ms(total.array_cycles)
    OUT.print(
        f"{times[0]:.3f} ms per step at {report.clock_ghz:g} GHz; "
        f"{times[1]:.3f} ms without score traffic",
        highlight=False,
    )
    if report.as_simulated_ms is not None:
        OUT.print(
            f"MixDiT as simulated: {report.as_simulated_ms} ms, {report.speedup:.2f} times "
            "the time without score traffic",
            highlight=False,
        )


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1 else f"{value:.2f}"
    return "-" if value is None else str(value)
