"""Runs the demo's GEMMs on RTL and reports on them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mixdit_hw.area import report_area
from mixdit_hw.config import ArrayConfig
from mixdit_hw.generate import generate
from mixdit_hw.synth.targets import find_target
from mixdit_sim.array.beats import Gemm
from mixdit_sim.array.cycles import predict_cycles, utilization
from mixdit_sim.array.rtl import RtlResult, check_simulable, run_gemms
from mixdit_sim.demo.picture import draw_demo
from mixdit_sim.demo.report import DemoReport, LayerReport
from mixdit_sim.demo.workload import Layer, Part, capture_layers, quantize_all_mx6
from mixdit_sw.errors import MixditError
from mixdit_sw.files import write_atomically
from mixdit_sw.gemm.fast import golden_gemm
from mixdit_sw.gemm.kinds import Kind, parse_kind
from mixdit_sw.metrics import qsnr_db


def run_demo(
    config: ArrayConfig,
    out: Path,
    *,
    simulator: str = "verilator",
    waves: Path | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> DemoReport:
    """Run the block on RTL; leave Verilog, report and picture in a folder.

    Parameters
    ----------
    config : ArrayConfig
        Array.
    out : Path
        Folder for `array.v`, `demo.json` and `demo.png`.
    simulator, waves
        As for `run_gemms`.
    progress : callable
        Told in a line what happens.

    Raises
    ------
    MixditError
        When something that it needs is missing.
    """
    check_simulable(config, simulator)
    progress("Denoising with the shipped model, and quantizing a block's six GEMMs")
    layers = capture_layers()
    progress(f"Emitting Verilog to {out}")
    generate(config, "array", out)
    parts = [part for layer in layers for part in layer.parts]
    progress(f"Running {len(parts)} products of {len(layers)} GEMMs on the RTL ({simulator})")
    results = run_gemms(
        config,
        [part.quantized for part in parts],
        simulator=simulator,
        waves=waves,
        progress=progress,
    )
    kind = parse_kind(config.accumulator)
    reports, position = [], 0
    for layer in layers:
        mine = results[position : position + len(layer.parts)]
        position += len(layer.parts)
        reports.append(_report(layer, mine, config, kind))
    progress("Measuring area")
    target = _library()
    report = DemoReport(
        gemms=reports, area=report_area(config, target=target, recipe="sized", progress=progress)
    )
    text = json.dumps(report.to_dict(), indent=2) + "\n"
    write_atomically(out / "demo.json", lambda partial: partial.write_text(text))
    draw_demo(layers, report, out / "demo.png")
    return report


def _report(layer: Layer, results: list[RtlResult], config: ArrayConfig, kind: Kind) -> LayerReport:
    gemms = [Gemm.of(config, *part.quantized) for part in layer.parts]
    cycles = sum(result.cycles for result in results)
    _, _, _, k = layer.shape
    busy = sum(
        utilization(gemm, k, result.cycles) * result.cycles
        for gemm, result in zip(gemms, results, strict=True)
    )
    golden = [golden_gemm(*part.quantized, kind) for part in layer.parts]
    all_mx6 = [golden_gemm(*quantize_all_mx6(part), kind) for part in layer.parts]
    return LayerReport(
        name=layer.name,
        shape=layer.shape,
        formats=layer.formats,
        macs=layer.macs,
        cycles=cycles,
        predicted_cycles=sum(predict_cycles(gemm) for gemm in gemms),
        utilization=busy / cycles,
        qsnr_db=_qsnr(layer.parts, [result.c for result in results]),
        qsnr_mx6_db=_qsnr(layer.parts, all_mx6),
        mismatches=sum(
            int((result.c.view(np.uint32) != c.view(np.uint32)).sum())
            for result, c in zip(results, golden, strict=True)
        ),
    )


def _qsnr(parts: list[Part], products: list[np.ndarray]) -> float | None:
    exact = [part.a.astype(np.float64) @ part.b.astype(np.float64).T for part in parts]
    return qsnr_db(np.stack(exact), np.stack(products))


def _library() -> str:
    """Return a cell library with delays if it is installed, else generic gates."""
    try:
        return find_target("osu018").name
    except MixditError:
        return "generic"
