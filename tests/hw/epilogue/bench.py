"""Drives an Epilogue cycle by cycle, and predicts each cycle's handshakes from its docstring."""

import random
from dataclasses import dataclass

import numpy as np
from amaranth.sim import Simulator
from epilogue_cases import any_words, as_float32, as_words, numbers

from mixdit_hw.epilogue.config import STEPS
from mixdit_sw.gemm.epilogue import apply_epilogue

PATIENCE = 2000


def packed(words):
    """A beat as an integer."""
    return sum(int(word) << 32 * k for k, word in enumerate(words))


def vector_beats(shape, on):
    """Beats of each vector that a tile needs."""
    rows = -(-shape.rows // shape.lanes)
    return {s: rows if s == "row_scale" else 1 for s in shape.vectors if s in on}


@dataclass
class Tile:
    """Beats of the three streams; the steps that are on may contain some that are not built."""

    steps: tuple
    i: list
    extra: list
    o: list


def make_tile(shape, on, rng):
    def words(*size):
        return np.where(
            rng.random(size) < 0.9, numbers(rng.integers(90, 160, size), rng), any_words(size, rng)
        )

    c = words(shape.rows, shape.cols)
    sizes = {"row_scale": shape.rows, "col_scale": shape.cols, "bias": shape.cols}
    vectors = {s: words(n) for s, n in sizes.items() if s in on and s in shape.steps}
    extra = []
    for vector in vectors.values():
        junk = rng.integers(0, 1 << 32, -len(vector) % shape.lanes, dtype=np.uint32)
        extra += list(np.concatenate([vector, junk]).reshape(-1, shape.lanes))
    arguments = {s: as_float32(vector) for s, vector in vectors.items()}
    if "residual" in on and "residual" in shape.steps:
        residual = words(shape.rows, shape.cols)
        extra += list(residual.reshape(-1, shape.lanes))
        arguments["residual"] = as_float32(residual)
    golden = as_words(apply_epilogue(as_float32(c), **arguments))
    bits = sum(1 << k for k, step in enumerate(STEPS) if step in on) << 32 * shape.lanes
    return Tile(
        on,
        [packed(beat) | bits for beat in c.reshape(-1, shape.lanes)],
        [packed(beat) for beat in extra],
        [packed(beat) for beat in golden.reshape(-1, shape.lanes)],
    )


@dataclass
class Run:
    found: list
    handshakes: list
    """(i.valid, extra.valid, o.ready), (i.ready, extra.ready, o.valid) of each cycle."""


def run(dut, tiles, *, valid=1.0, extra=1.0, ready=1.0, seed=0):
    """Feed tiles with pauses; stop when all results are there."""
    rng = random.Random(seed)
    beats = [beat for tile in tiles for beat in tile.i]
    extras = [beat for tile in tiles for beat in tile.extra]
    result = Run([], [])

    async def drive(ctx):
        sent = popped = 0
        offers, held = [False, False], None
        while len(result.found) < len(beats):
            assert len(result.handshakes) < PATIENCE, "the epilogue hangs"
            offers[0] |= sent < len(beats) and rng.random() < valid
            offers[1] |= popped < len(extras) and rng.random() < extra
            is_ready = rng.random() < ready
            ctx.set(dut.i.valid, offers[0])
            ctx.set(dut.extra.valid, offers[1])
            ctx.set(dut.o.ready, is_ready)
            for stream, offer, queue, at in (
                (dut.i, offers[0], beats, sent),
                (dut.extra, offers[1], extras, popped),
            ):
                word = stream.payload.as_value()
                # What is on the bus without a beat must not matter.
                ctx.set(word, queue[at] if offer else rng.getrandbits(len(word)))
            await ctx.delay(1e-9)
            answers = [ctx.get(s) for s in (dut.i.ready, dut.extra.ready, dut.o.valid)]
            result.handshakes.append(((*offers, is_ready), tuple(map(bool, answers))))
            word = ctx.get(dut.o.payload.as_value())
            assert held is None or (answers[2] and word == held), "an offered beat changed"
            held = word if answers[2] and not is_ready else None
            if answers[2] and is_ready:
                result.found.append(word)
            if offers[0] and answers[0]:
                sent, offers[0] = sent + 1, False
            if offers[1] and answers[1]:
                popped, offers[1] = popped + 1, False
            await ctx.tick()
        assert popped == len(extras)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()
    return result


def predict(shape, latency, residual_stage, tiles, inputs):
    """Yield (i.ready, extra.ready, o.valid) of each cycle for the inputs of each."""
    queue = [tile.steps for tile in tiles for _ in range(shape.beats)]
    stages = [None] * latency
    loaded, beat, entered = {}, 0, 0
    for i_valid, extra_valid, o_ready in inputs:
        steps = queue[entered] if entered < len(queue) else ()
        wanted = vector_beats(shape, steps)
        first = next((s for s in wanted if loaded.get(s, 0) < wanted[s]), None)
        missing = i_valid and first is not None
        at_adder = (steps if i_valid else None, *stages)[residual_stage]
        waits = "residual" in shape.steps and at_adder is not None and "residual" in at_adder
        o_valid = stages[-1] is not None
        free = not o_valid or o_ready
        advance = free and (not waits or extra_valid)
        load = missing and not any(stage is not None for stage in stages)
        i_ready = advance and not missing
        yield i_ready, load or (waits and free), o_valid
        if load and extra_valid:
            loaded[first] = loaded.get(first, 0) + 1
        enters = i_valid and i_ready
        if advance:
            stages = [steps if enters else None, *stages[:-1]]
        elif o_ready:
            stages[-1] = None
        if enters:
            beat, entered = (beat + 1) % shape.beats, entered + 1
            if beat == 0:
                loaded = {}
