"""cocotb side of test_simulator.py: a counter stepped a given number of times."""

import json
import os
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from mixdit_sim.simulator import payload


@cocotb.test()
async def counts(dut):
    job = payload()
    Clock(dut.clk, 10, unit="ns").start()
    dut.step.value = 0
    await RisingEdge(dut.clk)
    for _ in range(job["steps"]):
        dut.step.value = job["by"]
        await RisingEdge(dut.clk)
    dut.step.value = 0
    await RisingEdge(dut.clk)
    await RisingEdge(dut.clk)
    result = {"total": dut.count.value.to_unsigned(), "extra": os.environ.get("EXTRA")}
    (Path(job["folder"]) / "result.json").write_text(json.dumps(result))
    assert result["total"] == job["expected"]


@cocotb.test()
async def never_ends(dut):
    Clock(dut.clk, 10, unit="ns").start()
    while True:
        await RisingEdge(dut.clk)
