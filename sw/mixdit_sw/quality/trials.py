"""Operands that accumulators are tried on: plain, with outliers, adversarial, and a model's."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from mixdit_sw.formats import LANES
from mixdit_sw.models.diffusion import SamplerConfig, capture_block
from mixdit_sw.models.load import load_dit

ROWS = 128
LENGTHS = (1152, 4608)

Pair = tuple[np.ndarray, np.ndarray]
"""A (M, K) and B (N, K)."""
Maker = Callable[[np.random.Generator, int], Pair]


def normal(rng: np.random.Generator, k: int) -> Pair:
    """Return two N(0, 1) matrices."""
    return rng.standard_normal((ROWS, k)), rng.standard_normal((ROWS, k))


def varying(rng: np.random.Generator, k: int) -> Pair:
    """Return N(0, s) with s = |N(0, 1)| for each row of a K-block."""
    pair = normal(rng, k)
    blocks = (ROWS, k // LANES)
    a, b = (x * np.abs(rng.standard_normal(blocks)).repeat(LANES, axis=1) for x in pair)
    return a, b


def outliers(factor: float) -> Maker:
    """Return a maker of N(0, 1) with 1 % of A's channels `factor` times as large."""

    def make(rng: np.random.Generator, k: int) -> Pair:
        a, b = normal(rng, k)
        a[:, rng.choice(k, k // 100, replace=False)] *= factor
        return a, b

    return make


def huge_first(bits: int) -> Maker:
    """Return a maker of a first K-block 2**bits times as large as the others."""

    def make(rng: np.random.Generator, k: int) -> Pair:
        a, b = normal(rng, k)
        a[:, :LANES] *= 2.0**bits
        return a, b

    return make


def cancelling(bits: int, first: int, second: int) -> Maker:
    """Return a maker of two K-blocks 2**bits times as large as the others, of sum zero."""

    def make(rng: np.random.Generator, k: int) -> Pair:
        a, b = normal(rng, k)
        blocks_a, blocks_b = a.reshape(ROWS, -1, LANES), b.reshape(ROWS, -1, LANES)
        blocks_a[:, first] *= 2.0**bits
        blocks_a[:, second] = -blocks_a[:, first]
        blocks_b[:, second] = blocks_b[:, first]
        return a, b

    return make


def alternating(bits: int) -> Maker:
    """Return a maker whose every other K-block is 2**bits times as large."""

    def make(rng: np.random.Generator, k: int) -> Pair:
        a, b = normal(rng, k)
        a.reshape(ROWS, -1, LANES)[:, ::2] *= 2.0**bits
        return a, b

    return make


DATA: dict[str, Maker] = {
    "N(0, 1)": normal,
    "N(0, s), s differs by block": varying,
    "1 % of channels x 30": outliers(30.0),
    "1 % of channels x 100": outliers(100.0),
    "1 % of channels x 1000": outliers(1000.0),
    "huge block first, 2^10": huge_first(10),
    "huge block first, 2^20": huge_first(20),
    "first two blocks cancel, 2^20": cancelling(20, 0, 1),
    "first two blocks cancel, 2^30": cancelling(30, 0, 1),
    "last two blocks cancel, 2^14": cancelling(14, -2, -1),
    "last two blocks cancel, 2^20": cancelling(20, -2, -1),
    "last two blocks cancel, 2^22": cancelling(22, -2, -1),
    "last two blocks cancel, 2^30": cancelling(30, -2, -1),
    "first and last block cancel, 2^20": cancelling(20, 0, -1),
    "high and low blocks in turn, 2^7": alternating(7),
    "high and low blocks in turn, 2^12": alternating(12),
}


def real_layers(steps: Sequence[int]) -> dict[str, list[Pair]]:
    """Return what the blocks of the shipped model multiply at some of 50 denoising steps."""
    bundle = load_dit()
    found: dict[str, list[Pair]] = {}
    for step in steps:
        for block in range(bundle.model.config.depth):
            gemms = capture_block(
                bundle.model, block, step, torch.tensor((7, 8)), bundle.schedule, SamplerConfig()
            )
            for gemm in gemms.values():
                pairs = list(zip(gemm.a, gemm.b, strict=True))
                found.setdefault(f"{gemm.name}, step {step}", []).extend(pairs)
    return found
