"""Drives a component from its input stream to its output stream, with pauses on both sides."""

import random

from amaranth.sim import Simulator

PATIENCE = 200


def run_stream(dut, payloads, *, valid=1.0, ready=1.0, seed=0):
    """Return (payloads of `o` as integers, cycles from the first to the last), for those of `i`."""
    rng = random.Random(seed)
    found, cycles = [], []

    async def send(ctx):
        for payload in payloads:
            while rng.random() >= valid:
                await ctx.tick()
            ctx.set(dut.i.payload.as_value(), payload)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)

    async def collect(ctx):
        now = waited = 0
        held = None
        while len(found) < len(payloads) and waited < PATIENCE:
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

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(send)
    simulator.add_testbench(collect)
    simulator.run()
    return found, cycles[-1] - cycles[0] + 1 if cycles else 0
