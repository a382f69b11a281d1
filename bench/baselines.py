"""Baselines of our own, each at its best, beside our PE and array: area, clock, energy.

    python -m bench.baselines [--recipe sized] [--delay PS] [--target osu018] [--json FILE]

Prints the tables of docs/baselines.md. Results of synthesis are cached.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mixdit_hw.synth.baselines.search import Measured, measure_forms
from mixdit_hw.synth.baselines.variants import candidates
from mixdit_hw.synth.scripts import RECIPES
from mixdit_hw.tools import build_root

INT8, FP16 = "INT8 MAC", "FP16 MAC"


def log(line: str) -> None:
    """Say what takes long."""
    print(line, file=sys.stderr, flush=True)


def table(best: dict[str, Measured]) -> str:
    """Format the best form of every unit, with ratios to INT8 and FP16."""
    lines = [
        "| unit | form | GE | MHz | GE per MAC | / INT8 | / FP16 "
        "| MAC/s per GE (1000) | / INT8 | / FP16 |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for unit in best.values():
        for mode in unit.macs:
            area, rate = unit.ge_per_mac(mode), unit.rate(mode)
            areas = [area / best[name].ge_per_mac() for name in (INT8, FP16)]
            rates = [rate / best[name].rate() for name in (INT8, FP16)]
            lines.append(
                f"| {f'{unit.name}, {mode}' if mode else unit.name} | {form(unit)} "
                f"| {unit.ge:.0f} | {unit.fmax_mhz:.1f} | {area:.0f} "
                f"| {areas[0]:.2f} | {areas[1]:.2f} | {rate:.1f} "
                f"| **{rates[0]:.2f}** | **{rates[1]:.2f}** |"
            )
    return "\n".join(lines)


def form(unit: Measured) -> str:
    """Name a form: its module, and the options that are on."""
    options = [name for name, on in (("Booth", unit.booth), ("flat", unit.flat)) if on]
    return ", ".join([f"`{unit.module}`", *options])


def to_json(unit: Measured) -> dict[str, Any]:
    """Return a form's figures with its logs' places, relative to the build folder."""
    values = asdict(unit)
    root = build_root()
    for name in ("netlist", "timing_log"):
        values[name] = _relative(values[name], root)
    values["folders"] = [_relative(folder, root) for folder in unit.folders]
    values["ge_per_mac"] = {mode: unit.ge_per_mac(mode) for mode in unit.macs}
    values["rate"] = {mode: unit.rate(mode) for mode in unit.macs}
    return values


def _relative(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def main() -> None:
    """Measure every form of every unit; print the best ones."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recipe", default="sized", choices=RECIPES)
    parser.add_argument("--delay", type=int, metavar="PS", help="delay target for ABC")
    parser.add_argument("--target", default="osu018", help="osu018, osu035 or a Liberty file")
    parser.add_argument("--json", type=Path, help="file for the figures of every form")
    args = parser.parse_args()
    forms = {}
    for unit in candidates():
        forms[unit.name] = measure_forms(unit, args.target, args.recipe, args.delay, log)
        log(f"{unit.name}: {form(forms[unit.name][0])}")
    best = {name: found[0] for name, found in forms.items()}
    delay = "none" if args.delay is None else f"{args.delay} ps"
    print(f"Recipe {args.recipe}, delay target {delay}, {args.target}\n")
    print(table(best))
    path = args.json or build_root() / f"baselines-{args.recipe}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    figures = {
        "recipe": args.recipe,
        "delay_ps": args.delay,
        "target": args.target,
        "best": {name: to_json(unit) for name, unit in best.items()},
        "forms": {name: [to_json(unit) for unit in found] for name, found in forms.items()},
    }
    path.write_text(json.dumps(figures, indent=2) + "\n")
    print(f"\nEvery form, with the folders of its logs: {path}")


if __name__ == "__main__":
    main()
