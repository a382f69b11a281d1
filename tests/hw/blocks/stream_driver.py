"""Drives a component from its input stream to its output stream, with pauses on both sides."""

import random

from amaranth.sim import Simulator

PATIENCE = 400


async def send(ctx, dut, payloads, *, valid=1.0, ready=1.0, seed=0):
    """Offer payloads to `i`, each with a probability in a cycle."""
    rng = random.Random(seed)
    for payload in payloads:
        while rng.random() >= valid:
            await ctx.tick()
        ctx.set(dut.i.payload.as_value(), payload)
        ctx.set(dut.i.valid, 1)
        await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)


async def collect(ctx, dut, count, found, cycles, *, valid=1.0, ready=1.0, seed=0):
    """Take payloads from `o`, as integers, and the cycles in which they came."""
    rng = random.Random(seed + 1)
    now = waited = 0
    held = None
    while len(found) < count and waited < PATIENCE:
        ctx.set(dut.o.ready, rng.random() < ready)
        await ctx.delay(1e-9)
        word = ctx.get(dut.o.payload.as_value()) if ctx.get(dut.o.valid) else None
        assert held is None or word == held, "an offered payload changed"
        taken = word is not None and ctx.get(dut.o.ready)
        held = None if taken else word
        waited = 0 if taken else waited + 1
        if taken:
            found.append(word)
            cycles.append(now)
        await ctx.tick()
        now += 1


def run_stream(dut, payloads, *, count=None, **pauses):
    """Return (payloads of `o` as integers, cycles from the first to the last), for those of `i`.

    As many payloads are waited for as are given, if no other `count` is said.
    """
    found, cycles = [], []

    async def source(ctx):
        await send(ctx, dut, payloads, **pauses)

    async def sink(ctx):
        await collect(ctx, dut, len(payloads) if count is None else count, found, cycles, **pauses)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(source)
    simulator.add_testbench(sink)
    simulator.run()
    return found, cycles[-1] - cycles[0] + 1 if cycles else 0
