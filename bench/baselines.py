"""Baselines of our own, each at its best, beside our PE and array: area, clock, energy.

    python -m bench.baselines [--recipe sized] [--delay PS] [--target osu018] [--no-energy]
        [--array-energy] [--json FILE]

Prints the tables of docs/baselines.md. Results of synthesis are cached.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from bench.energy import SLACK, WARM_UP, gemm_stimulus, log
from mixdit_hw.config import get_preset
from mixdit_hw.synth.baselines.search import Measured, measure_forms
from mixdit_hw.synth.baselines.variants import ARRAY, PRESET, candidates
from mixdit_hw.synth.baselines.workload import K_BLOCKS, SEED, stimulus
from mixdit_hw.synth.power import EnergyReport, measure_energy
from mixdit_hw.synth.scripts import RECIPES
from mixdit_hw.tools import build_root

INT8, FP16 = "INT8 MAC", "FP16 MAC"
CYCLES = 256
ARRAY_CYCLES = 80
"""Enough for the end of a tile of MX6, and its drain."""


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


def energies(unit: Measured, target: str) -> dict[str, EnergyReport]:
    """Measure the energy of a unit in each mode, at its highest clock."""
    period = 1000 / unit.fmax_mhz * SLACK
    reports = {}
    for mode in unit.macs:
        log(f"Energy of {unit.name} {mode}")
        work = array_stimulus(mode) if unit.name == ARRAY else unit_stimulus(unit, mode)
        reports[mode] = measure_energy(unit.netlist, unit.module, target, work, period, WARM_UP)
    return reports


def unit_stimulus(unit: Measured, mode: str) -> list[dict[str, int]]:
    """Return the inputs of a unit, cycle by cycle."""
    component = unit.build()
    component._MustUse__used = True  # only its kind and its parameters matter here
    return stimulus(component, mode, WARM_UP + CYCLES)


def array_stimulus(mode: str) -> list[dict[str, int]]:
    """Return the operand beats of a GEMM of N(0, 1) matrices, K = 1152, on our array."""
    rng = np.random.default_rng(SEED)
    config = get_preset(PRESET)
    shapes = (config.rows, 16 * K_BLOCKS), (8 * config.cols, 16 * K_BLOCKS)
    a, b = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    return gemm_stimulus(config, (a, b), mode, WARM_UP + ARRAY_CYCLES)


def energy_table(best: dict[str, Measured], found: dict[str, dict[str, EnergyReport]]) -> str:
    """Format the energy of a multiply-add, its parts, and its ratios to INT8 and FP16."""
    lines = [
        "| unit | pJ per MAC | / INT8 | / FP16 "
        "| nets | cells | registers | clock pins | transitions per net |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    bases = [found[name][""].total for name in (INT8, FP16)]
    for name, reports in found.items():
        for mode, report in reports.items():
            macs = best[name].macs[mode]
            total = report.total / macs
            parts = report.switching, report.internal, report.registers, report.clock
            shares = " | ".join(f"{100 * part / report.total:.0f} %" for part in parts)
            lines.append(
                f"| {f'{name}, {mode}' if mode else name} | {total:.1f} "
                f"| **{total / bases[0]:.2f}** | **{total / bases[1]:.2f}** "
                f"| {shares} | {report.toggles_per_net:.2f} |"
            )
    return "\n".join(lines)


def to_json(record: Measured | EnergyReport) -> dict[str, Any]:
    """Return figures with their logs' places, relative to the build folder."""
    values = {f.name: getattr(record, f.name) for f in fields(record) if f.name != "build"}
    if isinstance(record, Measured):
        values["ge_per_mac"] = {mode: record.ge_per_mac(mode) for mode in record.macs}
        values["rate"] = {mode: record.rate(mode) for mode in record.macs}
        values["folders"] = [_relative(folder) for folder in record.folders]
    return {k: _relative(v) if isinstance(v, Path) else v for k, v in values.items()}


def _relative(path: Path) -> str:
    root = build_root()
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def main() -> None:
    """Measure every form of every unit; print the best ones."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recipe", default="sized", choices=RECIPES)
    parser.add_argument("--delay", type=int, metavar="PS", help="delay target for ABC")
    parser.add_argument("--target", default="osu018", help="osu018, osu035 or a Liberty file")
    parser.add_argument("--no-energy", action="store_true", help="area and clock only")
    parser.add_argument("--array-energy", action="store_true", help="of the array too: long")
    parser.add_argument("--json", type=Path, help="file for the figures of every form")
    args = parser.parse_args()
    forms = {}
    for unit in candidates():
        forms[unit.name] = measure_forms(unit, args.target, args.recipe, args.delay, log)
        log(f"{unit.name}: {form(forms[unit.name][0])}")
    best = {name: found[0] for name, found in forms.items()}
    delay = "none" if args.delay is None else f"{args.delay} ps"
    print(f"Recipe {args.recipe}, delay target {delay}, {args.target}\n")
    print(table(best), flush=True)
    energy = {}
    if not args.no_energy:
        measured = [name for name in best if name != ARRAY or args.array_energy]
        energy = {name: energies(best[name], args.target) for name in measured}
        print(f"\n{energy_table(best, energy)}")
    path = args.json or build_root() / f"baselines-{args.recipe}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    figures = {
        "recipe": args.recipe,
        "delay_ps": args.delay,
        "target": args.target,
        "best": {name: to_json(unit) for name, unit in best.items()},
        "energy": {
            name: {
                mode: to_json(report) | {"total": report.total} for mode, report in reports.items()
            }
            for name, reports in energy.items()
        },
        "forms": {name: [to_json(unit) for unit in found] for name, found in forms.items()},
    }
    path.write_text(json.dumps(figures, indent=2) + "\n")
    print(f"\nEvery form, with the folders of its logs: {path}")


if __name__ == "__main__":
    main()
