"""QSNR of every format on four kinds of data: the table and the picture of docs/formats.md.

python -m bench.formats [--image docs/img/formats.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from mixdit_sw.codec.fake import fake_quantize
from mixdit_sw.formats import FORMATS, get_format
from mixdit_sw.metrics import qsnr_db

ROWS, K = 512, 1152
NAMES = [name for name in FORMATS if not name.startswith("int4_asym")] + [
    f"int4_asym{group}" for group in ("_g32", "", "_row")
]


def data(seed: int = 0) -> dict[str, np.ndarray]:
    """Return float32 (ROWS, K) of each kind; rows are vectors, as in Rouhani et al., section 4."""
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal((ROWS, K))
    outliers = normal.copy()
    outliers[:, rng.choice(K, K // 100, replace=False)] *= 30.0
    kinds = {
        "N(0, 1)": normal,
        "N(0, s), s = abs(N(0, 1)) by row": normal * np.abs(rng.standard_normal((ROWS, 1))),
        "Laplace": rng.laplace(size=(ROWS, K)),
        "N(0, 1), 1 % of channels x 30": outliers,
    }
    return {name: x.astype(np.float32) for name, x in kinds.items()}


def measure() -> dict[str, list[float]]:
    """Return the QSNR in dB of each format, in the order of `data`."""
    tensors = list(data().values())
    result = {}
    for name in NAMES:
        fmt = get_format(name)
        pairs = [(x, fake_quantize(torch.from_numpy(x), fmt).numpy()) for x in tensors]
        result[name] = [qsnr_db(*pair) or float("inf") for pair in pairs]
    return result


def table(result: dict[str, list[float]]) -> str:
    """Format the figures for people."""
    lines = [
        f"| format | bits | digits | {' | '.join(data())} |",
        "|---|--:|--:|" + "--:|" * len(data()),
    ]
    for name, values in result.items():
        fmt = get_format(name)
        bits = f"{fmt.bits_per_element(K):.2f}"
        cells = " | ".join(f"{x:.1f}" for x in values)
        lines.append(f"| `{name}` | {bits} | {fmt.digits or '-'} | {cells} |")
    return "\n".join(lines)


def draw(result: dict[str, list[float]], image: Path) -> None:
    """Plot QSNR, a line for each format from few bits to many, a mark for each kind of data."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    bits = {name: get_format(name).bits_per_element(K) for name in result}
    names = sorted(result, key=lambda name: (bits[name], result[name][0]))
    figure, axes = pyplot.subplots(figsize=(9, 8), constrained_layout=True)
    for n, (kind, mark) in enumerate(zip(data(), "osDX", strict=True)):
        values = [result[name][n] for name in names]
        axes.scatter(values, range(len(names)), marker=mark, s=45, label=kind, alpha=0.8, zorder=3)
    for y, name in enumerate(names):
        axes.hlines(y, min(result[name]), max(result[name]), color="grey", linewidth=1)
    axes.set_yticks(range(len(names)), [f"{name}   {bits[name]:5.2f} bit" for name in names])
    axes.set_xlabel("QSNR, dB")
    axes.set_title("Quality of the formats; stored bits include scales (rows of 1152)", fontsize=10)
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3)
    image.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(image, dpi=100, metadata={"Software": None})


def main() -> None:
    """Print the table, draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--image", type=Path, help="picture to draw")
    args = parser.parse_args()
    result = measure()
    print(table(result))
    if args.image:
        draw(result, args.image)


if __name__ == "__main__":
    main()
