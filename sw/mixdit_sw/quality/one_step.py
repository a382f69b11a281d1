"""A quick measure of a policy: errors of single predictions, along the float model's own path.

Sampling carries errors from step to step, so it needs many images before a small difference shows.
Here every step starts from the float model's image: the errors are those of one evaluation, and few
images are enough to put policies in order.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mixdit_sw.errors import MixditError
from mixdit_sw.models.diffusion import (
    SamplerConfig,
    ddim_step,
    guided_output,
    initial_noise,
    trajectory,
)
from mixdit_sw.models.load import DiTBundle
from mixdit_sw.quality.guard import Guarded


@dataclass(frozen=True, kw_only=True)
class OneStepConfig:
    """What is predicted.

    Attributes
    ----------
    images : int
        Images, cycling through the classes.
    steps : int
        Denoising steps of the float model's path.
    cfg_scale : float
        Guidance scale.
    seed : int
        Seed of the noise; by default neither a calibration's nor a study's.
    """

    images: int = 20
    steps: int = 5
    cfg_scale: float = 2.0
    seed: int = 2**31

    def __post_init__(self) -> None:
        if not isinstance(self.images, int) or self.images < 1:
            raise MixditError(f"One-step images must be a positive integer, not {self.images!r}")
        self.sampler()

    def sampler(self) -> SamplerConfig:
        """Return the settings of the float model's sampler."""
        return SamplerConfig(steps=self.steps, cfg_scale=self.cfg_scale, seed=self.seed)


class OneStep:
    """The float model's path, and how far a quantized model's predictions along it are off.

    What is compared is the clean image that a prediction stands for, so that a step counts as much
    as it moves the image.

    Parameters
    ----------
    bundle : DiTBundle
        Float model; it is quantized in place while `distance` is asked.
    config : OneStepConfig
        What is predicted.
    """

    @torch.no_grad()
    def __init__(self, bundle: DiTBundle, config: OneStepConfig) -> None:
        self.bundle, self.config = bundle, config
        device = bundle.model.pos_embed.device
        self._labels = torch.arange(config.images, device=device) % bundle.model.config.classes
        noise = initial_noise(bundle.model.config, config.images, config.seed).to(device)
        path = trajectory(bundle.model, bundle.schedule, self._labels, noise, config.sampler())
        inputs = [(t, x) for t, x in path if t >= 0]
        self._steps = [(t, x, self._clean(t, x)) for t, x in inputs]

    @torch.no_grad()
    def distance(self) -> float:
        """Return the root of the mean squared difference of clean images, pixels of range 2.

        Raises
        ------
        NotFiniteError
            When a layer's result has NaN or Inf; the message names it.
        """
        errors = [
            float((self._clean(t, x) - wanted).double().square().mean())
            for t, x, wanted in self._steps
        ]
        return (sum(errors) / len(errors)) ** 0.5

    def _clean(self, t: int, x: Tensor) -> Tensor:
        """Predict the clean images behind x at timestep t."""
        model, times = Guarded(self.bundle.model), torch.full((len(x),), t, device=x.device)
        output = guided_output(model, x, times, self._labels, self.config.cfg_scale)
        return ddim_step(self.bundle.schedule, x, output, t, None)
