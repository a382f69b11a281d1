"""Stopping at the first layer whose result is not a number."""

from typing import Any

import torch
from torch import Tensor, nn

from mixdit_sw.errors import MixditError
from mixdit_sw.models.dit import DiT, DiTConfig


class NotFiniteError(MixditError):
    """A layer's result has NaN or Inf."""


class Guarded:
    """A model whose predictions must be finite; otherwise `NotFiniteError` names the layer.

    Each prediction is looked at once; only a bad one is computed again, layer by layer.
    """

    def __init__(self, model: DiT) -> None:
        self.model = model
        self.config: DiTConfig = model.config

    def __call__(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """Predict as the model does."""
        output = self.model(x, t, labels)
        if not bool(output.isfinite().all()):
            when = f"at timestep {int(t.max())}"
            if not bool(x.isfinite().all()):
                raise NotFiniteError(f"The model's input has NaN or Inf {when}")
            layer = _first_bad_layer(self.model, (x, t, labels)) or "the output"
            raise NotFiniteError(
                f"{layer} has NaN or Inf {when}: check its weights, or give it a wider format"
            )
        return output


class _FoundError(Exception):
    """Carries the name of a layer out of a forward pass."""


def _first_bad_layer(model: nn.Module, inputs: tuple[Tensor, ...]) -> str | None:
    """Return the first layer to finish with a result that is not finite."""

    def watch(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and not bool(output.isfinite().all()):
                raise _FoundError(name)

        return hook

    hooks = [m.register_forward_hook(watch(name)) for name, m in model.named_modules() if name]
    try:
        with torch.no_grad():
            model(*inputs)
    except _FoundError as found:
        return str(found)
    finally:
        for handle in hooks:
            handle.remove()
    return None
