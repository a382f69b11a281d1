"""Compare the QSNR of accumulator kinds against a float64 GEMM of the original tensors.

Run `python -m bench accumulators`; it prints the table of docs/numerics.md. Each cell is the least
difference to `fp32`, in dB, over three pairs of formats: below zero is worse than `fp32`.
"""

import argparse
from collections.abc import Callable

import numpy as np
import torch

from mixdit_sw.formats import LANES, MX6, MX9
from mixdit_sw.gemm.fast import golden_gemm
from mixdit_sw.gemm.kinds import Fp32, Kind, parse_kind
from mixdit_sw.models.diffusion import SamplerConfig, capture_block
from mixdit_sw.models.load import load_dit
from mixdit_sw.operand import quantize_operand

KINDS = ("aligned37", "aligned39", "aligned40", "aligned45", "aligned32x4", "aligned33x4")
PAIRS = ((MX6, MX6), (MX9, MX6), (MX9, MX9))
LENGTHS = (1152, 4608)
ROWS = 128
TOLERANCE_DB = 0.01

Pair = tuple[np.ndarray, np.ndarray]
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


def real_layers() -> dict[str, list[Pair]]:
    """Return what the blocks of the shipped model multiply, first, halfway and last in sampling."""
    bundle = load_dit()
    found: dict[str, list[Pair]] = {}
    for step in (0, 25, 49):
        for block in range(bundle.model.config.depth):
            gemms = capture_block(
                bundle.model, block, step, torch.tensor((7, 8)), bundle.schedule, SamplerConfig()
            )
            for gemm in gemms.values():
                pairs = list(zip(gemm.a, gemm.b, strict=True))
                found.setdefault(f"{gemm.name}, step {step}", []).extend(pairs)
    return found


def qsnr(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return 10 log10 of the power of the references over that of their differences to results."""
    noise = sum(
        np.square(reference - result.astype(np.float64)).sum() for reference, result in pairs
    )
    return float(10 * np.log10(sum(np.square(reference).sum() for reference, _ in pairs) / noise))


def compare(pairs: list[Pair], kinds: list[Kind]) -> np.ndarray:
    """Return the QSNR of `fp32` and then of `kinds` on products, (pairs of formats, 1 + kinds)."""
    singles = [tuple(x.astype(np.float32) for x in pair) for pair in pairs]
    references = [a.astype(np.float64) @ b.astype(np.float64).T for a, b in singles]
    rows = []
    for a_format, b_format in PAIRS:
        blocks = [
            (quantize_operand(a, a_format), quantize_operand(b, b_format)) for a, b in singles
        ]
        row = []
        for kind in (Fp32(), *kinds):
            results = [golden_gemm(qa, qb, kind) for qa, qb in blocks]
            row.append(qsnr(list(zip(references, results, strict=True))))
        rows.append(row)
    return np.array(rows)


def main() -> None:
    """Print the table, and the kinds that are never worse than `fp32` by more than 0.01 dB."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kinds", nargs="+", default=KINDS, help="accumulator kinds")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    kinds = [parse_kind(text) for text in args.kinds]
    rng = np.random.default_rng(args.seed)
    worst = np.full(len(kinds), np.inf)
    print(f"| data | K | fp32, dB | {' | '.join(map(str, kinds))} |")
    print(f"|---|---|---|{'---|' * len(kinds)}")
    cases = [
        (name, k, lambda m=make, k=k: [m(rng, k)]) for name, make in DATA.items() for k in LENGTHS
    ]
    layers = real_layers()
    cases += [(name, pairs[0][0].shape[1], lambda p=pairs: p) for name, pairs in layers.items()]
    for name, k, make_pairs in cases:
        values = compare(make_pairs(), kinds)
        difference = (values[:, 1:] - values[:, :1]).min(axis=0)
        worst = np.minimum(worst, difference)
        base = " / ".join(f"{x:.2f}" for x in values[:, 0])
        cells = " | ".join(f"{x:+.3f}" for x in difference)
        print(f"| {name} | {k} | {base} | {cells} |", flush=True)
    kept = [str(kind) for kind, least in zip(kinds, worst, strict=True) if least >= -TOLERANCE_DB]
    print(f"\nWithin {TOLERANCE_DB} dB below fp32 everywhere: {', '.join(kept) or 'none'}")


if __name__ == "__main__":
    main()
