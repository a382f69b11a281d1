"""The sweep's picture: rate per area against quality, with the Pareto fronts."""

from pathlib import Path
from typing import TYPE_CHECKING

from mixdit_hw.tools import require_package
from mixdit_sim.sweep.results import Place, SweepResult, pareto
from mixdit_sw.errors import MixditError
from mixdit_sw.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"mx6xmx6": "#4477aa", "mx9xmx6": "#ccbb44", "mx9xmx9": "#ee6677"}
LABEL_GAP = 0.045
"""Least distance of two labels, as a share of the picture's height."""


def draw_sweep(result: SweepResult, path: Path) -> str | None:
    """Write a PNG; return why there is none, or None.

    Raises
    ------
    MixditError
        When it cannot be written.
    """
    panels = {
        "QSNR on the shipped model's GEMMs (dB)": result.by_quality,
        "Accumulator against fp32, where it is worst (dB)": result.by_loss,
    }
    panels = {label: places for label, places in panels.items() if places}
    if not panels:
        return "no point has both a rate per area and a QSNR"
    try:
        require_package("matplotlib")
    except MixditError as error:
        return str(error)
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    size = (6.5 * len(panels), 6)
    figure, grid = pyplot.subplots(1, len(panels), figsize=size, squeeze=False)
    figure.set_layout_engine("constrained")
    settings = result.settings
    figure.suptitle(
        f"Delivered rate per area against quality: {settings.scope}, {settings.target}, "
        f"{settings.workload}"
    )
    for axes, (label, places) in zip(grid[0], panels.items(), strict=True):
        _draw(axes, places)
        axes.set_xlabel(label)
        axes.set_ylabel(result.unit)

    def save(partial: Path) -> None:
        figure.savefig(partial, dpi=110, format="png", metadata={"Software": None})

    write_atomically(path, save)
    pyplot.close(figure)
    return None


def _draw(axes: "Axes", places: list[Place]) -> None:
    """Draw all places, their front, and the names of those on it."""
    front = pareto(places)
    for pair in dict.fromkeys(x.pair for x in places):
        of_pair = [x for x in places if x.pair == pair]
        xy = [x.db for x in of_pair], [x.rate for x in of_pair]
        axes.scatter(*xy, color=COLOURS[pair], s=36, alpha=0.7, label=pair, zorder=3)
    edge = [x.db for x in front], [x.rate for x in front]
    axes.step(*edge, where="pre", color="grey", linewidth=1, label="Pareto front")
    axes.margins(x=0.3, y=0.1)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left", frameon=False)
    lowest = 1.0
    top = axes.get_ylim()[1]
    for place in front:
        lowest = min(lowest - LABEL_GAP, place.rate / top)
        axes.annotate(
            place.name,
            (place.db, place.rate),
            xytext=(place.db, lowest * top),
            textcoords="data",
            fontsize=8,
            ha="left",
        )
