"""Train the diffusion model on Fashion-MNIST: `python -m mixdit_sw.models.train`."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from mixdit_sw.errors import MixditError
from mixdit_sw.models.data import DATA_DIR, Split, load_split
from mixdit_sw.models.dit import DiTConfig
from mixdit_sw.models.load import DIT_WEIGHTS, save_dit
from mixdit_sw.models.schedule import KINDS, PREDICTIONS, Schedule
from mixdit_sw.models.training import Cadence, TrainConfig, Trainer, read_log, run

DEFAULT_FOLDER = Path("build/train")


def export(trainer: Trainer, folder: Path, path: Path) -> None:
    """Write the averaged weights as FP16 to `path` and the log beside them."""
    rows = read_log(folder / "log.jsonl")
    evaluated = [row["eval_loss"] for row in rows if row["eval_loss"] is not None]
    facts = {
        "steps": trainer.step,
        "seed": trainer.config.seed,
        "loss": rows[-1]["loss"] if rows else None,
        "eval_loss": evaluated[-1] if evaluated else None,
        "seconds": round(trainer.seconds),
        "train": asdict(trainer.config),
    }
    save_dit(path, trainer.averaged_model(), trainer.schedule, facts)
    if rows:
        shutil.copyfile(folder / "log.jsonl", path.with_suffix(".jsonl"))


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line; defaults are those of the shipped model."""
    parser = argparse.ArgumentParser(prog="python -m mixdit_sw.models.train", description=__doc__)
    train, schedule = TrainConfig(), Schedule()
    parser.add_argument("--steps", type=int, default=train.steps)
    parser.add_argument("--batch", type=int, default=train.batch)
    parser.add_argument("--lr", type=float, default=train.lr, help="peak learning rate")
    parser.add_argument("--ema", type=float, default=train.ema_decay, help="EMA decay")
    parser.add_argument("--seed", type=int, default=train.seed)
    parser.add_argument("--schedule", choices=KINDS, default=schedule.kind)
    parser.add_argument("--prediction", choices=PREDICTIONS, default=schedule.prediction)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--held-out", type=int, default=1000, help="test images for eval_loss")
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="checkpoint and log")
    parser.add_argument("--data", type=Path, default=DATA_DIR)
    parser.add_argument("--out", type=Path, default=DIT_WEIGHTS)
    parser.add_argument(
        "--export-only", action="store_true", help="export the checkpoint as it is, train nothing"
    )
    return parser


def train_and_export(options: argparse.Namespace) -> None:
    """Run or resume the training, then write the weight file.

    Raises
    ------
    MixditError
        If the data is missing or damaged, or an option or the checkpoint does not fit.
    """
    config = TrainConfig(
        steps=options.steps,
        batch=options.batch,
        lr=options.lr,
        ema_decay=options.ema,
        seed=options.seed,
    )
    schedule = Schedule(kind=options.schedule, prediction=options.prediction)
    trainer = Trainer(DiTConfig(), schedule, config)
    if options.export_only:
        trainer.restore(options.folder / "checkpoint.pt")
    else:
        train, test = load_split("train", options.data), load_split("t10k", options.data)
        held_out = Split(
            images=test.images[: options.held_out], labels=test.labels[: options.held_out]
        )
        run(trainer, train, held_out, options.folder, Cadence(), _report(config.steps))
    export(trainer, options.folder, options.out)
    print(f"wrote {options.out} after {trainer.step} steps")


def _report(steps: int) -> Any:
    """Make a function that prints a line of the log with the time left."""

    def show(row: dict[str, Any]) -> None:
        left = row["seconds"] / row["step"] * (steps - row["step"])
        held_out = "" if row["eval_loss"] is None else f"  held-out {row['eval_loss']:.4f}"
        print(
            f"step {row['step']}/{steps}  loss {row['loss']:.4f}{held_out}  "
            f"{row['seconds'] / 60:.1f} min, {left / 60:.1f} min left",
            flush=True,
        )

    return show


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 2 for bad input, 130 if interrupted."""
    options = build_parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        train_and_export(options)
    except MixditError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: the same command continues from the last checkpoint", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
