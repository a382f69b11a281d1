"""Sampling: DDIM with classifier-free guidance, and the GEMM operands of a block on the way.

DDIM: Song et al. (arXiv:2010.02502), equation 12 with sigma = 0, so the only randomness is the
initial noise. Guidance: Ho and Salimans (arXiv:2207.12598), equation 6, written as in the DiT paper
(section 3.1): output = uncond + scale * (cond - uncond).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from mixdit_sw.errors import MixditError
from mixdit_sw.models.dit import GEMM_NAMES, DiT, DiTConfig
from mixdit_sw.models.schedule import Schedule


class Denoiser(Protocol):
    """What the sampler needs of a model: its shape and a prediction of (x, t, labels)."""

    config: DiTConfig

    def __call__(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """Predict for noisy images (S, C, H, W), timesteps (S,) and labels (S,)."""
        ...


@dataclass(frozen=True, kw_only=True)
class SamplerConfig:
    """Settings of the sampler.

    Attributes
    ----------
    steps : int
        Denoising steps, 2 to the number of timesteps of the schedule.
    cfg_scale : float
        Guidance scale; 1 means no guidance and halves the work.
    seed : int
        Seed of the initial noise, at least 0.

    Raises
    ------
    MixditError
        If a value is out of range.
    """

    steps: int = 50
    cfg_scale: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.steps, int) or self.steps < 2:
            raise MixditError(f"sampler steps must be an integer of at least 2, not {self.steps!r}")
        if not self.cfg_scale >= 0:
            raise MixditError(f"sampler cfg_scale must be at least 0, not {self.cfg_scale!r}")
        if not isinstance(self.seed, int) or not 0 <= self.seed < 2**40:
            raise MixditError(f"sampler seed must be an integer in [0, 2**40), not {self.seed!r}")


@dataclass(frozen=True, kw_only=True)
class BlockGemm:
    """Operands of one of the six matrix products of a block.

    The product is C[g] = A[g] @ B[g].T; a linear adds `bias` to each row of C afterwards.

    Attributes
    ----------
    name : str
        "qkv", "qk", "av", "proj", "fc1" or "fc2".
    a : ndarray
        float32 (G, M, K). Linears: G = 1 and M = samples * tokens. Attention: G = samples * heads,
        sample by sample, and M = tokens.
    b : ndarray
        float32 (G, N, K): the weight of a linear, K for `qk`, the transpose of V for `av`.
    bias : ndarray or None
        float32 (N,) for a linear, None for attention.
    """

    name: str
    a: np.ndarray
    b: np.ndarray
    bias: np.ndarray | None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Value of (G, M, N, K)."""
        return (*self.a.shape[:2], *self.b.shape[1:])

    @property
    def macs(self) -> int:
        """Multiply-adds of all G products."""
        groups, rows, columns, inner = self.shape
        return groups * rows * columns * inner


def timestep_sequence(schedule: Schedule, steps: int) -> list[int]:
    """Choose the timesteps of a run: evenly spaced from the noisiest to 0, both included.

    Raises
    ------
    MixditError
        If there are more steps than timesteps.
    """
    if steps > schedule.timesteps:
        raise MixditError(f"sampler steps must be at most {schedule.timesteps}, not {steps}")
    return torch.linspace(schedule.timesteps - 1, 0, steps).round().long().tolist()


def initial_noise(config: DiTConfig, count: int, seed: int, first: int = 0) -> Tensor:
    """Draw the noise of samples `first` to `first + count`, float32 (count, C, H, W).

    Sample i has a generator of its own, so its noise does not depend on how samples are batched.
    """
    shape = (config.channels, config.image_size, config.image_size)
    rngs = (torch.Generator().manual_seed(seed * 2**20 + first + i) for i in range(count))
    return torch.stack([torch.randn(shape, generator=rng) for rng in rngs])


def guided_output(model: Denoiser, x: Tensor, t: Tensor, labels: Tensor, scale: float) -> Tensor:
    """Evaluate the model with guidance on `x` (S, C, H, W).

    With guidance the model sees one batch of 2S samples: S with their labels, then S with none.
    """
    if scale == 1:
        return model(x, t, labels)
    nulls = torch.full_like(labels, model.config.null_label)
    both = model(torch.cat([x, x]), torch.cat([t, t]), torch.cat([labels, nulls]))
    conditional, unconditional = both.chunk(2)
    return unconditional + scale * (conditional - unconditional)


def ddim_step(schedule: Schedule, x: Tensor, output: Tensor, t: int, t_next: int | None) -> Tensor:
    """Move `x` (S, C, H, W) from timestep `t` to `t_next`, or to the clean image for None.

    The estimate of the clean image is clipped to [-1, 1], and the noise estimate made to agree.
    """
    now = torch.full((len(x),), t, device=x.device)
    x0 = schedule.split(x, output, now)[0].clamp(-1, 1)
    if t_next is None:
        return x0
    alpha, sigma = schedule.levels(now)
    alpha_next, sigma_next = schedule.levels(torch.full_like(now, t_next))
    return alpha_next * x0 + sigma_next * (x - alpha * x0) / sigma


def trajectory(
    model: Denoiser, schedule: Schedule, labels: Tensor, x: Tensor, config: SamplerConfig
) -> Iterator[tuple[int, Tensor]]:
    """Denoise `x` (S, C, H, W) step by step.

    Yields (t, x) before each step, x being the input of the model at timestep t, then (-1, clean
    images). The model is evaluated only as far as the iterator is advanced.
    """
    times = timestep_sequence(schedule, config.steps)
    for t, t_next in zip(times, [*times[1:], None], strict=True):
        yield t, x
        batch_t = torch.full((len(x),), t, device=x.device)
        output = guided_output(model, x, batch_t, labels, config.cfg_scale)
        x = ddim_step(schedule, x, output, t, t_next)
    yield -1, x


@torch.no_grad()
def sample(
    model: Denoiser,
    labels: Tensor,
    schedule: Schedule,
    config: SamplerConfig,
    batch: int = 100,
    progress: Callable[[int], Any] = lambda done: None,
) -> Tensor:
    """Generate one image per label; the same arguments give the same bits on the same machine.

    Parameters
    ----------
    model : Denoiser
        Model in evaluation mode, on the device of `labels`.
    labels : Tensor
        Requested classes, int64 (S,).
    schedule : Schedule
        The schedule that the model was trained with.
    config : SamplerConfig
        Steps, guidance scale and seed.
    batch : int
        Images denoised at a time.
    progress : callable
        Called with the number of finished images after each batch.

    Returns
    -------
    Tensor
        Images, float32 (S, C, H, W) in [-1, 1].

    Raises
    ------
    MixditError
        If a label is no class of the model or there are more steps than timesteps.
    """
    _check_labels(model, labels)
    images = []
    for start in range(0, len(labels), batch):
        part = labels[start : start + batch]
        x = initial_noise(model.config, len(part), config.seed, start).to(labels.device)
        *_, (_, clean) = trajectory(model, schedule, part, x, config)
        images.append(clean)
        progress(start + len(part))
    return torch.cat(images)


@torch.no_grad()
def capture_block(
    model: DiT,
    block_index: int,
    step: int,
    labels: Tensor,
    schedule: Schedule,
    config: SamplerConfig,
) -> dict[str, BlockGemm]:
    """Run the sampler to a step and record the operands of a block's six GEMMs there.

    Parameters
    ----------
    model : DiT
        FP32 model in evaluation mode.
    block_index : int
        Block, 0 to depth - 1.
    step : int
        Denoising step, 0 (pure noise) to `config.steps` - 1.
    labels : Tensor
        Requested classes, int64 (S,). With guidance the batch is 2S samples, the second half
        without class.
    schedule, config
        As for `sample`.

    Returns
    -------
    dict
        The GEMMs by name, in the order in which they run.

    Raises
    ------
    MixditError
        If the block, the step or a label does not exist.
    """
    _check_labels(model, labels)
    for name, value, limit in (
        ("block", block_index, len(model.blocks)),
        ("step", step, config.steps),
    ):
        if not 0 <= value < limit:
            raise MixditError(f"{name} must be in 0..{limit - 1}, not {value}")
    noise = initial_noise(model.config, len(labels), config.seed).to(labels.device)
    t, x = next(islice(trajectory(model, schedule, labels, noise, config), step, None))
    times = torch.full((len(x),), t, device=x.device)
    gemms: dict[str, BlockGemm] = {}
    block = model.blocks[block_index]
    hooks = [
        block.get_submodule(name).register_forward_pre_hook(_recorder(name, gemms))
        for name in GEMM_NAMES
    ]
    try:
        guided_output(model, x, times, labels, config.cfg_scale)
    finally:
        for hook in hooks:
            hook.remove()
    return gemms


def _check_labels(model: Denoiser, labels: Tensor) -> None:
    if labels.ndim != 1 or not len(labels):
        raise MixditError(f"labels must be a non-empty vector, not of shape {tuple(labels.shape)}")
    if labels.min() < 0 or labels.max() >= model.config.classes:
        raise MixditError(
            f"labels must be in 0..{model.config.classes - 1}, not {labels.unique().tolist()}"
        )


def _recorder(path: str, gemms: dict[str, BlockGemm]) -> Callable[[nn.Module, Any], None]:
    """Make a hook that stores the operands of the module at `path` of a block."""
    name = path.split(".")[1]

    def record(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if isinstance(module, nn.Linear):
            a, b = inputs[0].flatten(0, -2).unsqueeze(0), module.weight.unsqueeze(0)
            bias = _to_numpy(module.bias)
        else:
            a, b = (operand.flatten(0, -3) for operand in inputs)
            bias = None
        gemms[name] = BlockGemm(name=name, a=_to_numpy(a), b=_to_numpy(b), bias=bias)

    return record


def _to_numpy(value: Tensor) -> np.ndarray:
    return value.detach().float().cpu().contiguous().numpy().copy()
