"""Energy of a multiply-add of the array on what layers of the shipped model multiply.

    python -m bench.energy [--preset tiny] [--recipe sized] [--target osu018] [--cycles 256]
        [--json FILE]

The mapped netlist of the whole array runs on operand beats of the GEMMs; docs/baselines.md says how
energy is counted, and has the table that this prints. Results are cached.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from mixdit_hw.config import ArrayConfig, get_preset
from mixdit_hw.generate import cached_verilog
from mixdit_hw.synth.flow import synthesize
from mixdit_hw.synth.power import EnergyReport, measure_energy
from mixdit_hw.synth.scripts import RECIPES, SynthOptions
from mixdit_hw.synth.timing import analyze_timing
from mixdit_hw.tools import build_root
from mixdit_sim.array.beats import Gemm, beat_words
from mixdit_sim.demo.workload import capture_layers
from mixdit_sw.errors import MixditError
from mixdit_sw.files import write_atomically
from mixdit_sw.formats import get_format
from mixdit_sw.operand import quantize_pair

LAYERS = ("qkv", "fc1", "fc2")
NORMAL = "N(0, 1)"
SEED = 0
SLACK = 1.02
"""Period of the simulation over the shortest one: each output has its slowest input's delay."""
WARM_UP = 16

Operands = tuple[np.ndarray, np.ndarray]


def log(line: str) -> None:
    """Say what takes long."""
    print(line, file=sys.stderr, flush=True)


def gemm_stimulus(
    config: ArrayConfig, operands: Operands, mode: str, cycles: int
) -> list[dict[str, int]]:
    """Return an array's inputs in the first cycles of A @ B.T, one beat each.

    Parameters
    ----------
    config
        Array.
    operands
        A (M, K) and B (N, K), float32.
    mode
        Formats of A and B, such as "mx9xmx6".
    cycles
        Beats; no more than the GEMM has.
    """
    quantized = quantize_pair(*operands, get_format(mode[:3]), get_format(mode[4:]))
    tiles = beat_words(Gemm.of(config, *quantized), *quantized)
    words = list(islice((word for tile in tiles for word in tile), cycles))
    assert len(words) == cycles
    return [{"i__valid": 1, "i__payload": word, "drain_ready": 1} for word in words]


def operands() -> Iterator[tuple[str, Operands]]:
    """Yield A and B of each layer, and of independent normal ones, with their name."""
    rng = np.random.default_rng(SEED)
    for layer in capture_layers():
        if layer.name in LAYERS:
            yield layer.name, (layer.parts[0].a, layer.parts[0].b)
    a, b = (rng.normal(size=(256, 1152)).astype(np.float32) for _ in range(2))
    yield NORMAL, (a, b)


def table(config: ArrayConfig, found: dict[str, dict[str, EnergyReport]]) -> str:
    """Format the energy of a multiply-add and its parts, in pJ."""
    lines = [
        "| operands | formats | pJ per MAC | / MX6xMX6 "
        "| nets | cells | registers | clock pins | transitions per net |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, reports in found.items():
        base = per_mac(config, "mx6xmx6", reports["mx6xmx6"])
        for mode, report in reports.items():
            energy = per_mac(config, mode, report)
            parts = report.switching, report.internal, report.registers, report.clock
            shares = " | ".join(f"{100 * part / report.total:.0f} %" for part in parts)
            lines.append(
                f"| {name} | {mode} | {energy:.1f} | {energy / base:.2f} "
                f"| {shares} | {report.toggles_per_net:.2f} |"
            )
    return "\n".join(lines)


def per_mac(config: ArrayConfig, mode: str, report: EnergyReport) -> float:
    """Energy of a multiply-add, in pJ."""
    macs = config.peak_macs_per_cycle[mode]
    if macs is None:
        raise MixditError(f"The array is not built for {mode}")
    return report.total / macs


def main() -> None:
    """Measure, print, and keep figures with the folders of their logs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--preset", default="tiny", help="tiny, or small: 2 GB and long")
    parser.add_argument("--recipe", default="sized", choices=RECIPES)
    parser.add_argument("--target", default="osu018", help="osu018, osu035 or a Liberty file")
    parser.add_argument("--cycles", type=int, default=256, help="cycles that are counted")
    parser.add_argument("--json", type=Path, help="file for the figures")
    args = parser.parse_args()
    config = get_preset(args.preset)
    text = cached_verilog(config, "array", log)
    netlist = synthesize(text, "array", args.target, SynthOptions(recipe=args.recipe), log).netlist
    fmax = analyze_timing(netlist, "array", args.target).fmax_mhz
    found: dict[str, dict[str, EnergyReport]] = {}
    for name, pair in operands():
        for mode in config.peak_macs_per_cycle:
            log(f"Energy of {mode}, {name}")
            work = gemm_stimulus(config, pair, mode, WARM_UP + args.cycles)
            period = 1000 / fmax * SLACK
            report = measure_energy(netlist, "array", args.target, work, period, WARM_UP)
            found.setdefault(name, {})[mode] = report
    print(f"Array of {args.preset}, {args.target}, recipe {args.recipe}, {fmax:.1f} MHz\n")
    print(table(config, found))
    path = args.json or build_root() / f"energy-{args.preset}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    figures = {
        name: {
            mode: {"pj_per_mac": per_mac(config, mode, report), "log": str(report.folder)}
            for mode, report in reports.items()
        }
        for name, reports in found.items()
    }
    text = json.dumps(figures, indent=2) + "\n"
    write_atomically(path, lambda partial: partial.write_text(text))
    print(f"\nWith the folders of the activities: {path}")


if __name__ == "__main__":
    main()
