"""Runs the demo's GEMMs on RTL and reports on them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mixdit_hw.area import report_area
from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.generate import generate
from mixdit_hw.synth.targets import find_target
from mixdit_sim.array.rtl import check_simulable
from mixdit_sim.demo.picture import draw_demo
from mixdit_sim.demo.report import DemoReport, LayerReport
from mixdit_sim.demo.workload import Layer, Part, capture_layers, quantize_all_mx6
from mixdit_sim.engine.run import LayerRun, engine_utilization, run_layers
from mixdit_sim.gemm_rtl import array_stalls
from mixdit_sw.engine.gemm import LayerGemm
from mixdit_sw.engine.golden import golden_layer
from mixdit_sw.engine.registers import Register
from mixdit_sw.errors import MixditError
from mixdit_sw.files import write_atomically
from mixdit_sw.gemm.fast import golden_gemm
from mixdit_sw.gemm.kinds import parse_kind
from mixdit_sw.metrics import qsnr_db
from mixdit_sw.operand import QuantizedOperand


def run_demo(
    engine: EngineConfig,
    out: Path,
    *,
    simulator: str = "verilator",
    waves: Path | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> DemoReport:
    """Run the block on RTL; leave Verilog, report and picture in a folder.

    Parameters
    ----------
    engine : EngineConfig
        The engine.
    out : Path
        Folder for `engine.v`, `demo.json` and `demo.png`.
    simulator, waves
        As for `run_layers`.
    progress : callable
        Told in a line what happens.

    Raises
    ------
    MixditError
        When something that it needs is missing.
    """
    config = engine.array
    check_simulable(config, simulator)
    progress("Denoising with the shipped model, and quantizing a block's six GEMMs")
    layers = capture_layers()
    progress(f"Emitting Verilog to {out}")
    generate(engine, "engine", out)
    lists = [[LayerGemm(a=a, b=b) for a, b in _operands(layer)] for layer in layers]
    count = sum(map(len, lists))
    progress(f"Running {count} products of {len(layers)} GEMMs on the RTL ({simulator})")
    runs = run_layers(engine, lists, simulator=simulator, waves=waves, progress=progress)
    reports = [_report(engine, *each) for each in zip(layers, lists, runs, strict=True)]
    progress("Measuring area")
    target = _library()
    report = DemoReport(
        gemms=reports, area=report_area(config, target=target, recipe="sized", progress=progress)
    )
    text = json.dumps(report.to_dict(), indent=2) + "\n"
    write_atomically(out / "demo.json", lambda partial: partial.write_text(text))
    draw_demo(layers, report, out / "demo.png")
    return report


def _operands(layer: Layer) -> list[tuple[QuantizedOperand, QuantizedOperand]]:
    return [part.quantized for part in layer.parts]


def _report(
    engine: EngineConfig, layer: Layer, gemms: list[LayerGemm], run: LayerRun
) -> LayerReport:
    kind = parse_kind(engine.array.accumulator)
    cycles = run.outcome.cycles
    golden = [golden_layer(gemm, kind, engine.shape) for gemm in gemms]
    all_mx6 = [golden_gemm(*quantize_all_mx6(part), kind) for part in layer.parts]
    return LayerReport(
        name=layer.name,
        shape=layer.shape,
        formats=layer.formats,
        macs=layer.macs,
        cycles=cycles,
        predicted_cycles=run.predicted[Register.CYCLES],
        utilization=engine_utilization(engine, gemms, cycles),
        stalls=array_stalls(run.outcome.counters),
        qsnr_db=_qsnr(layer.parts, run.c),
        qsnr_mx6_db=_qsnr(layer.parts, all_mx6),
        mismatches=sum(
            int((found.view(np.uint32) != c.view(np.uint32)).sum())
            for found, c in zip(run.c, golden, strict=True)
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
