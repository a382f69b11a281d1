"""Area and clock of the array for one design choice after the other, beside an INT8 MAC.

    python bench/pe_study.py [--image docs/img/pe_study.png] [--json FILE]

Every array is `small` (8x8 PEs, 1024 MX6 multiply-adds a cycle). Prints the tables of
docs/pe-study.md. Results of synthesis are cached, so that a run which was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from amaranth.lib import wiring

from mixdit_hw.array.array import MatrixArray
from mixdit_hw.config import ArrayConfig
from mixdit_hw.emit import emit_verilog
from mixdit_hw.synth.baselines import Int8Mac
from mixdit_hw.synth.flow import SynthReport, synthesize
from mixdit_hw.synth.scripts import SynthOptions
from mixdit_hw.synth.timing import TimingReport, analyze_timing

TARGET = "osu018"
RECIPES = ("reference", "sized")
MACS = 1024
MX6_ONLY = ("mx6",)
DEFAULT = {"accumulator": "aligned40"}
CASES: dict[str, dict[str, dict[str, Any]]] = {
    "accumulator": {
        "aligned40": {},
        "aligned45": {"accumulator": "aligned45"},
        "aligned33x4": {"accumulator": "aligned33x4"},
        "fp32": {"accumulator": "fp32"},
        "fp32, both registers, loop of 2, interleave 2": {
            "accumulator": "fp32",
            "dot_register": True,
            "prepare_register": True,
            "loop_latency": 2,
            "interleave": 2,
        },
    },
    "formats": {"MX6 only": {"formats": MX6_ONLY}},
    "interleave": {"interleave 2": {"interleave": 2}},
    "sharing": {f"clusters of {n}x{n}": {"cluster_rows": n, "cluster_cols": n} for n in (1, 4)},
    "pipeline": {
        "dot register": {"dot_register": True},
        "prepare register": {"prepare_register": True},
    },
}


@dataclass(frozen=True)
class Baseline:
    """The INT8 MAC under one recipe: the better of its two multipliers, for each figure.

    Attributes
    ----------
    fmax_mhz, rate
        Clock; multiply-adds a second and gate equivalent, in millions.
    variants
        (Booth, GE, MHz) of each.
    """

    fmax_mhz: float
    rate: float
    variants: list[tuple[bool, float, float]]


@dataclass(frozen=True)
class Row:
    """One array under one recipe.

    Attributes
    ----------
    ge_per_mac, fmax_mhz, ratio
        Area; clock of the whole array; the clock over the INT8 MAC's.
    rate
        Multiply-adds a second and area over the INT8 MAC's.
    start, end
        Registers of the slowest path.
    """

    group: str
    name: str
    recipe: str
    ge_per_mac: float
    fmax_mhz: float
    ratio: float
    rate: float
    start: str
    end: str


def build(component: wiring.Component, top: str, options: SynthOptions) -> SynthReport:
    """Emit and synthesize a component."""
    return synthesize(
        emit_verilog(component, top), top, TARGET, options, lambda s: print(s, file=sys.stderr)
    )


def baseline(recipe: str) -> Baseline:
    """Measure the INT8 MAC."""
    variants = []
    for booth in (False, True):
        report = build(Int8Mac(), "int8_mac", SynthOptions(recipe=recipe, booth=booth))
        fmax = analyze_timing(report.netlist, "int8_mac", TARGET).fmax_mhz
        assert fmax is not None and report.ge is not None
        variants.append((booth, report.ge, fmax))
    return Baseline(
        max(mhz for _, _, mhz in variants), max(mhz / ge for _, ge, mhz in variants), variants
    )


def build_array(changes: dict[str, Any], recipe: str) -> tuple[SynthReport, TimingReport]:
    """Synthesize the default array with changes."""
    config = ArrayConfig(rows=8, cols=8, **{**DEFAULT, **changes})
    report = build(MatrixArray(config), "array", SynthOptions(recipe=recipe))
    return report, analyze_timing(report.netlist, "array", TARGET)


def measure(group: str, name: str, changes: dict[str, Any], recipe: str, int8: Baseline) -> Row:
    """Synthesize one case and relate it to the INT8 MAC."""
    report, timing = build_array(changes, recipe)
    assert report.ge is not None
    slowest = max((timing.paths[g] for g in ("register", "input")), key=lambda p: p.delay_ns)
    fmax = 1000 / slowest.delay_ns
    ge = report.ge / MACS
    return Row(
        group=group,
        name=name,
        recipe=recipe,
        ge_per_mac=ge,
        fmax_mhz=fmax,
        ratio=fmax / int8.fmax_mhz,
        rate=fmax / ge / int8.rate,
        start=slowest.start,
        end=slowest.end,
    )


PARTS = {
    "dot": "multipliers, pair shifts, tree",
    "step": "accumulator loop: shifts, adder",
    "pe": "join, accumulator and drain registers, exponents",
    "to": "converters to FP32",
    "row": "operand registers of rows (A, control)",
    "cluster": "operand registers of columns (B), drain timer",
    "gate": "operand gate",
    "array": "sequencer",
}
"""What is in each unit of the array, by the first word of its name."""


def breakdown(recipe: str) -> dict[str, float]:
    """Return the GE per MAC of the default's units."""
    report, _ = build_array({}, recipe)
    return {
        PARTS[unit.name.split("_")[0]]: (unit.ge or 0.0) * unit.instances / MACS
        for unit in report.units
    }


def table(rows: list[Row]) -> str:
    """Format all cases: area and PE clock as published ones, area and clock with sized gates."""
    lines = [
        "| array | GE/MAC, reference | GE/MAC, sized | MHz "
        "| clock / INT8 | MAC/s per area / INT8 | slowest path |",
        "|---|--:|--:|--:|--:|--:|---|",
    ]
    both = {(r.name, r.recipe): r for r in rows}
    for name in dict.fromkeys(r.name for r in rows):
        ref, row = both[name, "reference"], both[name, "sized"]
        path = f"{_short(row.start)} to {_short(row.end)}"
        lines.append(
            f"| {name} | {ref.ge_per_mac:.1f} | {row.ge_per_mac:.1f} "
            f"| {row.fmax_mhz:.1f} | **{row.ratio:.2f}** | **{row.rate:.2f}** | {path} |"
        )
    return "\n".join(lines)


def _short(register: str) -> str:
    """Name a register by unit and signal."""
    unit, _, signal = register.rpartition("/")
    unit = re.sub(r"_\d+", "", unit.rpartition("/")[2])
    return f"{unit or 'array'}.{signal.split('[')[0].rpartition('.')[2]}"


def draw(rows: list[Row], image: Path) -> None:
    """Scatter area against clock, gates sized, each case labelled."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(11, 7), constrained_layout=True)
    shown = [r for r in rows if r.recipe == "sized"]
    marks = dict(zip(CASES, "os^Dv", strict=True))
    for group, mark in marks.items():
        points = [r for r in shown if r.group == group]
        xy = [r.ge_per_mac for r in points], [r.ratio for r in points]
        axes.scatter(*xy, marker=mark, s=60, label=group, zorder=3)
    _label(axes, shown)
    axes.axvspan(axes.get_xlim()[0], 400, ymin=0, color="tab:green", alpha=0.06)
    axes.axhline(0.7, color="grey", linestyle="--", linewidth=1)
    axes.axhline(0.8, color="grey", linestyle=":", linewidth=1)
    axes.axvline(450, color="grey", linestyle="--", linewidth=1)
    axes.axvline(400, color="grey", linestyle=":", linewidth=1)
    axes.set_xlabel("GE per MX6 multiply-add (array of 8x8 PEs, osu018, gates sized)")
    axes.set_ylabel("Clock over the INT8 MAC's, same recipe")
    axes.set_title("Area and clock of the array by design choice (dashed: required, dotted: aim)")
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3)
    image.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(image, dpi=110, metadata={"Software": None})


def _label(axes: Any, rows: list[Row]) -> None:
    """Write each case's name beside its point, lower where it would cover another."""
    placed: list[tuple[float, float]] = []
    low, high = axes.get_ylim()
    left, right = axes.get_xlim()
    for row in sorted(rows, key=lambda r: -r.ratio):
        x, y = row.ge_per_mac, row.ratio
        while any(
            abs(x - a) < 0.25 * (right - left) and abs(y - b) < 0.022 * (high - low)
            for a, b in placed
        ):
            y -= 0.004 * (high - low)
        placed.append((x, y))
        axes.annotate(
            row.name,
            (row.ge_per_mac, row.ratio),
            (x + 0.012 * (right - left), y - 0.006 * (high - low)),
            fontsize=8,
            arrowprops={"arrowstyle": "-", "color": "grey", "linewidth": 0.5},
        )


def main() -> None:
    """Measure all cases, print the tables and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--image", type=Path, help="picture to draw")
    parser.add_argument("--json", type=Path, help="file for the figures")
    args = parser.parse_args()
    int8 = {recipe: baseline(recipe) for recipe in RECIPES}
    for recipe, base in int8.items():
        for booth, ge, mhz in base.variants:
            print(f"INT8 MAC, {recipe}, booth {booth}: {ge:.0f} GE, {mhz:.1f} MHz")
    rows = []
    for group, cases in CASES.items():
        for name, changes in cases.items():
            for recipe in RECIPES:
                rows.append(measure(group, name, changes, recipe, int8[recipe]))
                print(rows[-1], file=sys.stderr, flush=True)
    print(f"\n{table(rows)}\n")
    parts = {recipe: breakdown(recipe) for recipe in RECIPES}
    print("| part of the default | " + " | ".join(f"GE/MAC ({r})" for r in RECIPES) + " |")
    print("|---|" + "--:|" * len(RECIPES))
    for part in parts["reference"]:
        print(f"| {part} | " + " | ".join(f"{parts[r][part]:.1f}" for r in RECIPES) + " |")
    if args.json:
        figures = {"rows": [asdict(r) for r in rows], "parts": parts}
        args.json.write_text(json.dumps(figures, indent=2) + "\n")
    if args.image:
        draw(rows, args.image)


if __name__ == "__main__":
    main()
