"""The driver runs programs on the engine over a bus model that is not ours (cocotbext-axi)."""

import json
import shutil
from pathlib import Path

import nan_blocks
import numpy as np
import pytest
from axi_testbench import TOP, axi_testbench_verilog
from engine_cases import expected, random_case
from engine_configs import LOCKSTEP, TINY, needs_icarus

from mixdit_sim.engine.model.engine import predict
from mixdit_sim.simulator import run
from mixdit_sw.engine.commands import Error
from mixdit_sw.engine.registers import Register
from mixdit_sw.gemm.kinds import parse_kind

BENCH = Path(__file__).with_name("axi_bench.py")
SIMULATOR = "icarus" if shutil.which("iverilog") else "verilator"
"""Of the short runs: Icarus builds at once."""


def run_by_driver(config, count, seed, simulator, folder):
    """Run random programs, every fourth of them stopped on the way; check what they leave."""
    rng = np.random.default_rng(seed)
    limits = {"largest": (6, 70), "gemms": 2, "operands": False}
    cases = [random_case(rng, config, **limits) for _ in range(count)]
    runs = []
    for number, case in enumerate(cases):
        (folder / f"image_{number}.bin").write_bytes(case.program.image.bytes().tobytes())
        runs.append(
            {
                "list_address": case.program.list_address,
                "pauses": float(rng.choice([0, 0.1, 0.5, 0.8])),
                "interrupt": bool(rng.random() < 0.5),
                "stop": int(rng.integers(1, 150)) if number % 4 == 2 else None,
            }
        )
    verilog = folder / f"{TOP}.v"
    verilog.write_text(axi_testbench_verilog(config))
    job = {"cases": runs, "seed": seed, "port_bytes": config.port_bytes, "ports": config.ports}
    run(simulator, verilog, TOP, BENCH, job, folder=folder)
    outcomes = json.loads((folder / "outcomes.json").read_text())
    for number, (case, wanted, outcome) in enumerate(zip(cases, runs, outcomes, strict=True)):
        if wanted["stop"] is not None:
            assert outcome["error"] == Error.STOPPED, (number, outcome)
            continue
        memory = np.fromfile(folder / f"result_{number}.bin", np.uint8)
        check_program(config, case, outcome, memory, number)


def check_program(config, case, outcome, memory, number):
    """Results bit for bit; of the counters those that do not depend on the bus."""
    assert outcome["error"] == Error.NONE, (number, outcome)
    kind = parse_kind(config.array.accumulator)
    for index, gemm in enumerate(case.gemms):
        c = case.program.result(memory, index).view(np.uint32)
        right = expected(gemm, kind, config.shape).view(np.uint32)
        assert (c == right).all(), (number, index, gemm.size)
    counters, predicted = outcome["counters"], predict(config, case.program, case.timing)
    assert counters["BUSY"] == predicted[Register.BUSY]
    assert counters["TILES"] == predicted[Register.TILES]
    loaded = zip(case.gemms, case.program.commands, strict=False)
    nans = sum(nan_blocks.count(gemm, command, config.shape) for gemm, command in loaded)
    assert counters["NAN_BLOCKS"] == nans
    assert outcome["saw_nan"] == (nans > 0)


def test_driver_over_cocotbext_axi(tmp_path):
    run_by_driver(TINY, 8, seed=1, simulator=SIMULATOR, folder=tmp_path)


@needs_icarus
def test_driver_over_two_ports_that_pause_apart(tmp_path):
    run_by_driver(LOCKSTEP, 6, seed=2, simulator="icarus", folder=tmp_path)


@pytest.mark.heavy
@pytest.mark.parametrize("config", [TINY, LOCKSTEP], ids=["tiny", "lockstep"])
def test_driver_on_verilator(config, tmp_path):
    run_by_driver(config, 60, seed=3, simulator="verilator", folder=tmp_path)
