"""The cycle model in large steps counts exactly what the plain one does."""

from dataclasses import replace

import numpy as np
import pytest
from engine_cases import random_timing, with_waits

from mixdit_hw.engine.config import get_engine
from mixdit_sim.engine.model.engine import EngineModel, predict
from mixdit_sim.engine.model.parts import MemoryTiming
from mixdit_sim.engine.model.repeat import predict_quickly
from mixdit_sw.engine.commands import STEPS
from mixdit_sw.engine.compiler import compile_sizes
from mixdit_sw.engine.gemm import GemmSize
from mixdit_sw.engine.schedule import schedules
from mixdit_sw.formats import MX4, MX6, MX9

PALETTES = [(MX6,), (MX9,), (MX4,), (MX9, MX6), (MX9, MX6, MX4)]
KINDS = ["steps", "panels", "commands", "any"]


@pytest.fixture
def count_steps(monkeypatch):
    """Count the cycles that are run."""
    step, count = EngineModel.step, [0]

    def counted(self):
        count[0] += 1
        step(self)

    monkeypatch.setattr(EngineModel, "step", counted)
    return count


def random_size(rng, kind):
    """A GEMM that has much of what is named, in tiles of `paper`, whose bursts are short."""
    largest = {"steps": (2, 700), "panels": (140, 3), "commands": (3, 3), "any": (8, 8)}[kind]
    rows, cols = (int(rng.integers(-(-x // 2), x + 1)) for x in largest)
    m, n = 64 * rows - int(rng.integers(64)), 64 * cols - int(rng.integers(64))
    blocks = int(rng.integers(1, 9))
    formats = [
        tuple(palette[i] for i in rng.integers(len(palette), size=blocks))
        for palette in (PALETTES[i] for i in rng.integers(len(PALETTES), size=2))
    ]
    on = tuple(step for step in STEPS if rng.random() < 0.15)
    bf16 = bool(rng.random() < 0.3)
    k = 16 * blocks
    return GemmSize(m=m, n=n, k=k, a_formats=formats[0], b_formats=formats[1], steps=on, bf16=bf16)


def random_program(rng, config, kind):
    count = 60 if kind == "commands" else 1
    sizes = [random_size(rng, kind) for _ in range(rng.integers(1, 3))]
    sizes = [size for size in sizes for _ in range(rng.integers(1, count + 1))]
    plans = []
    for i, size in enumerate(sizes):
        possible = schedules(size, config.shape)
        if kind == "panels":
            possible = [plan for plan in possible if not plan.stationary_b and plan.panel < 3]
        if kind == "steps":
            possible = [plan for plan in possible if not plan.stationary_b]
        same = i and size is sizes[i - 1]
        plans.append(plans[-1] if same else possible[rng.integers(len(possible))])
    program = compile_sizes(sizes, config.shape, plans=plans)
    waits = bool(rng.random() < 0.2)
    return with_waits(program, [waits and bool(rng.random() < 0.9) for _ in sizes])


@pytest.mark.parametrize("kind", KINDS)
def test_random_programs(kind, count_steps):
    config, rng = get_engine("paper"), np.random.default_rng(KINDS.index(kind))
    run = skipped = 0
    for number in range(10):
        program, timing = random_program(rng, config, kind), random_timing(rng)
        if rng.random() < 0.7:
            timing = replace(timing, price=1, gain=int(rng.integers(1, 3)))
        count_steps[0] = 0
        found = predict_quickly(config, program, timing)
        quick, count_steps[0] = count_steps[0], 0
        assert found == predict(config, program, timing), (number, timing, program.commands)
        run, skipped = run + count_steps[0], skipped + count_steps[0] - quick
    # If nothing were skipped, nothing would be tested.
    assert skipped > 0.05 * run or kind == "any", (run, skipped)


def attention(m, n, k, count=1):
    six = (MX6,) * (-(-k // 16))
    return [GemmSize(m=m, n=n, k=k, a_formats=six, b_formats=six)] * count


@pytest.mark.parametrize(
    ("preset", "timing", "sizes", "least"),
    [
        ("small", MemoryTiming(100, 2, 1), attention(1024, 64, 240), 0.0),
        ("paper", MemoryTiming(200, 117, 128), attention(512, 512, 72, 128), 0.4),
        ("paper", MemoryTiming(200, 117, 128), attention(512, 72, 512, 6), 0.0),
    ],
)
def test_layers(preset, timing, sizes, least, count_steps):
    config = get_engine(preset)
    program = compile_sizes(sizes, config.shape)
    found = predict_quickly(config, program, timing)
    quick, count_steps[0] = count_steps[0], 0
    assert found == predict(config, program, timing)
    assert quick <= (1 - least) * count_steps[0], (quick, count_steps)
