"""Score the shipped model and draw its pictures: `python -m mixdit_sw.models.evaluate`."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mixdit_sw.errors import MixditError
from mixdit_sw.files import write_atomically
from mixdit_sw.models.classifier import accuracy, load_classifier
from mixdit_sw.models.data import CLASS_NAMES
from mixdit_sw.models.diffusion import SamplerConfig, sample
from mixdit_sw.models.load import DIT_WEIGHTS, load_dit
from mixdit_sw.models.training import read_log

GRID_ROWS = 8


def even_labels(count: int, classes: int) -> Tensor:
    """Make `count` labels that cycle through the classes, int64 (count,)."""
    return torch.arange(count) % classes


def score(count: int, config: SamplerConfig, weights: Path = DIT_WEIGHTS) -> dict[str, Any]:
    """Sample `count` images and classify them.

    Returns
    -------
    dict
        `accuracy`, `accuracy_by_class` (null for a class without samples), `images` (float32
        (count, 1, 28, 28)), the settings and the time.
    """
    bundle, classifier = load_dit(weights), load_classifier()
    classes = bundle.model.config.classes
    labels = even_labels(count, classes)
    start = time.monotonic()
    images = sample(bundle.model, labels, bundle.schedule, config, progress=_show_progress(count))
    seconds = time.monotonic() - start
    by_class = [
        accuracy(classifier, images[labels == c], labels[labels == c]) if c < count else None
        for c in range(classes)
    ]
    return {
        "images": images,
        "count": count,
        "sampler": asdict(config),
        "accuracy": accuracy(classifier, images, labels),
        "accuracy_by_class": by_class,
        "seconds": round(seconds, 1),
        "training": bundle.facts,
    }


def _show_progress(count: int) -> Any:
    return lambda done: print(f"sampled {done}/{count}", file=sys.stderr, flush=True)


def draw_grid(images: Tensor, path: Path) -> None:
    """Draw samples (S, 1, 28, 28) in [-1, 1], one column per class, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = len(CLASS_NAMES)
    rows = max(1, min(GRID_ROWS, len(images) // columns))
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(columns, rows + 0.3), squeeze=False, layout="constrained"
    )
    for index, axis in enumerate(axes.flat):
        axis.axis("off")
        if index < len(images):
            axis.imshow(images[index, 0].numpy(), cmap="gray", vmin=-1, vmax=1)
        if index < columns:
            axis.set_title(CLASS_NAMES[index], fontsize=8)
    _save_figure(figure, path)


def draw_training(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the losses of a training log over the steps, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(7, 3.5), layout="constrained")
    axis.plot(
        [row["step"] for row in rows], [row["loss"] for row in rows], lw=0.8, label="training"
    )
    held_out = [row for row in rows if row["eval_loss"] is not None]
    axis.plot(
        [row["step"] for row in held_out],
        [row["eval_loss"] for row in held_out],
        label="held out, averaged weights",
    )
    axis.set(xlabel="step", ylabel="v-prediction MSE", yscale="log")
    axis.grid(alpha=0.3, which="both")
    axis.legend()
    _save_figure(figure, path)


def _save_figure(figure: Any, path: Path) -> None:
    from matplotlib import pyplot

    write_atomically(
        path,
        lambda partial: figure.savefig(partial, dpi=100, format="png", metadata={"Software": None}),
    )
    pyplot.close(figure)


def _evaluate(options: argparse.Namespace) -> None:
    config = SamplerConfig(steps=options.steps, cfg_scale=options.cfg, seed=options.seed)
    result = score(options.count, config, options.weights)
    images = result.pop("images")
    print(json.dumps(result, indent=2))
    if options.images is not None:
        draw_grid(images, options.images / "model_samples.png")
        draw_training(
            read_log(options.weights.with_suffix(".jsonl")), options.images / "training.png"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status, 2 for bad input."""
    defaults = SamplerConfig()
    parser = argparse.ArgumentParser(
        prog="python -m mixdit_sw.models.evaluate", description=__doc__
    )
    parser.add_argument("--count", type=int, default=500, help="images to sample and classify")
    parser.add_argument("--steps", type=int, default=defaults.steps, help="denoising steps")
    parser.add_argument("--cfg", type=float, default=defaults.cfg_scale, help="guidance scale")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--weights", type=Path, default=DIT_WEIGHTS)
    parser.add_argument("--images", type=Path, help="folder for model_samples.png, training.png")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        _evaluate(options)
    except MixditError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
