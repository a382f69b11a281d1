"""Units on an ECP5-85F, each placed and routed alone: multiplier blocks against logic."""

import sys
from collections.abc import Callable
from dataclasses import replace

from mixdit_hw.config import get_preset
from mixdit_hw.emit import emit_verilog
from mixdit_hw.epilogue.add import Fp32Add
from mixdit_hw.epilogue.block_multiply import Fp32BlockMultiply
from mixdit_hw.epilogue.multiply import Fp32Multiply
from mixdit_hw.pe.dot import Dot
from mixdit_hw.pe.to_fp32 import ToFp32
from mixdit_hw.synth.baselines.registered import RegisteredPe
from mixdit_hw.synth.ecp5 import place_and_route

CONFIG = get_preset("ecp5")
GATES = replace(CONFIG, fabric="gates")

UNITS: dict[str, tuple[Callable[[], object], str]] = {
    "dot product, logic": (Dot, "fpga"),
    "dot product, blocks": (lambda: Dot("fpga"), "fpga"),
    "PE, gates": (lambda: RegisteredPe(GATES), "gates"),
    "PE, logic and carry chains": (lambda: RegisteredPe(GATES), "fpga"),
    "PE, blocks and carry chains": (lambda: RegisteredPe(CONFIG), "fpga"),
    "FP32 multiplier, logic": (Fp32Multiply, "fpga"),
    "FP32 multiplier, blocks": (Fp32BlockMultiply, "fpga"),
    "FP32 adder": (Fp32Add, "fpga"),
    "accumulator to FP32": (lambda: ToFp32(CONFIG.pe_accumulator), "fpga"),
}
"""Unit and the fabric that it is emitted for."""


def main() -> None:
    """Print a row for each unit, or for those whose numbers are on the command line."""
    chosen = [int(text) for text in sys.argv[1:]] or range(len(UNITS))
    print("| unit | LUTs | flip-flops | multiplier blocks | Fmax MHz | logs |")
    print("|---|--:|--:|--:|--:|---|")
    for name, (build, fabric) in (list(UNITS.items())[number] for number in chosen):
        report = place_and_route(emit_verilog(build(), "unit", fabric=fabric), "unit")
        cells = (report.used.get(cell, 0) for cell in ("TRELLIS_COMB", "TRELLIS_FF", "MULT18X18D"))
        counts = " | ".join(f"{count:,}" for count in cells)
        fmax = "-" if report.fmax_mhz is None else f"{report.fmax_mhz:.1f}"
        print(f"| {name} | {counts} | {fmax} | {report.folder} |", flush=True)


if __name__ == "__main__":
    main()
