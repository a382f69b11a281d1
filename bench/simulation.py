"""Build time and cycles per second of the simulated `small` array, on Verilator and on Icarus."""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from mixdit_hw.array.array import MatrixArray
from mixdit_hw.config import get_preset
from mixdit_hw.emit import write_verilog
from mixdit_hw.tools import BUILD_VARIABLE, build_root
from mixdit_sim.array.rtl import run_gemms
from mixdit_sim.simulator import build
from mixdit_sw.formats import MX6
from mixdit_sw.operand import QuantizedOperand, quantize_pair

ROUNDS = 3


def gemm(m: int, k: int, n: int) -> tuple[QuantizedOperand, QuantizedOperand]:
    """Return random operands."""
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(rows, k)).astype(np.float32) for rows in (m, n))
    return quantize_pair(a, b, MX6, MX6)


def cold_build_s(simulator: str) -> float:
    """Return the seconds of a build with an empty cache."""
    build_root().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build_root()) as folder:
        write_verilog(MatrixArray(get_preset("small")), "array", folder)
        before = os.environ.get(BUILD_VARIABLE)
        os.environ[BUILD_VARIABLE] = folder
        try:
            start = time.perf_counter()
            build(simulator, Path(folder) / "array.v", "array")
            return time.perf_counter() - start
        finally:
            if before is None:
                del os.environ[BUILD_VARIABLE]
            else:
                os.environ[BUILD_VARIABLE] = before


def cycles_per_s(simulator: str, size: int) -> float:
    """Return array cycles per second: a long run less a short one, so start-up does not count."""
    config = get_preset("small")
    short, long = gemm(8, 64, 8), gemm(size, 512, size)
    rates = []
    for _ in range(ROUNDS):
        times, cycles = [], []
        for operands in (short, long):
            start = time.perf_counter()
            (result,) = run_gemms(config, [operands], simulator=simulator)
            times.append(time.perf_counter() - start)
            cycles.append(result.cycles)
        rates.append((cycles[1] - cycles[0]) / (times[1] - times[0]))
    return float(np.median(rates))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-build", action="store_true", help="skip the cold builds")
    options = parser.parse_args()
    print("| simulator | cold build s | array cycles/s |\n|---|---|---|")
    rates = {}
    for simulator, size in (("verilator", 256), ("icarus", 48)):
        built = "-" if options.no_build else f"{cold_build_s(simulator):.1f}"
        rates[simulator] = cycles_per_s(simulator, size)
        print(f"| {simulator} | {built} | {rates[simulator]:,.0f} |", flush=True)
    print(f"\nVerilator runs {rates['verilator'] / rates['icarus']:.0f} times as fast as Icarus.")


if __name__ == "__main__":
    main()
