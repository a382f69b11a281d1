"""The self-test of a bitstream, simulated: it passes, and it fails where something is wrong."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from amaranth.sim import Simulator
from engine_configs import needs_icarus

from mixdit_hw.emit import emit_verilog
from mixdit_hw.engine.config import ENGINES
from mixdit_hw.fpga.axi_ram import AxiRam
from mixdit_hw.fpga.program import selftest_program
from mixdit_hw.fpga.selftest import SelfTest
from mixdit_sim.simulator import run
from mixdit_sw.errors import MixditError

BENCH = Path(__file__).with_name("selftest_bench.py")


def end(name, program, folder):
    """Run a self-test; return the lights."""
    config = ENGINES[name]
    verilog = folder / "selftest.v"
    fabric = config.array.fabric
    verilog.write_text(emit_verilog(SelfTest(config, program), "selftest", fabric=fabric))
    run("icarus", verilog, "selftest", BENCH, {"patience": 12000}, folder=folder / "run")
    return json.loads((folder / "run" / "lights.json").read_text())


PASSED = {"running": 0, "passed": 1, "failed": 0, "mismatch": 0}


@needs_icarus
@pytest.mark.parametrize("name", ["tiny", "ecp5"])
def test_it_passes(name, tmp_path):
    assert end(name, selftest_program(ENGINES[name]), tmp_path) == PASSED


@needs_icarus
def test_a_wrong_word_fails(tmp_path):
    program = selftest_program(ENGINES["tiny"])
    changed = [i for i, word in enumerate(program.before) if program.after[i] != word]
    after = list(program.after)
    after[changed[-1]] ^= 1 << 7
    failed = {"running": 0, "passed": 0, "failed": 1, "mismatch": 1}
    assert end("tiny", replace(program, after=after), tmp_path) == failed


@needs_icarus
def test_a_list_that_ends_in_an_error_fails(tmp_path):
    program = selftest_program(ENGINES["tiny"])
    before = list(program.before)
    before[program.list_address // 8] ^= 0xFF
    failed = {"running": 0, "passed": 0, "failed": 1, "mismatch": 0}
    assert end("tiny", replace(program, before=before), tmp_path) == failed


def test_the_program_changes_memory_and_is_the_same_each_time():
    first, second = (selftest_program(ENGINES["ecp5"]) for _ in range(2))
    assert first == second
    assert np.count_nonzero(np.array(first.before) != np.array(first.after)) > 30


def test_several_ports_are_refused():
    with pytest.raises(MixditError, match="needs an engine with one port, not 8"):
        selftest_program(ENGINES["paper"])


def test_the_memory_keeps_bytes_that_are_not_written():
    dut, found = AxiRam(16, 8, [0x1111_2222_3333_4444, 2, 3, 4]), []

    async def drive(ctx):
        bus = dut.bus
        ctx.set(bus.awaddr, 8 * (4 + 0))
        ctx.set(bus.awvalid, 1)
        await ctx.tick().until(bus.awready)
        ctx.set(bus.awvalid, 0)
        for last in (0, 1):
            ctx.set(bus.wvalid, 1)
            ctx.set(bus.wdata, 0xAABB_CCDD_EEFF_0011)
            ctx.set(bus.wstrb, 0x0F if last else 0x81)
            ctx.set(bus.wlast, last)
            await ctx.tick().until(bus.wready)
        ctx.set(bus.wvalid, 0)
        ctx.set(bus.bready, 1)
        await ctx.tick().until(bus.bvalid)
        ctx.set(bus.araddr, 0)
        ctx.set(bus.arlen, 3)
        ctx.set(bus.arvalid, 1)
        await ctx.tick().until(bus.arready)
        ctx.set(bus.arvalid, 0)
        while len(found) < 4:
            ctx.set(bus.rready, len(found) != 2 or not ctx.get(bus.rready))
            taken = ctx.get(bus.rvalid & bus.rready)
            word, last = ctx.get(bus.rdata), ctx.get(bus.rlast)
            await ctx.tick()
            if taken:
                found.append((word, last))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()
    assert found == [(0xAA11_2222_3333_4411, 0), (0xEEFF_0011, 0), (3, 0), (4, 1)]
