"""Programs that are to tell an engine from its mutants."""

from dataclasses import replace

import numpy as np
from engine_cases import random_case
from mutation_conversions import QUICK, bad_conversions, conversion_cases
from mutation_gemms import (
    chained,
    gemm,
    hard_epilogue,
    hard_sums,
    scaled,
    special_epilogue,
    stored_ties,
    stored_words,
)
from mutation_hostile import hostile_trials
from mutation_trial import CONFIG, ORIGINS, STEPS, far, good, planned

from mixdit_sim.engine.model.parts import MemoryTiming
from mixdit_sw.engine.commands import Error
from mixdit_sw.engine.schedule import Schedule
from mixdit_sw.formats import MX4, MX6, MX9

MIXED = (MX9, MX6, MX4)
PAUSED = (0, 1, 4, 5, 11)
"""Good programs that run on a bus that pauses, too."""


def trials(seed=0):
    """Return all trials, the quickest to tell mutants apart first."""
    rng = np.random.default_rng(seed)
    cases = [*_operands(rng), *_layers(rng)]
    found = [good(case, ORIGINS[n % len(ORIGINS)]) for n, case in enumerate(cases)]
    # A bus that pauses: the cycle model knows nothing of it.
    found += [good(replace(cases[n], timing=MemoryTiming(5, 1, 1)), pauses=7) for n in PAUSED]
    # Conversions have random numbers of their own, and one program for each way of pausing.
    conversions = list(conversion_cases(np.random.default_rng(seed + 1)))
    found += [
        good(case, ORIGINS[n % len(ORIGINS)], made=made)
        for n, (case, made) in enumerate(conversions)
    ]
    found += [good(case, pauses=7, made=made) for case, made in conversions if case.timing == QUICK]
    bad = [*hostile_trials(rng), *bad_conversions(rng)]
    found += bad
    # Errors whose address is one of operands or tags, with all bits of it.
    loading = [trial for trial in bad if trial.error in (Error.FORMAT, Error.LENGTH)]
    found += [far(trial, ORIGINS[2 * (n % 2)]) for n, trial in enumerate(loading)]
    found += [good(case, ORIGINS[0]) for case in _numbers(rng)]
    products = [planned([scaled(rng, 62)], [Schedule(False, 31)], QUICK) for _ in range(4)]
    return found + [good(case, ORIGINS[0]) for case in products]


def _layers(rng):
    """Ways through tiles and memories."""
    first = [
        gemm(rng, 5, 50, 5, MIXED, (MX6, MX9), steps=STEPS),
        gemm(rng, 3, 40, 4, (MX6,), (MX4, MX9), steps=STEPS[::2], bf16=True),
    ]
    yield planned(first, [Schedule(False, 2), Schedule(True, 1)], MemoryTiming(7, 1, 1))
    # Many panels, both ways; then sections of more K-blocks than a header has tags.
    walks = [
        gemm(rng, 9, 17, 7, MIXED, (MX9,), steps=("residual",)),
        gemm(rng, 7, 33, 9, (MX4, MX6), MIXED, steps=("row_scale", "bias")),
    ]
    yield planned(walks, [Schedule(False, 2), Schedule(True, 2)], MemoryTiming(0, 2, 1), [0, 1])
    long = [gemm(rng, 3, 16 * 70, 3, (MX6,), (MX6, MX4), bf16=True)]
    yield planned(long, [Schedule(False, 1)], MemoryTiming(40, 3, 2))
    # Three GEMMs, one behind the other without waiting, on a memory that is the bottleneck.
    row = [gemm(rng, 4, 16, 4, (MX9,), (MX9,), steps=STEPS[i:]) for i in range(3)]
    yield planned(row, [Schedule(True, 2)] * 3, MemoryTiming(3, 1, 5))
    # Results are the bottleneck, or the epilogue's operands.
    slow = [gemm(rng, 8, 16, 8, (MX6,), (MX6,), steps=STEPS)]
    yield planned(slow, [Schedule(False, 4)], MemoryTiming(150, 1, 7))
    # Tiles that fill a buffer; more tiles than a byte counts.
    deep = [gemm(rng, 2, 16 * k, 2, (a,), (b,)) for k, a, b in ((83, MX6, MX4), (41, MX9, MX6))]
    yield planned(deep, [Schedule(False, 1), Schedule(True, 1)], MemoryTiming(1, 2, 1))
    # More bursts without response than the writer has room for.
    flood = [gemm(rng, 10, 16, 80, (MX4,), (MX4,))]
    yield planned(flood, [Schedule(True, 40)], MemoryTiming(150, 2, 1))


def _operands(rng):
    """Results that are stored as operands."""
    # Every format, every step; then what is stored is read, and stored again.
    first = gemm(rng, 5, 40, 40, (MX6, MX9), (MX9, MX4), steps=STEPS, stored=MIXED)
    then = chained(rng, first, 0, 33, (MX6, MX9), stored=(MX4, MX9), steps=STEPS[1:3])
    last = chained(rng, then, 1, 5, (MX4,), steps=STEPS[3:], bf16=True)
    plans = [Schedule(True, 8), Schedule(True, 16), Schedule(False, 2)]
    yield planned([first, then, last], plans, MemoryTiming(5, 1, 1))
    # More commands with tags than wait for the store, between others; the quantizer is in the way.
    row = [
        gemm(rng, 4, 16, 32, (MX6,), (MX6,), stored=(MX9,)),
        gemm(rng, 3, 16, 3, (MX6,), (MX6,)),
        gemm(rng, 5, 16, 16, (MX4,), (MX4,), stored=(MX4,)),
        gemm(rng, 3, 16, 3, (MX4,), (MX4,), steps=STEPS[2:], bf16=True),
        gemm(rng, 2, 16, 16, (MX6,), (MX4,), stored=(MX6,), steps=("bias",)),
        gemm(rng, 2, 16, 16, (MX4,), (MX6,), stored=(MX9,)),
        gemm(rng, 2, 16, 16, (MX4,), (MX6,), stored=(MX6,)),
    ]
    plans = [Schedule(bool(g.as_operand), 8 if g.as_operand else 1) for g in row]
    for timing in (MemoryTiming(0, 2, 1), MemoryTiming(70, 1, 6)):
        yield planned(row, plans, timing)
    # As many K-blocks as a section has; panels of two groups, an odd number of them.
    wide = gemm(rng, 3, 16, 16 * 32, (MX6,), (MX4,), stored=(MX6, MX4, MX9, MX4, MX4))
    yield planned([wide], [Schedule(True, 32)], MemoryTiming(1, 2, 1))
    panels = gemm(rng, 7, 16, 16 * 5, (MX4,), (MX4,), stored=(MX9, MX9, MX4), steps=STEPS[:2])
    yield planned([panels], [Schedule(True, 16)], MemoryTiming(30, 1, 2))


def _numbers(rng):
    """Numbers that are hard to align, add, scale, round and convert."""
    for b, formats in ((False, ((MX9,), (MX6,))), (True, ((MX4,), (MX4, MX9)))):
        plan = [Schedule(b, 3)]
        yield planned([hard_epilogue(rng, 24, *formats)], plan, MemoryTiming(2, 2, 1))
    sums = [gemm(rng, 16, 96, 16, (MX9,), (MX9, MX6))]
    yield planned(sums, [Schedule(False, 2)], MemoryTiming(2, 2, 1))
    fast = MemoryTiming(2, 4, 1)
    yield planned([stored_ties(rng, 20, 6)], [Schedule(True, 8)], fast)
    for formats in ((MX9,), (MX6,), (MX4,), MIXED):
        yield planned([stored_words(rng, 40, 64, *formats)], [Schedule(True, 8)], fast)
    yield planned([special_epilogue(rng, 20)], [Schedule(False, 4)], fast)
    for formats in (((MX9,), (MX9,)), ((MX9, MX6), (MX4, MX9)), ((MX6,), (MX6,))):
        yield planned([hard_sums(rng, 24, 128, *formats)], [Schedule(False, 2)], fast)
    for _ in range(3):
        hard = hard_epilogue(rng, 30, (MX9,), (MX9,))
        yield planned([hard], [Schedule(False, 4)], fast)
    for size, plans in (
        ((1022, 2), ((True, 1), (False, 5))),
        ((2, 1022), ((True, 83), (False, 1))),
    ):
        many = gemm(rng, size[0], 16, size[1], (MX4,), (MX4,), bf16=True)
        for plan in plans:
            yield planned([many], [Schedule(*plan)], MemoryTiming(1, 2, 1))
    for _ in range(8):
        yield random_case(rng, CONFIG, (9, 90), 2)
