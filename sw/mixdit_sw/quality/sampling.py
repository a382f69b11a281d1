"""Samples of one candidate for several seeds, batch by batch, in a folder that can be resumed."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from mixdit_sw.errors import MixditError
from mixdit_sw.files import write_atomically
from mixdit_sw.models.diffusion import SamplerConfig, initial_noise, trajectory
from mixdit_sw.models.load import DiTBundle
from mixdit_sw.quality.guard import Guarded

Progress = Callable[[int, int], Any]
"""Called with the finished images and the number of all."""


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """What is sampled of each candidate.

    Attributes
    ----------
    seeds : tuple of int
        Seeds of the noise; candidates with the same seeds are paired image by image.
    images : int
        Images of each seed, cycling through the classes.
    batch : int
        Images denoised at a time; more need longer each, out of the processor's cache.
    steps, cfg_scale
        As in `SamplerConfig`.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    images: int = 1000
    batch: int = 20
    steps: int = 50
    cfg_scale: float = 2.0

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise MixditError(f"Study seeds must be distinct, and at least one: {self.seeds}")
        for name, least in (("images", 2), ("batch", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise MixditError(
                    f"Study {name} must be an integer of at least {least}, not {value!r}"
                )
        for seed in self.seeds:
            self.sampler(seed)

    def sampler(self, seed: int) -> SamplerConfig:
        """Return the sampler's settings for a seed."""
        return SamplerConfig(steps=self.steps, cfg_scale=self.cfg_scale, seed=seed)

    def settings(self) -> dict[str, Any]:
        """Return what an image depends on besides its seed and number, as JSON values."""
        return {"batch": self.batch, "steps": self.steps, "cfg_scale": self.cfg_scale}

    def labels(self, classes: int) -> Tensor:
        """Return the requested classes, int64 (images,)."""
        return torch.arange(self.images) % classes


def pick_device(name: str | None = None) -> torch.device:
    """Return a device by name; without one a GPU if there is one, else the CPU.

    Raises
    ------
    MixditError
        When it does not exist.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise MixditError(f"Device must be cpu or cuda, not {name!r}") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise MixditError("There is no CUDA device: use --device cpu")
    return device


@torch.no_grad()
def sample_study(
    bundle: DiTBundle,
    config: StudyConfig,
    folder: Path,
    identity: Mapping[str, Any],
    *,
    progress: Progress = lambda done, total: None,
) -> list[Tensor]:
    """Sample every batch of every seed that `folder` does not hold yet.

    Parameters
    ----------
    bundle : DiTBundle
        Model, float or quantized in place, on its device.
    config : StudyConfig
        Seeds and images.
    folder : Path
        One file for each batch; an interruption loses at most the batch in work, and a study of
        more images or seeds takes up the whole batches of a smaller one.
    identity : mapping
        What is sampled, as JSON values: model, policy, calibration. A folder holds one.
    progress : callable
        Called after each batch, read or sampled.

    Returns
    -------
    list of Tensor
        Images of each seed, float32 (images, C, H, W) in [-1, 1], on the CPU.

    Raises
    ------
    NotFiniteError
        When a layer's result has NaN or Inf; the message names it.
    MixditError
        When the folder holds something else.
    """
    _check_folder(folder, {"study": config.settings(), **identity})
    labels = config.labels(bundle.model.config.classes)
    found, total, done = [], len(config.seeds) * config.images, 0
    for seed in config.seeds:
        batches = []
        for start in range(0, config.images, config.batch):
            part = labels[start : start + config.batch]
            path = folder / f"seed{seed}_image{start:06d}_{len(part)}.safetensors"
            if path.exists():
                images = _read(path, len(part))
            else:
                images = _sample_batch(bundle, config.sampler(seed), part, start)
                _write(path, images)
            batches.append(images)
            done += len(part)
            progress(done, total)
        found.append(torch.cat(batches))
    return found


def _sample_batch(bundle: DiTBundle, sampler: SamplerConfig, labels: Tensor, first: int) -> Tensor:
    device = bundle.model.pos_embed.device
    noise = initial_noise(bundle.model.config, len(labels), sampler.seed, first).to(device)
    model = Guarded(bundle.model)
    *_, (_, clean) = trajectory(model, bundle.schedule, labels.to(device), noise, sampler)
    return clean.cpu().contiguous()


def _check_folder(folder: Path, identity: Mapping[str, Any]) -> None:
    """Note in a new folder what it is for; check it in an old one."""
    path = folder / "identity.json"
    text = json.dumps(identity, indent=1, sort_keys=True) + "\n"
    if path.exists():
        if path.read_text() != text:
            raise MixditError(f"{folder} holds samples of something else: remove it or use another")
        return
    write_atomically(path, lambda partial: partial.write_text(text))


def _write(path: Path, images: Tensor) -> None:
    content = save({"images": images})
    write_atomically(path, lambda partial: partial.write_bytes(content))


def _read(path: Path, count: int) -> Tensor:
    try:
        images = load_file(path)["images"]
    except (SafetensorError, OSError, KeyError):
        raise MixditError(f"{path} is damaged: remove it") from None
    if len(images) != count:
        raise MixditError(f"{path} holds {len(images)} images, not {count}: remove it")
    return images
