"""cocotb side of test_sharing.py: applies words to the inputs, records the outputs."""

import json
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from mixdit_sim.simulator import payload


@cocotb.test()
async def records(dut):
    job = payload()
    dut.rst.value = 0
    Clock(dut.clk, 10, unit="ns").start(start_high=True)
    seen = []
    for word in job["stimuli"]:
        await FallingEdge(dut.clk)
        for name, value in word.items():
            getattr(dut, name).value = value
        await FallingEdge(dut.clk)
        seen.append({name: getattr(dut, name).value.to_unsigned() for name in job["outputs"]})
        for name in ("valid", "ready"):
            getattr(dut, name).value = 0
    (Path(job["folder"]) / "seen.json").write_text(json.dumps(seen))
