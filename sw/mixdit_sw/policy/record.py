"""Hooks that measure what flows into a model's linears and products while it runs."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from mixdit_sw.errors import MixditError
from mixdit_sw.policy.targets import targets

TimestepOf = Callable[[tuple[Any, ...], dict[str, Any]], Tensor]
"""Takes the timesteps (S,) out of a model's positional and named arguments."""


def second_argument(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Return the timesteps (S,) of a call of `DiT`."""
    return kwargs["t"] if "t" in kwargs else args[1]


def record(
    model: nn.Module,
    run: Callable[[], Any],
    timestep_of: TimestepOf,
    layers: Iterable[str],
    hessians: bool,
) -> tuple[list[int], dict[str, "Recorder"]]:
    """Run something that calls a model, and measure at each call.

    Returns
    -------
    list of int
        Timestep of each call.
    dict of str to Recorder
        What each layer that the patterns name saw.

    Raises
    ------
    MixditError
        When a pattern names no layer, or one that is not supported, or a layer did not run exactly
        once in each call.
    """
    timesteps: list[int] = []

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        timesteps.append(int(torch.as_tensor(timestep_of(args, kwargs)).max()))

    recorders = {
        name: Recorder(module, hessians) for name, module in targets(model, layers).items()
    }
    hooks = [r.module.register_forward_pre_hook(r) for r in recorders.values()]
    hooks.append(model.register_forward_pre_hook(note, with_kwargs=True))
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    if not timesteps:
        raise MixditError("The model was not called while it should be calibrated")
    for name, recorder in recorders.items():
        if len(recorder.steps) != len(timesteps):
            raise MixditError(
                f"Layer {name} ran {len(recorder.steps)} times in {len(timesteps)} calls of the "
                "model: leave it out of the policy's layers, or turn off chunking"
            )
    return timesteps, recorders


class Recorder:
    """Hook that measures a module's inputs, one call a step.

    Parameters
    ----------
    module : Module
        Linear or product.
    hessians : bool
        Also sum a linear's outer products.
    """

    def __init__(self, module: nn.Module, hessians: bool) -> None:
        self.module = module
        self.steps: list[dict[str, Tensor]] = []
        self.rows = 0
        self.outer: Tensor | None = None
        if isinstance(module, nn.Linear) and hessians:
            k = module.in_features
            self.outer = torch.zeros(k, k, dtype=torch.float64, device=module.weight.device)

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Measure the inputs of a call: (..., K) of a linear, (..., heads, M, K) of a product."""
        if not isinstance(module, nn.Linear):
            found: dict[str, Tensor] = {}
            for side, x in zip("ab", inputs, strict=True):
                heads = x.abs().movedim(-3, 0).flatten(1)
                found |= {f"{side}_absmax": heads.amax(dim=1), f"{side}_mean": heads.mean(dim=1)}
            self.steps.append(found)
            return
        x = inputs[0].flatten(0, -2)
        size = x.abs()
        self.steps.append(
            {
                "absmax": size.amax(dim=0),
                "mean": size.mean(dim=0),
                "square": size.square().mean(dim=0),
            }
        )
        if self.outer is not None:
            self.rows += len(x)
            self.outer += (x.T @ x).double()

    def statistics(self) -> dict[str, Tensor]:
        """Return float32 (steps, channels or heads) by kind, as in `Calibration`."""
        return {k: torch.stack([s[k] for s in self.steps]).float().cpu() for k in self.steps[0]}

    def hessian(self) -> Tensor:
        """Return the mean outer product of a linear's inputs, float32 (K, K)."""
        assert self.outer is not None
        return (self.outer / self.rows).float().cpu()
