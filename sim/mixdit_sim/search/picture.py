"""The picture of a search: quality against cycles."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from mixdit_sim.search.judge import Candidate
from mixdit_sim.search.report import SearchReport
from mixdit_sw.files import write_atomically

GREY, BLUE, RED, GREEN = "#bbbbbb", "#4477aa", "#ee6677", "#228833"


def draw_front(report: SearchReport, path: Path) -> None:
    """Write a PNG: all trials by the quick measure, and what was judged by samples."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    base = next(c for c in report.verdict.judged if c.name == "mx6").cycles
    _draw_trials(left, report, base)
    _draw_judged(right, report, base)
    for axes in (left, right):
        axes.set_xlabel("cycles over all-MX6, %")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.suptitle(
        f"{report.config['task']['model']}, per {report.config['choices']['per']}: "
        f"{len(report.trials)} trials, cycles of {report.config['cycles_of']} on "
        f"{report.config['preset']}"
    )

    def save(partial: Path) -> None:
        figure.savefig(partial, dpi=110, format="png", metadata={"Software": None})

    write_atomically(path, save)
    plt.close(figure)


def _draw_trials(axes: Axes, report: SearchReport, base: float) -> None:
    def place(items: Sequence) -> tuple[list[float], list[float]]:
        return [100 * (t.cycles / base - 1) for t in items], [t.distance for t in items]

    axes.plot(*place(report.trials), "o", ms=3, color=GREY, label="trials")
    axes.plot(*place(report.front), "o-", ms=4, lw=1, color=BLUE, label="Pareto front")
    _mark(axes, report, [c.distance for c in report.verdict.judged[:2]], base)
    axes.set_ylabel("pixel distance of single predictions")
    axes.set_title("quick measure", fontsize=10)


def _draw_judged(axes: Axes, report: SearchReport, base: float) -> None:
    judged = [c for c in report.verdict.judged if c.scores is not None]
    for candidate in judged[2:]:
        _bar(axes, candidate, base, BLUE, None)
    _mark(axes, report, [c.scores.pixel_distance.mean for c in judged[:2] if c.scores], base)
    for candidate in judged[:2]:
        _bar(axes, candidate, base, RED, None)
    chosen = report.verdict.chosen
    if chosen is not None:
        _bar(axes, chosen, base, GREEN, "chosen")
    axes.set_ylabel("pixel distance of paired samples")
    axes.set_title("samples, 95 % intervals over seeds", fontsize=10)


def _bar(axes: Axes, candidate: Candidate, base: float, colour: str, label: str | None) -> None:
    assert candidate.scores is not None
    distance = candidate.scores.pixel_distance
    axes.errorbar(
        100 * (candidate.cycles / base - 1),
        distance.mean,
        yerr=distance.half_width or 0,
        fmt="o",
        ms=5,
        color=colour,
        capsize=3,
        label=label,
    )


def _mark(axes: Axes, report: SearchReport, heights: Sequence[float], base: float) -> None:
    """Show all-MX6 and the paper's policy by name."""
    for candidate, height, marker in zip(report.verdict.judged[:2], heights, "sD", strict=False):
        x = 100 * (candidate.cycles / base - 1)
        axes.plot(x, height, marker, ms=7, color=RED, label=candidate.name, zorder=3)
