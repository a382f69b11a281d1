"""cocotb side of test_simulator.py: a counter stepped a given number of times."""

import json
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
    total = dut.count.value.to_unsigned()
    (Path(job["folder"]) / "total.json").write_text(json.dumps(total))
    assert total == job["expected"]


@cocotb.test(skip=False)
async def waits_for_ever(dut):
    if payload().get("hang"):
        Clock(dut.clk, 10, unit="ns").start()
        while True:
            await RisingEdge(dut.clk)
