"""cocotb side of `mixdit_sim.array.rtl`: feeds GEMMs to the array and collects what it gives."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly

from mixdit_hw.array.array import beat_layout
from mixdit_hw.config import ArrayConfig
from mixdit_sim.array.beats import Gemm, beat_words, place
from mixdit_sim.array.exchange import load_operands
from mixdit_sim.simulator import payload
from mixdit_sw.formats import load_formats

PATIENCE = 10_000
"""Cycles without a beat accepted or a result after which the array counts as hung."""


@dataclass
class Pressure:
    """How often the bench offers a beat and is ready for a tile, at random."""

    valid: float
    ready: float
    random: random.Random


class ArrayBench:
    """Drives and samples at falling edges, where everything has settled."""

    def __init__(self, dut: Any, config: ArrayConfig, pressure: Pressure) -> None:
        self.dut = dut
        self.pressure = pressure
        self.last_bit = 1 << beat_layout(config)["last"].offset
        rows, cols = config.cluster_grid
        self.outputs = {
            (r, c): (getattr(dut, f"o_{r}_{c}__valid"), getattr(dut, f"o_{r}_{c}__payload"))
            for r in range(rows)
            for c in range(cols)
        }
        self.results: dict[tuple[int, int], list[int]] = {}
        self.cycle = 0
        self.last_result = 0

    async def reset(self) -> None:
        """Start the clock and reset the array."""
        self.dut.i__valid.value = 0
        self.dut.i__payload.value = 0
        self.dut.drain_ready.value = 0
        self.dut.rst.value = 1
        Clock(self.dut.clk, 10, unit="ns").start()
        for _ in range(2):
            await FallingEdge(self.dut.clk)
        self.dut.rst.value = 0

    async def next_cycle(self) -> None:
        """Go on to the next falling edge and keep the results that are there."""
        await FallingEdge(self.dut.clk)
        self.cycle += 1
        for cluster, (valid, value) in self.outputs.items():
            if valid.value:
                self.results[cluster].append(value.value.to_unsigned())
                self.last_result = self.cycle

    async def run(self, tiles: Iterator[list[int]], expected: int) -> int:
        """Feed tiles and wait for `expected` result beats of each cluster; return the cycles."""
        self.results = {cluster: [] for cluster in self.outputs}
        first = None
        for beats in tiles:
            for word in beats:
                accepted = await self.offer(word)
                first = accepted if first is None else first
        self.dut.i__valid.value = 0
        waited = 0
        while min(map(len, self.results.values())) < expected:
            await self.next_cycle()
            waited += 1
            assert waited < PATIENCE, "the array hangs: results are missing"
        assert first is not None
        return self.last_result - first + 1

    async def offer(self, word: int) -> int:
        """Offer a beat until it is accepted; return the cycle of that."""
        dut, pressure = self.dut, self.pressure
        relaxed = pressure.valid >= 1 and pressure.ready >= 1
        dut.i__payload.value = word
        if relaxed and not word & self.last_bit:
            # Only a tile's last K-block can be kept waiting.
            dut.i__valid.value = 1
            dut.drain_ready.value = 1
            accepted = self.cycle
            await self.next_cycle()
            return accepted
        for _ in range(PATIENCE):
            offered = pressure.random.random() < pressure.valid
            dut.i__valid.value = int(offered)
            dut.drain_ready.value = int(pressure.random.random() < pressure.ready)
            await ReadOnly()
            accepted = self.cycle
            taken = offered and bool(dut.i__ready.value)
            await self.next_cycle()
            if taken:
                return accepted
        raise AssertionError("the array hangs: a beat is never accepted")


@cocotb.test()
async def run_gemms(dut: Any) -> None:
    """Run the GEMMs of the payload one after the other; leave C and cycles in its folder."""
    job = payload()
    folder = Path(job["folder"])
    for path in job["formats"]:
        load_formats(Path(path))
    config = ArrayConfig.from_dict(job["config"])
    pressure = Pressure(job["valid"], job["ready"], random.Random(job["seed"]))
    bench = ArrayBench(dut, config, pressure)
    await bench.reset()
    cycles = []
    for index in range(job["count"]):
        a, b = load_operands(folder / f"gemm_{index}.npz")
        gemm = Gemm.of(config, a, b)
        expected = len(gemm.tiles) * config.drain_cycles
        cycles.append(await bench.run(beat_words(gemm, a, b), expected))
        np.save(folder / f"c_{index}.npy", place(gemm, bench.results))
    (folder / "cycles.json").write_text(json.dumps(cycles))
