"""QSNR of an accumulator kind, measured once and kept in the build folder."""

import json
from pathlib import Path

from mixdit_hw.tools import cached_folder, content_key
from mixdit_sw.gemm.kinds import parse_kind

SEED = 0
STEP = 0
"""Denoising step whose layers are multiplied."""
REFERENCE = "fp32"
DIGITS = 4
"""Decimals of a QSNR."""

Quality = dict[str, dict[str, float]]
"""QSNR in dB by pair of formats, by data."""


def measure_kind(kind: str, sources: str) -> tuple[Quality, Quality]:
    """Return the QSNR of a kind on the layers of the shipped model, and on trial data.

    Results are cached by the kind and a hash of the sources that they depend on.

    Raises
    ------
    ModuleNotFoundError
        When torch is not installed.
    """

    def fill(folder: Path) -> None:
        (folder / "qsnr.json").write_text(json.dumps(_measure(kind)))

    folder = cached_folder("quality", content_key(kind, sources), fill)
    layers, trials = json.loads((folder / "qsnr.json").read_text())
    return layers, trials


def summarize(kind: str, pairs: list[str], sources: str) -> tuple[dict[str, float], float]:
    """Return the mean QSNR over the model's GEMMs by pair of formats, and the largest loss.

    The loss is how many dB the kind is below `fp32`, where this is most: over all data and pairs.
    """
    layers, trials = measure_kind(kind, sources)
    reference = measure_kind(REFERENCE, sources)
    means = {
        pair: round(sum(row[pair] for row in layers.values()) / len(layers), DIGITS)
        for pair in pairs
    }
    losses = [
        of_reference[data][pair] - of_kind[data][pair]
        for of_kind, of_reference in zip((layers, trials), reference, strict=True)
        for data in of_kind
        for pair in pairs
    ]
    return means, round(max(losses), DIGITS)


def _measure(kind: str) -> tuple[Quality, Quality]:
    # Torch is not needed for anything else in a sweep.
    import numpy as np
    import torch

    from mixdit_sw.quality.accumulators import PAIRS, measure
    from mixdit_sw.quality.trials import DATA, LENGTHS, Pair, real_layers

    torch.set_num_threads(1)
    names = [f"{a.name}x{b.name}" for a, b in PAIRS]

    def quality(pairs: list[Pair]) -> dict[str, float]:
        values = measure(pairs, [parse_kind(kind)])[:, 0]
        # What is rounded away here may depend on a machine's float64 product.
        return dict(zip(names, (round(float(x), DIGITS) for x in values), strict=True))

    rng = np.random.default_rng(SEED)
    trials = {
        f"{name}, K = {k}": quality([make(rng, k)]) for name, make in DATA.items() for k in LENGTHS
    }
    return {name: quality(pairs) for name, pairs in real_layers((STEP,)).items()}, trials
