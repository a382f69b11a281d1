"""Exponential moving average of weights."""

import torch
from torch import nn


class Ema:
    """Exponential moving average of a model's floating-point state.

    The decay starts low, min(decay, (1 + n) / (10 + n)) at update n, so early steps are forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.state = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the current weights of `model`."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        for name, value in model.state_dict().items():
            self.state[name].lerp_(value, 1 - decay)
