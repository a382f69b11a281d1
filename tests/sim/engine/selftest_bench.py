"""cocotb side of test_selftest.py: gives the self-test a clock until its lights say it is over."""

import json
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from mixdit_sim.simulator import payload

LIGHTS = ("running", "passed", "failed", "mismatch")


@cocotb.test()
async def lights(dut):
    job = payload()
    Clock(dut.clock, 40, unit="ns").start()
    for _ in range(job["patience"]):
        await FallingEdge(dut.clock)
        if not dut.running.value:
            break
    for _ in range(20):
        await FallingEdge(dut.clock)
    seen = {name: int(getattr(dut, name).value) for name in LIGHTS}
    (Path(job["folder"]) / "lights.json").write_text(json.dumps(seen))
