"""Treemap of a preset's area by kind."""

from collections.abc import Sequence
from pathlib import Path

from mixdit_hw.area_kinds import ARRAY, EPILOGUE, SURROUNDINGS
from mixdit_hw.preset_area import KindReport, PresetReport
from mixdit_hw.tools import require_package
from mixdit_sw.errors import MixditError
from mixdit_sw.files import write_atomically

Box = tuple[float, float, float, float]
"""Left, bottom, width, height."""
COLOURS = {ARRAY: "#4477aa", SURROUNDINGS: "#ee6677", EPILOGUE: "#ccbb44"}
SIZE = (12.0, 7.0)


def treemap(areas: Sequence[float], box: Box) -> list[Box]:
    """Tile a box with rectangles of these areas' proportions, nearly square ones.

    Areas are positive and descend. Rows are filled along the shorter side as long as that makes
    the worst rectangle of the row squarer (Bruls, Huizing, van Wijk 2000).
    """
    left, bottom, width, height = box
    scale = width * height / sum(areas)
    rest, boxes = [area * scale for area in areas], []
    while rest:
        side = min(width, height)
        count = 1
        while count < len(rest) and _worst(rest[: count + 1], side) <= _worst(rest[:count], side):
            count += 1
        row, rest = rest[:count], rest[count:]
        depth, along = sum(row) / side, 0.0
        for area in row:
            length = area / depth
            if width >= height:
                boxes.append((left, bottom + along, depth, length))
            else:
                boxes.append((left + along, bottom, length, depth))
            along += length
        if width >= height:
            left, width = left + depth, width - depth
        else:
            bottom, height = bottom + depth, height - depth
    return boxes


def _worst(row: list[float], side: float) -> float:
    """Ratio of the sides of the least square rectangle of a row."""
    depth = sum(row) / side
    return max(max(depth * depth / area, area / (depth * depth)) for area in row)


def draw_area(report: PresetReport, title: str, path: Path) -> None:
    """Write a PNG: a rectangle for each kind, group by group.

    Raises
    ------
    MixditError
        If there are no kinds, or matplotlib is not installed.
    """
    if not report.kinds:
        raise MixditError(f"A picture shows kinds, which target {report.units[-1].target} has not")
    require_package("matplotlib")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=SIZE, layout="constrained")
    axes.set_xlim(0, SIZE[0])
    axes.set_ylim(0, SIZE[1])
    axes.set_aspect("equal")
    axes.axis("off")
    axes.set_title(f"{title}\n{_caption(report)}", fontsize=11)
    groups = sorted(report.groups, key=lambda group: -group.area)
    boxes = treemap([group.area for group in groups], (0, 0, *SIZE))
    for group, box in zip(groups, boxes, strict=True):
        kinds = [kind for kind in report.kinds if kind.group == group.name]
        kinds.sort(key=lambda kind: -kind.area)
        inner = treemap([kind.area for kind in kinds], box)
        for kind, (left, bottom, width, height) in zip(kinds, inner, strict=True):
            axes.add_patch(
                pyplot.Rectangle(
                    (left, bottom), width, height, facecolor=COLOURS[group.name], edgecolor="white"
                )
            )
            text, size = _label(kind, width, height)
            if text:
                middle = left + width / 2, bottom + height / 2
                axes.text(*middle, text, ha="center", va="center", fontsize=size, color="white")
    handles = [pyplot.Rectangle((0, 0), 1, 1, facecolor=COLOURS[group.name]) for group in groups]
    names = [f"{group.name}, {group.share:.1%}" for group in groups]
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    write_atomically(
        path,
        lambda partial: figure.savefig(partial, dpi=110, format="png", metadata={"Software": None}),
    )
    pyplot.close(figure)


def _caption(report: PresetReport) -> str:
    total = report.units[-1]
    measure = f"{total.ge:,.0f} GE" if total.ge is not None else f"{total.area:,.0f} LUTs"
    bits = sum(memory.bits for memory in report.memories)
    memories = f", and {bits:,} bits of memory" if bits else ""
    return f"{measure} on {total.target}, recipe {report.recipe}{memories}"


def _label(kind: KindReport, width: float, height: float) -> tuple[str, float]:
    """Text of a rectangle and its size in points; empty if there is no room."""
    found = []
    for name in (kind.name, kind.name.replace(" ", "\n")):
        lines = [*name.split("\n"), f"{kind.share:.1%}"]
        # Inches to points, a margin included; a letter is about 0.6 times as wide as it is high.
        across = 72 * width / (0.7 * max(map(len, lines)))
        found.append((min(11.0, across, 72 * height / (1.3 * len(lines) + 0.4)), "\n".join(lines)))
    size, text = max(found)
    return (text, size) if size >= 5 else ("", size)
