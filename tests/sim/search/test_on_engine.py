"""What a search has found runs on the engine, bit for bit."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from mixdit_hw.engine.config import get_engine
from mixdit_sim.engine.run import run_layers
from mixdit_sim.search import on_engine
from mixdit_sim.search.explore import Budget
from mixdit_sim.search.judge import Bounds
from mixdit_sim.search.measure import Task
from mixdit_sim.search.on_engine import run_block
from mixdit_sim.search.run import SearchConfig, run_search
from mixdit_sim.search.space import Choices
from mixdit_sw.errors import MixditError
from mixdit_sw.models.dit import DiTConfig
from mixdit_sw.policy.calibrate import CalibrationConfig
from mixdit_sw.quality.one_step import OneStepConfig
from mixdit_sw.quality.sampling import StudyConfig

NAMES = ["qkv", "qk", "av", "proj", "fc1", "fc2"]

SMALLEST = DiTConfig(patch=14, hidden=32, heads=2, depth=1, mlp_ratio=1)
"""Linears have two K-blocks, heads and attention one."""

needs_icarus = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="Icarus (Debian's iverilog) is not installed"
)


def search(task, folder, **choices):
    """Choose something that is not all MX6."""
    config = SearchConfig(
        task=task,
        choices=Choices(per="layer", **choices),
        budget=Budget(trials=4, generation=4),
        bounds=Bounds(fid_change=1000),
        preset="tiny",
    )
    return run_search(config, folder, processes=0)


@needs_icarus
def test_a_block_on_the_smallest_engine(task, untrained, tmp_path, monkeypatch):
    model = untrained(SMALLEST, tmp_path / "smallest.safetensors")
    task = replace(task, model=str(model))
    found = search(task, tmp_path / "out", shares=(0.1, 0.6), heads=(1,), weights=("gptq",))
    assert found.passed
    kept = []

    def run_once(*arguments, **options):
        if not kept:
            kept.append(run_layers(*arguments, **options))
        return kept[0]

    monkeypatch.setattr(on_engine, "run_layers", run_once)
    engine = get_engine("tiny")
    report = run_block(tmp_path / "out", 0, engine, simulator="icarus")
    assert report.passed
    assert [gemm.name for gemm in report.gemms] == NAMES
    assert all(gemm.cycles == gemm.predicted_cycles > 0 for gemm in report.gemms)
    shapes = {gemm.name: gemm.shape for gemm in report.gemms}
    assert shapes["qkv"] == (1, 8, 96, 32) and shapes["qk"] == (4, 4, 4, 16)
    formats = {gemm.name: gemm.formats for gemm in report.gemms}
    # One head of two, of two samples.
    assert "2 mx9" in formats["qk"] and "2 mx6" in formats["qk"]
    assert all("mx9" in gemm.formats for gemm in report.gemms)
    assert report.to_dict()["scope"] == "engine"
    golden = on_engine.golden_results

    def one_bit_off(engine, gemms):
        results = golden(engine, gemms)
        results[-1].view(np.uint32)[0, 0] ^= 1
        return results

    monkeypatch.setattr(on_engine, "golden_results", one_bit_off)
    report = run_block(tmp_path / "out", 0, engine, simulator="icarus")
    assert [gemm.mismatches for gemm in report.gemms] == [1] * 6
    assert not report.passed


@pytest.mark.heavy
def test_a_block_of_the_shipped_model(tmp_path):
    task = Task(
        model="twin-x30",
        calibration=CalibrationConfig(images=10, steps=2, hessians=True),
        one_step=OneStepConfig(images=4, steps=2),
        study=StudyConfig(seeds=(0, 1), images=10, batch=10, steps=2),
    )
    found = search(task, tmp_path, shares=(0.0, 0.01, 0.12), heads=(0, 2), weights=("gptq",))
    assert found.passed
    report = run_block(tmp_path, 3, get_engine("small"))
    assert report.passed
    assert [gemm.name for gemm in report.gemms] == NAMES
    assert sum(gemm.macs for gemm in report.gemms) == 98 * 192 * 192 * 12 + 2 * 12 * 49 * 49 * 32


def test_blocks_that_are_not_there(task, tmp_path):
    engine = get_engine("tiny")
    with pytest.raises(MixditError, match="holds no finished search"):
        run_block(tmp_path, 0, engine)
    search(task, tmp_path / "out", shares=(0.0, 0.1), heads=(0,), weights=("nearest",))
    with pytest.raises(MixditError, match="Block must be 0..1, not 2"):
        run_block(tmp_path / "out", 2, engine)
    (tmp_path / "out" / "search.json").write_text("{}")
    with pytest.raises(MixditError, match="holds no finished search"):
        run_block(tmp_path / "out", 0, engine)
