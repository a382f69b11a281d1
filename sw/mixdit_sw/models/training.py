"""Training of the diffusion model: batches, moving average, checkpoints and the loop.

Every random choice of step n comes from a generator seeded by (seed, n), so a resumed run needs no
generator state and ends with the same bits as an uninterrupted one on the same machine.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mixdit_sw.errors import MixditError
from mixdit_sw.files import write_atomically
from mixdit_sw.models.data import Split, to_signed
from mixdit_sw.models.dit import DiT, DiTConfig
from mixdit_sw.models.ema import Ema
from mixdit_sw.models.schedule import Schedule

EVAL_SEED = 2**40
"""Seed of the noise used for held-out losses; no training step uses it."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Hyperparameters of a run.

    Attributes
    ----------
    steps : int
        Optimizer steps of the whole run; the learning rate reaches zero at the last.
    batch : int
        Images per step.
    lr : float
        Peak learning rate of AdamW.
    warmup : int
        Steps of linear warm-up; cosine decay follows.
    weight_decay : float
        Decoupled weight decay.
    grad_clip : float
        Largest norm of the gradient.
    ema_decay : float
        Decay of the moving average of the weights.
    label_dropout : float
        Share of labels replaced by "no class" (Ho and Salimans, arXiv:2207.12598, algorithm 1).
    flip : bool
        Mirror half of the images.
    seed : int
        Seed of the initial weights and of every step.
    """

    steps: int = 10000
    batch: int = 32
    lr: float = 8e-4
    warmup: int = 300
    weight_decay: float = 0.01
    grad_clip: float = 1.0
    ema_decay: float = 0.999
    label_dropout: float = 0.1
    flip: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1:
            raise MixditError(f"steps and batch must be positive, not {self.steps}, {self.batch}")
        if not 0 <= self.label_dropout < 1 or not 0 <= self.ema_decay < 1:
            raise MixditError(
                "label_dropout and ema_decay must be in [0, 1), "
                f"not {self.label_dropout}, {self.ema_decay}"
            )


class Trainer:
    """State of a run: model, optimizer, moving average and step.

    Parameters
    ----------
    model_config, schedule, config
        What to train and how.
    """

    def __init__(self, model_config: DiTConfig, schedule: Schedule, config: TrainConfig) -> None:
        torch.manual_seed(config.seed)
        self.model_config = model_config
        self.schedule = schedule
        self.config = config
        self.model = DiT(model_config)
        self.ema = Ema(self.model, config.ema_decay)
        self.trainable = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.trainable, lr=config.lr, betas=(0.9, 0.99), weight_decay=config.weight_decay
        )
        self.step = 0
        self.seconds = 0.0

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that defines the run, as plain JSON values."""
        return {
            "model": asdict(self.model_config),
            "schedule": asdict(self.schedule),
            "train": asdict(self.config),
        }

    def train_step(self, data: Split) -> float:
        """Take one optimizer step on images drawn from `data`; return its loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.step)
        inputs = draw_batch(data, self.config, self.schedule, self.model_config, self.step)
        loss = functional.mse_loss(self.model(*inputs[:3]), inputs[3])
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.trainable, self.config.grad_clip)
        self.optimizer.step()
        self.ema.update(self.model)
        self.step += 1
        return loss.item()

    def averaged_model(self) -> DiT:
        """Build a model in evaluation mode that holds the moving average."""
        model = DiT(self.model_config)
        model.load_state_dict(self.ema.state)
        return model.eval()

    def save(self, path: Path) -> None:
        """Write a checkpoint atomically."""
        state = {
            "settings": self.settings,
            "step": self.step,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state,
            "ema_updates": self.ema.updates,
        }
        write_atomically(path, lambda partial: torch.save(state, partial))

    def restore(self, path: Path) -> None:
        """Continue from a checkpoint.

        Raises
        ------
        MixditError
            If the checkpoint is missing, damaged or belongs to a run with other settings.
        """
        try:
            state = torch.load(path, weights_only=True)
        except FileNotFoundError:
            raise MixditError(f"checkpoint {path} does not exist: train first") from None
        except (OSError, EOFError, RuntimeError, UnpicklingError):
            raise MixditError(f"checkpoint {path} cannot be read: remove it") from None
        if state["settings"] != self.settings:
            raise MixditError(
                f"{path} was made with other settings: pass the same options or remove it"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema.state = state["ema"]
        self.ema.updates = state["ema_updates"]
        self.step = state["step"]
        self.seconds = state["seconds"]


def learning_rate(config: TrainConfig, step: int) -> float:
    """Compute the learning rate of a step: linear warm-up, then cosine decay to zero."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.lr * 0.5 * (1 + math.cos(math.pi * progress))


def draw_batch(
    data: Split, config: TrainConfig, schedule: Schedule, model_config: DiTConfig, step: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw (x_t, t, labels, target) of a step.

    Timesteps are stratified over the batch, which lowers the variance of the loss.
    """
    rng = torch.Generator().manual_seed(config.seed * 2**20 + step)
    count = config.batch
    index = torch.randint(len(data.labels), (count,), generator=rng)
    x0, labels = to_signed(data.images[index]), data.labels[index]
    if config.flip:
        mirrored = torch.rand(count, 1, 1, 1, generator=rng) < 0.5
        x0 = torch.where(mirrored, x0.flip(-1), x0)
    dropped = torch.rand(count, generator=rng) < config.label_dropout
    labels = torch.where(dropped, model_config.null_label, labels)
    t = _stratified(count, schedule.timesteps, rng)
    eps = torch.randn(x0.shape, generator=rng)
    return schedule.add_noise(x0, eps, t), t, labels, schedule.target(x0, eps, t)


def _stratified(count: int, timesteps: int, rng: torch.Generator) -> Tensor:
    """Draw `count` timesteps, one from each of `count` equal parts of the range."""
    position = (torch.arange(count) + torch.rand(count, generator=rng)) / count
    return (position * timesteps).long().clamp(max=timesteps - 1)


@torch.no_grad()
def held_out_loss(model: DiT, schedule: Schedule, data: Split, batch: int = 256) -> float:
    """Compute the mean loss on all of `data` with fixed noise and timesteps and true labels."""
    rng = torch.Generator().manual_seed(EVAL_SEED)
    total = 0.0
    for start in range(0, len(data.labels), batch):
        x0 = to_signed(data.images[start : start + batch])
        labels = data.labels[start : start + batch]
        t = _stratified(len(labels), schedule.timesteps, rng)
        eps = torch.randn(x0.shape, generator=rng)
        output = model(schedule.add_noise(x0, eps, t), t, labels)
        loss = functional.mse_loss(output, schedule.target(x0, eps, t))
        total += loss.item() * len(labels)
    return total / len(data.labels)


@dataclass(frozen=True, kw_only=True)
class Cadence:
    """How often the loop reports, evaluates and saves.

    Attributes
    ----------
    log_steps, eval_steps : int
        Steps between log lines, and between held-out losses (a multiple of `log_steps`).
    save_seconds : float
        Wall-clock seconds between checkpoints; an interruption loses no more than this.
    """

    log_steps: int = 50
    eval_steps: int = 250
    save_seconds: float = 45.0


def run(
    trainer: Trainer,
    train: Split,
    held_out: Split,
    folder: Path,
    cadence: Cadence,
    report: Callable[[dict[str, Any]], None] = lambda row: None,
) -> None:
    """Train to the last step, continuing from `folder/checkpoint.pt` if there is one.

    Writes `checkpoint.pt` and `log.jsonl` in `folder`; lines of steps after the checkpoint that is
    resumed from are dropped. `report` is called with each new line of the log.
    """
    checkpoint, log = folder / "checkpoint.pt", folder / "log.jsonl"
    if checkpoint.exists():
        trainer.restore(checkpoint)
    rows = [row for row in read_log(log) if row["step"] <= trainer.step]
    losses: list[float] = []
    saved = mark = time.monotonic()
    while trainer.step < trainer.config.steps:
        losses.append(trainer.train_step(train))
        now = time.monotonic()
        trainer.seconds, mark = trainer.seconds + now - mark, now
        last = trainer.step == trainer.config.steps
        if last or trainer.step % cadence.log_steps == 0:
            rows.append(_log_row(trainer, losses, held_out, cadence, last))
            losses = []
            report(rows[-1])
        if last or now - saved > cadence.save_seconds:
            write_log(log, rows)
            trainer.save(checkpoint)
            saved = now


def _log_row(
    trainer: Trainer, losses: list[float], held_out: Split, cadence: Cadence, last: bool
) -> dict[str, Any]:
    """Describe the steps since the last line of the log."""
    evaluate = last or trainer.step % cadence.eval_steps == 0
    return {
        "step": trainer.step,
        "loss": round(sum(losses) / len(losses), 6),
        "eval_loss": round(held_out_loss(trainer.averaged_model(), trainer.schedule, held_out), 6)
        if evaluate
        else None,
        "lr": round(learning_rate(trainer.config, trainer.step - 1), 9),
        "seconds": round(trainer.seconds, 1),
    }


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read a log of JSON lines; a missing file is an empty log."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_log(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a log of JSON lines atomically."""
    text = "".join(json.dumps(row) + "\n" for row in rows)
    write_atomically(path, lambda partial: partial.write_text(text))
