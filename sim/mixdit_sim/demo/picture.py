"""The demo's picture."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from mixdit_sim.demo.report import DemoReport
from mixdit_sim.demo.workload import Layer
from mixdit_sw.files import write_atomically
from mixdit_sw.formats import LANES, MX9

MX6_COLOUR, MX9_COLOUR, GREY = "#4477aa", "#ee6677", "#bbbbbb"


def draw_demo(layers: list[Layer], report: DemoReport, path: Path) -> None:
    """Write a PNG: an operand in its K-blocks, and cycles and quality of the six GEMMs."""
    figure = plt.figure(figsize=(12, 6.2), layout="constrained")
    figure.suptitle(
        "One block of a diffusion transformer on generated RTL: "
        f"{sum(g.mismatches for g in report.gemms)} of "
        f"{sum(int(np.prod(g.shape[:3])) for g in report.gemms):,} outputs differ from the golden "
        "model"
    )
    grid = figure.add_gridspec(2, 2, height_ratios=(1, 1.1))
    _draw_operand(figure.add_subplot(grid[0, :]), next(x for x in layers if x.name == "fc1"))
    _draw_cycles(figure.add_subplot(grid[1, 0]), report)
    _draw_quality(figure.add_subplot(grid[1, 1]), report)

    def save(partial: Path) -> None:
        figure.savefig(partial, dpi=110, format="png", metadata={"Software": None})

    write_atomically(path, save)
    plt.close(figure)


def _draw_operand(axes: Axes, layer: Layer) -> None:
    """Show |A| in the engine's channel order, its K-blocks marked by format."""
    part = layer.parts[0]
    quantized = part.quantized[0]
    magnitude = np.abs(part.a[:, quantized.order])
    image = axes.imshow(magnitude, aspect="auto", cmap="magma", interpolation="nearest")
    axes.figure.colorbar(image, ax=axes, label="|activation|", pad=0.01)
    for block, fmt in enumerate(quantized.formats):
        colour = MX9_COLOUR if fmt is MX9 else MX6_COLOUR
        left = block * LANES - 0.5
        axes.add_patch(plt.Rectangle((left, -5), LANES - 0.6, 4, color=colour, clip_on=False, lw=0))
        axes.text(
            left + LANES / 2,
            -6,
            fmt.name.upper(),
            ha="center",
            va="bottom",
            fontsize=8,
            color=colour,
        )
    axes.set_title(f"{layer.name} input, channels in engine order", pad=20)
    axes.set_xlabel("channel (K), 16 to a block")
    axes.set_ylabel("token")


def _draw_cycles(axes: Axes, report: DemoReport) -> None:
    names = [g.name for g in report.gemms]
    cycles = np.array([g.cycles for g in report.gemms])
    useful = cycles * np.array([g.utilization for g in report.gemms])
    axes.bar(names, cycles, color=GREY, label="padding, fill, drain")
    axes.bar(names, useful, color=MX6_COLOUR, label="multiplying")
    for x, gemm in enumerate(report.gemms):
        axes.text(x, gemm.cycles, f"{gemm.utilization:.0%}", ha="center", va="bottom")
    axes.set_title("Cycles on the RTL, and utilization")
    axes.set_ylabel("cycles")
    _finish(axes)


def _draw_quality(axes: Axes, report: DemoReport) -> None:
    x = np.arange(len(report.gemms))
    for offset, key, colour, label in (
        (-0.2, "qsnr_mx6_db", GREY, "all MX6"),
        (0.2, "qsnr_db", MX9_COLOUR, "mixed MX9 and MX6"),
    ):
        values = [getattr(g, key) or 0.0 for g in report.gemms]
        bars = axes.bar(x + offset, values, 0.38, color=colour, label=label)
        axes.bar_label(bars, fmt="%.1f", fontsize=8)
    axes.set_xticks(x, [g.name for g in report.gemms])
    axes.set_title("Quality against FP32")
    axes.set_ylabel("QSNR (dB)")
    _finish(axes)


def _finish(axes: Axes) -> None:
    """Put the legend above the bars and their numbers."""
    axes.margins(y=0.25)
    axes.legend(frameon=False, loc="upper center", ncols=2)
    axes.spines[["top", "right"]].set_visible(False)
