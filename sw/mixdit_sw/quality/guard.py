"""Stopping at the first layer whose result is not a number."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mixdit_sw.errors import MixditError
from mixdit_sw.models.dit import DiT, DiTConfig
from mixdit_sw.policy.record import TimestepOf, second_argument


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
        _check(self.model, (x, t, labels), {}, output, second_argument)
        return output


def guarded(model: nn.Module, timestep_of: TimestepOf) -> RemovableHandle:
    """Make every call of a model raise `NotFiniteError` if its result is not finite.

    The handle's `remove` ends this.
    """

    def look(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        _check(module, args, kwargs, output, timestep_of)

    return model.register_forward_hook(look, with_kwargs=True)


def _check(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    output: Any,
    timestep_of: TimestepOf,
) -> None:
    if _is_finite(output):
        return
    when = f"at timestep {int(torch.as_tensor(timestep_of(args, dict(kwargs))).max())}"
    # Masks hold -Inf where nothing is to be seen.
    inputs = [*args, *(value for name, value in kwargs.items() if "mask" not in name)]
    if not _is_finite(inputs):
        raise NotFiniteError(f"The model's input has NaN or Inf {when}")
    layer = _first_bad_layer(model, args, kwargs) or "the output"
    raise NotFiniteError(
        f"{layer} has NaN or Inf {when}: check its weights, or give it a wider format"
    )


class _FoundError(Exception):
    """Carries the name of a layer out of a forward pass."""


def _first_bad_layer(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> str | None:
    """Return the first layer to finish with a result that is not finite."""

    def watch(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if not _is_finite(output):
                raise _FoundError(name)

        return hook

    hooks = [m.register_forward_hook(watch(name)) for name, m in model.named_modules() if name]
    try:
        with torch.no_grad():
            # Not the model itself: its own hooks have called this.
            model.forward(*args, **kwargs)
    except _FoundError as found:
        return str(found)
    finally:
        for handle in hooks:
            handle.remove()
    return None


def _is_finite(value: Any) -> bool:
    return all(bool(x.isfinite().all()) for x in _tensors(value))


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors of floating point in what a layer takes or returns."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
