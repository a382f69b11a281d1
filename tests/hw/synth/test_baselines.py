import numpy as np
from amaranth.sim import Simulator

from mixdit_hw.synth.baselines import Int8Mac


def accumulate(pairs, clears):
    """Accumulator after every pair in Amaranth's simulator."""
    dut = Int8Mac()
    seen = []

    async def bench(ctx):
        for cycle in range(len(pairs) + dut.LATENCY):
            a, b = pairs[cycle] if cycle < len(pairs) else (0, 0)
            ctx.set(dut.a, int(a))
            ctx.set(dut.b, int(b))
            ctx.set(dut.clear, int(clears[cycle]) if cycle < len(pairs) else 0)
            if cycle >= dut.LATENCY:
                seen.append(ctx.get(dut.acc))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


def test_int8_mac_accumulates_and_clears():
    rng = np.random.default_rng(3)
    corners = [(-128, -128), (-128, 127), (127, 127), (0, -1)]
    pairs = np.array(corners + rng.integers(-128, 128, (400, 2)).tolist())
    clears = rng.random(len(pairs)) < 0.05
    expected, acc = [], 0
    for (a, b), clear in zip(pairs.tolist(), clears, strict=True):
        acc = 0 if clear else acc + a * b
        expected.append(acc)
    assert accumulate(pairs, clears) == expected
