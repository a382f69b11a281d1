"""Drivers shared by the hardware tests: one call from operands to what the hardware gives."""

import random
from dataclasses import dataclass

import numpy as np
from amaranth.sim import Simulator

from mixdit_hw.array.array import MatrixArray
from mixdit_hw.config import ArrayConfig
from mixdit_sim.array.beats import Gemm, beat_words, place
from mixdit_sw.formats import MX4, MX6, MX9
from mixdit_sw.gemm.kinds import parse_kind
from mixdit_sw.gemm.reference import golden_gemm
from mixdit_sw.operand import quantize_pair, select_high_channels

PATIENCE = 100_000

PAIRS = {
    "mx6xmx6": (MX6, MX6, 0, 0),
    "mx9xmx6": (MX9, MX6, 0, 0),
    "mx9xmx9": (MX9, MX9, 0, 0),
    "mx4xmx6-mixed": (MX4, MX6, 16, 5),
    "mx6xmx6-mixed": (MX6, MX6, 16, 0),
}


def operands(name, m=5, k=70, n=4, seed=0):
    """Operands whose exponents differ widely, with zero blocks, huge and tiny ones, and a NaN."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(m, k)) * np.exp2(rng.integers(-3, 3, (m, k)))
    a *= np.repeat(np.exp2(rng.integers(-12, 12, (m, -(-k // 16)))), 16, axis=1)[:, :k]
    b = rng.normal(size=(n, k)) * np.exp2(rng.integers(-3, 3, (n, k)))
    a[0, :16] = 0
    a[1] *= 2.0**90
    b[1] *= 2.0**60
    a[2] *= 2.0**-70
    b[2] *= 2.0**-60
    a[0, 16:32] = -a[0, 32:48]
    b[:, 16:32] = b[:, 32:48]
    a, b = a.astype(np.float32), b.astype(np.float32)
    b[3, 5] = np.nan
    a_format, b_format, a_high, b_high = PAIRS[name]
    return quantize_pair(
        a, b, a_format, b_format, select_high_channels(a, a_high), select_high_channels(b, b_high)
    )


@dataclass
class ArrayRun:
    gemm: Gemm
    c: np.ndarray
    cycles: int


def run_array(config, a, b, *, valid=1.0, ready=1.0, seed=0):
    """Run one GEMM on the array in Amaranth's simulator."""
    gemm = Gemm.of(config, a, b)
    rng = random.Random(seed)
    dut = MatrixArray(config)
    beats = [word for tile in beat_words(gemm, a, b) for word in tile]
    rows, cols = config.cluster_grid
    results = {(r, c): [] for r in range(rows) for c in range(cols)}
    expected = len(gemm.tiles) * config.drain_cycles
    seen = {}

    async def drive(ctx):
        cycle = sent = 0
        while min(map(len, results.values())) < expected:
            offer = sent < len(beats) and rng.random() < valid
            ctx.set(dut.i.valid, offer)
            # What is on the bus without a beat must not matter.
            word = beats[sent] if offer else rng.getrandbits(len(dut.i.payload.as_value()))
            ctx.set(dut.i.payload.as_value(), word)
            ctx.set(dut.drain_ready, rng.random() < ready)
            *_, accepted = await ctx.tick().sample(dut.i.ready)
            if offer and accepted:
                seen.setdefault("first", cycle)
                sent += 1
            cycle += 1
            assert cycle < PATIENCE, "the array hangs"

    async def collect(ctx):
        cycle = 0
        outputs = {key: getattr(dut, f"o_{key[0]}_{key[1]}") for key in results}
        signals = [s for o in outputs.values() for s in (o.valid, o.payload.as_value())]
        async for _, _, *values in ctx.tick().sample(*signals):
            for key, is_valid, word in zip(results, values[::2], values[1::2], strict=True):
                if is_valid:
                    results[key].append(word)
                    seen["last"] = cycle
            cycle += 1

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.add_testbench(collect, background=True)
    simulator.run()
    return ArrayRun(gemm, place(gemm, results), seen["last"] - seen["first"] + 1)


def mismatches(config, a, b, **pressure):
    """Count the words of C in which array and golden model differ."""
    golden = golden_gemm(a, b, parse_kind(config.accumulator))
    return count_different(run_array(config, a, b, **pressure).c, golden)


def count_different(x, y):
    return int((x.view(np.uint32) != y.view(np.uint32)).sum())


def tiny(**changes):
    """A 2x2 array."""
    return ArrayConfig(**{"rows": 2, "cols": 2, "cluster_rows": 2, "cluster_cols": 2, **changes})


def comb(dut, inputs, outputs):
    """Evaluate a combinational component on each of a list of {port: value}."""
    found = []

    async def drive(ctx):
        for values in inputs:
            for name, value in values.items():
                port = getattr(dut, name)
                ctx.set(port.as_value() if hasattr(port, "as_value") else port, value)
            found.append(tuple(_get(ctx, getattr(dut, name)) for name in outputs))

    simulator = Simulator(dut)
    simulator.add_testbench(drive)
    simulator.run()
    return found


def _get(ctx, port):
    return ctx.get(port.as_value() if hasattr(port, "as_value") else port)
