"""Compare the QSNR of accumulator kinds against a float64 GEMM of the original tensors.

Run `python -m bench accumulators`; it prints the table of docs/numerics.md. Each cell is the least
difference to `fp32`, in dB, over three pairs of formats: below zero is worse than `fp32`.
"""

import argparse

import numpy as np
import torch

from mixdit_sw.gemm.kinds import Fp32, parse_kind
from mixdit_sw.quality.accumulators import measure
from mixdit_sw.quality.trials import DATA, LENGTHS, real_layers

KINDS = ("aligned37", "aligned39", "aligned40", "aligned45", "aligned32x4", "aligned33x4")
STEPS = (0, 25, 49)
TOLERANCE_DB = 0.01


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
    layers = real_layers(STEPS)
    cases += [(name, pairs[0][0].shape[1], lambda p=pairs: p) for name, pairs in layers.items()]
    for name, k, make_pairs in cases:
        values = measure(make_pairs(), [Fp32(), *kinds])
        difference = (values[:, 1:] - values[:, :1]).min(axis=0)
        worst = np.minimum(worst, difference)
        base = " / ".join(f"{x:.2f}" for x in values[:, 0])
        cells = " | ".join(f"{x:+.3f}" for x in difference)
        print(f"| {name} | {k} | {base} | {cells} |", flush=True)
    kept = [str(kind) for kind, least in zip(kinds, worst, strict=True) if least >= -TOLERANCE_DB]
    print(f"\nWithin {TOLERANCE_DB} dB below fp32 everywhere: {', '.join(kept) or 'none'}")


if __name__ == "__main__":
    main()
