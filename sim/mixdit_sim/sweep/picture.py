"""The sweep's picture: rate per area against quality, with the Pareto fronts."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from mixdit_hw.tools import require_package
from mixdit_sim.sweep.results import Place, SweepResult
from mixdit_sw.errors import MixditError
from mixdit_sw.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"mx6xmx6": "#4477aa", "mx9xmx6": "#ccbb44", "mx9xmx9": "#ee6677"}
GAP = 0.028
"""Least distance of two names, as a share of the panel's height."""
ROOM = 0.6
"""Room for names, as a share of what the places take."""
NAME_LENGTH = 36
MOST_NAMES = 24
"""With more places only those on the front are named."""


def draw_sweep(result: SweepResult, path: Path) -> str | None:
    """Write a PNG; return why there is none, or None.

    Raises
    ------
    MixditError
        When it cannot be written.
    """
    panels = [
        ("QSNR on the shipped model's GEMMs (dB)", result.by_quality, result.quality_front, ""),
        (
            "Accumulator against fp32, where it is worst (dB)",
            result.by_loss,
            result.loss_front,
            "built for ",
        ),
    ]
    panels = [panel for panel in panels if panel[1]]
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
    for axes, (label, places, front, kind) in zip(grid[0], panels, strict=True):
        _draw(axes, places, front, kind)
        axes.set_xlabel(label)
        axes.set_ylabel(result.unit)

    def save(partial: Path) -> None:
        figure.savefig(partial, dpi=110, format="png", metadata={"Software": None})

    write_atomically(path, save)
    pyplot.close(figure)
    return None


def _draw(axes: "Axes", places: list[Place], front: list[Place], kind: str) -> None:
    """Draw all places, the fronts of each pair or of all, and names."""
    for pair in dict.fromkeys(x.pair for x in places):
        of_pair = [x for x in places if x.pair == pair]
        xy = [x.db for x in of_pair], [x.rate for x in of_pair]
        axes.scatter(*xy, color=COLOURS[pair], s=36, alpha=0.7, label=kind + pair, zorder=3)
    edge = [x.db for x in front], [x.rate for x in front]
    axes.scatter(*edge, s=110, facecolor="none", edgecolor="black", label="Pareto front")
    left, right = axes.get_xlim()
    axes.set_xlim(left, right + ROOM * (right - left))
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left" if kind else "upper right", frameon=False)
    _name(axes, places if len(places) <= MOST_NAMES else front, front)


def _name(axes: "Axes", places: list[Place], front: list[Place]) -> None:
    """Write names right of places, below each other where they would cover one another."""
    (left, right), (_, top) = axes.get_xlim(), axes.get_ylim()
    written: list[tuple[float, float]] = []
    for place in sorted(places, key=lambda x: (-x.rate, x.db)):
        x, y = place.db + 0.025 * (right - left), place.rate / top
        while any(abs(x - a) < 0.3 * (right - left) and abs(y - b) < GAP for a, b in written):
            y -= GAP / 8
        written.append((x, y))
        name = axes.annotate(
            textwrap.shorten(place.name, NAME_LENGTH, placeholder=" ..."),
            (place.db, place.rate),
            xytext=(x, y * top),
            fontsize=7,
            fontweight="bold" if place in front else "normal",
            va="center",
            arrowprops={"arrowstyle": "-", "color": "grey", "linewidth": 0.4, "relpos": (0, 0.5)},
        )
        name.set_in_layout(False)
