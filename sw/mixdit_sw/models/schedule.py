"""Noise schedule and training targets of the diffusion process."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mixdit_sw.errors import MixditError

PREDICTIONS = ("v", "eps")
KINDS = ("cosine", "linear")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Discrete variance-preserving noise schedule x_t = alpha_t x_0 + sigma_t eps.

    Attributes
    ----------
    kind : {"cosine", "linear"}
        Cosine: Nichol and Dhariwal (arXiv:2102.09672), equation 17. Linear: Ho et al.
        (arXiv:2006.11239), section 4.
    prediction : {"v", "eps"}
        What the network predicts: v = alpha eps - sigma x_0 (Salimans and Ho, arXiv:2202.00512,
        appendix D) or the noise eps.
    timesteps : int
        Number of noise levels.

    Raises
    ------
    MixditError
        If a value is none of the above.
    """

    kind: str = "cosine"
    prediction: str = "v"
    timesteps: int = 1000

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("kind", self.kind, KINDS),
            ("prediction", self.prediction, PREDICTIONS),
        ):
            if value not in choices:
                raise MixditError(f"schedule {name} must be one of {choices}, not {value!r}")
        if not isinstance(self.timesteps, int) or self.timesteps < 1:
            raise MixditError(
                f"schedule timesteps must be a positive integer, not {self.timesteps!r}"
            )

    @cached_property
    def alpha_bar(self) -> Tensor:
        """Cumulative signal power alpha_t^2, float64 (timesteps,), decreasing, in (0, 1)."""
        if self.kind == "linear":
            scale = 1000 / self.timesteps
            betas = torch.linspace(1e-4 * scale, 0.02 * scale, self.timesteps, dtype=torch.float64)
        else:
            steps = torch.arange(self.timesteps + 1, dtype=torch.float64) / self.timesteps
            curve = torch.cos((steps + 0.008) / 1.008 * math.pi / 2) ** 2
            betas = 1 - curve[1:] / curve[:-1]
        return torch.cumprod(1 - betas.clamp(max=0.999), dim=0)

    def levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Look up alpha and sigma of timesteps `t` (S,) as float32 (S, 1, 1, 1) each."""
        power = self.alpha_bar.to(t.device)[t].view(-1, 1, 1, 1)
        return power.sqrt().float(), (1 - power).sqrt().float()

    def add_noise(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """Mix images and noise, both (S, C, H, W), at timesteps `t` (S,)."""
        alpha, sigma = self.levels(t)
        return alpha * x0 + sigma * eps

    def target(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """Compute what the network shall predict, (S, C, H, W)."""
        if self.prediction == "eps":
            return eps
        alpha, sigma = self.levels(t)
        return alpha * eps - sigma * x0

    def split(self, x: Tensor, output: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Turn a prediction at `x` into estimates of (x_0, eps), each (S, C, H, W)."""
        alpha, sigma = self.levels(t)
        if self.prediction == "eps":
            return (x - sigma * output) / alpha, output
        return alpha * x - sigma * output, sigma * x + alpha * output
