"""Quantizing a model in place by a plan, and undoing it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from mixdit_sw.errors import MixditError
from mixdit_sw.formats import Rounding
from mixdit_sw.policy.calibrate import Calibration
from mixdit_sw.policy.description import Policy
from mixdit_sw.policy.modules import PhaseClock, QuantizedLinear, QuantizedMatMul
from mixdit_sw.policy.plan import Plan
from mixdit_sw.policy.record import TimestepOf, second_argument
from mixdit_sw.policy.select import resolve
from mixdit_sw.policy.targets import check_supported, fingerprint


class QuantizedModel:
    """A model whose layers a plan has replaced; as a context manager it restores them at the end.

    Attributes
    ----------
    model : Module
        The model, changed in place. Its `state_dict` is still the float model's.
    plan : Plan
        What was applied.
    handles : list of RemovableHandle
        Hooks that go when the model is restored.
    """

    def __init__(self, model: nn.Module, plan: Plan) -> None:
        self.model = model
        self.plan = plan
        self._originals: dict[str, nn.Module] = {}
        self.handles: list[RemovableHandle] = []

    def restore(self) -> None:
        """Put the float layers back."""
        for name, module in self._originals.items():
            _replace(self.model, name, module)
        self._originals = {}
        for handle in self.handles:
            handle.remove()
        self.handles = []

    def __enter__(self) -> "QuantizedModel":
        return self

    def __exit__(self, *exception: object) -> None:
        self.restore()


def apply_plan(
    model: nn.Module,
    plan: Plan,
    calibration: Calibration | None = None,
    *,
    timestep_of: TimestepOf | None = None,
) -> QuantizedModel:
    """Quantize a model in place, without changing its code.

    Parameters
    ----------
    model : Module
        Float model; its linears and `MatMul` products that the plan names are replaced.
    plan : Plan
        Made for this model by `resolve`.
    calibration : Calibration, optional
        Holds the Hessians that GPTQ needs.
    timestep_of : callable, optional
        Where the model's timesteps are, for plans of several phases. By default they are the
        argument `t`, or the second one, as in `DiT`.

    Raises
    ------
    MixditError
        When the plan was made for another model, names a layer that does not exist or is not
        supported or has another shape, a weight is not finite, or Hessians are missing; the model
        is then as it was.
    """
    found = fingerprint(model)
    if found != plan.model:
        raise MixditError(
            f"The plan is of model {plan.model}, not of {found}: resolve the policy for this model"
        )
    clock, quantized = PhaseClock(), QuantizedModel(model, plan)
    modules = dict(model.named_modules())
    try:
        for name in dict.fromkeys(n for p in plan.phases for n in (*p.linears, *p.products)):
            if name not in modules:
                raise MixditError(f"The plan names {name}, which the model does not have")
            check_supported(name, modules[name])
            replacement = _quantized(name, modules[name], plan, clock, calibration)
            quantized._originals[name] = modules[name]
            _replace(model, name, replacement)
    except MixditError:
        quantized.restore()
        raise
    if len(plan.phases) > 1:
        hook = _phase_hook(plan, clock, timestep_of or second_argument)
        quantized.handles.append(model.register_forward_pre_hook(hook, with_kwargs=True))
    return quantized


def quantize_model(
    model: nn.Module, policy: Policy, calibration: Calibration, *, timesteps: int = 1000
) -> QuantizedModel:
    """Resolve a policy and apply it; see `resolve` and `apply_plan`."""
    plan = resolve(policy, calibration, model, timesteps=timesteps)
    return apply_plan(model, plan, calibration)


def _quantized(
    name: str, module: nn.Module, plan: Plan, clock: PhaseClock, calibration: Calibration | None
) -> nn.Module:
    rounding = Rounding(plan.policy.rounding)
    try:
        if isinstance(module, nn.Linear):
            hessian = None if calibration is None else calibration.hessians.get(name)
            plans = [phase.linears[name] for phase in plan.phases]
            return QuantizedLinear(module, plans, clock, rounding, hessian, _row_orders(name, plan))
        return QuantizedMatMul([phase.products[name] for phase in plan.phases], clock, rounding)
    except KeyError:
        raise MixditError(f"Layer {name} is not in every phase of the plan") from None
    except MixditError as error:
        raise MixditError(f"Layer {name}: {error}") from error


def _row_orders(name: str, plan: Plan) -> list[tuple[int, ...] | None]:
    """Return the order in which a linear's outputs are wanted in each phase."""
    orders = []
    for phase in plan.phases:
        readers = (reader for reader in phase.linears.values() if reader.order_from == name)
        orders.append(next((reader.order for reader in readers), None))
    return orders


def _phase_hook(plan: Plan, clock: PhaseClock, timestep_of: TimestepOf) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        t = torch.as_tensor(timestep_of(args, kwargs))
        if t.min() != t.max():
            raise MixditError("A policy with timesteps needs one timestep for the whole batch")
        clock.phase = plan.phase_at(int(t.max()))

    return hook


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)
