"""Drives units of the engine: streams with pauses on both sides, and a limit for what hangs."""

import random
from functools import partial

from amaranth.sim import Simulator

from mixdit_hw.config import PRESETS, ArrayConfig
from mixdit_hw.engine.config import EngineConfig

LIMIT = 20_000
"""Cycles after which a unit counts as hung."""

TINY = EngineConfig(array=PRESETS["tiny"], port_bytes=8, buffer_bytes=2048, extra_words=16)


def four_by_four(**changes):
    """An engine of 2x2 clusters of 2x2 PEs, with two ports of 8 bytes."""
    array = ArrayConfig(rows=4, cols=4, cluster_rows=2, cluster_cols=2)
    return EngineConfig(
        **{"array": array, "port_bytes": 8, "ports": 2, "buffer_bytes": 4096, **changes}
    )


def word(payload):
    """A payload as one value."""
    return payload.as_value() if hasattr(payload, "as_value") else payload


async def send(ctx, stream, items, *, chance=1.0, seed=0):
    """Offer items; junk is on the bus while nothing is offered."""
    rng = random.Random(seed)
    for item in items:
        while rng.random() >= chance:
            ctx.set(word(stream.payload), rng.getrandbits(len(word(stream.payload))))
            await ctx.tick()
        ctx.set(word(stream.payload), item)
        ctx.set(stream.valid, 1)
        taken = False
        while not taken:
            *_, taken = await ctx.tick().sample(stream.ready)
        ctx.set(stream.valid, 0)


async def take(ctx, stream, count, found, *, chance=1.0, seed=0):
    """Take so many items; an item that was offered must stay until it is taken."""
    rng = random.Random(seed)
    held = None
    while len(found) < count:
        ready = rng.random() < chance
        ctx.set(stream.ready, ready)
        *_, valid, item = await ctx.tick().sample(stream.valid, word(stream.payload))
        assert held is None or (valid and item == held), "an offered item changed"
        held = item if valid and not ready else None
        if valid and ready:
            found.append(item)
    ctx.set(stream.ready, 0)


async def end_what_hangs(ctx, *, limit=LIMIT):
    """Fail after so many cycles."""
    for _ in range(limit):
        await ctx.tick()
    raise AssertionError("it hangs")


def simulate(dut, *benches, background=(), limit=LIMIT):
    """Run testbenches, each a coroutine function of the simulator's context, to their end."""
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    for bench in benches:
        simulator.add_testbench(bench)
    for bench in (*background, partial(end_what_hangs, limit=limit)):
        simulator.add_testbench(bench, background=True)
    simulator.run()
