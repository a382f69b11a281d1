"""Transformers of diffusers made ready for policies, without touching their code."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from mixdit_sw.errors import MixditError
from mixdit_sw.foreign.products import AttentionProducts
from mixdit_sw.models.dit import MatMul
from mixdit_sw.policy.apply import QuantizedModel, apply_plan
from mixdit_sw.policy.calibrate import Calibration, calibrate_run
from mixdit_sw.policy.description import Policy
from mixdit_sw.policy.plan import Plan
from mixdit_sw.policy.record import TimestepOf
from mixdit_sw.policy.select import resolve
from mixdit_sw.policy.targets import check_supported
from mixdit_sw.quality.guard import guarded

TIMESTEPS = {
    "DiTTransformer2DModel": 1000,
    "PixArtTransformer2DModel": 1000,
    # Flow matching: 1000 is pure noise.
    "SD3Transformer2DModel": 1001,
}
"""Classes that can be quantized, and how many timesteps they know."""

PROCESSORS = ("AttnProcessor2_0", "JointAttnProcessor2_0")
"""Attention processors that call `scaled_dot_product_attention` once, on unfused projections."""

BLOCKS = "transformer_blocks"
LAYERS = tuple(
    f"{BLOCKS}.*.{layer}"
    for layer in (
        "attn*.to_[qkv]",
        "attn*.add_[qkv]_proj",
        "attn*.qk",
        "attn*.av",
        "attn*.to_out.0",
        "attn*.to_add_out",
        "ff*.net.0.proj",
        "ff*.net.2",
    )
)
"""Patterns of what policies quantize: the matrix products of blocks, but for adaLN."""


@dataclass
class ForeignModel:
    """A model of another library whose layers policies can quantize; `restore` undoes it.

    Attributes
    ----------
    model : Module
        The model, with two submodules, `qk` and `av`, in each attention.
    layers : tuple of str
        Patterns of the layers that policies quantize.
    left_float : dict of str to str
        Class of each other layer with parameters, by name: it stays in floating point.
    timesteps : int
        Timesteps of the model's noise schedule.
    """

    model: nn.Module
    layers: tuple[str, ...]
    left_float: dict[str, str]
    timesteps: int
    _products: list[AttentionProducts] = field(repr=False)

    @property
    def timestep_of(self) -> TimestepOf:
        """Takes the timesteps out of a call of the model."""
        place = list(inspect.signature(type(self.model).forward).parameters).index("timestep") - 1

        def find(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
            return kwargs["timestep"] if "timestep" in kwargs else args[place]

        return find

    def calibrate(self, run: Callable[[], Any], *, hessians: bool = False) -> Calibration:
        """Measure the layers while `run` calls the model; see `calibrate_run`."""
        return calibrate_run(
            self.model, run, self.timestep_of, layers=self.layers, hessians=hessians
        )

    def resolve(self, policy: Policy, calibration: Calibration) -> Plan:
        """Resolve a policy for this model; see `resolve`.

        A policy with the default layers, which are those of the shipped model, takes this model's.
        """
        if policy.layers == Policy().layers:
            policy = replace(policy, layers=self.layers)
        return resolve(policy, calibration, self.model, timesteps=self.timesteps)

    def apply(self, plan: Plan, calibration: Calibration | None = None) -> QuantizedModel:
        """Quantize the model in place; see `apply_plan`.

        From then on a result with NaN or Inf raises `NotFiniteError` with the layer's name.
        """
        quantized = apply_plan(self.model, plan, calibration, timestep_of=self.timestep_of)
        quantized.handles.append(guarded(self.model, self.timestep_of))
        return quantized

    def restore(self) -> None:
        """Make the model what it was."""
        for products in self._products:
            products.restore()
        self._products = []

    def __enter__(self) -> "ForeignModel":
        return self

    def __exit__(self, *exception: object) -> None:
        self.restore()


def adapt(model: nn.Module) -> ForeignModel:
    """Give each attention of a diffusers transformer two products that policies can quantize.

    The model computes what it did, bit for bit, until a plan is applied.

    Parameters
    ----------
    model : Module
        A `DiTTransformer2DModel`, `PixArtTransformer2DModel` or `SD3Transformer2DModel` in FP32
        and evaluation mode.

    Raises
    ------
    MixditError
        When it is another model, in training or adapted already, or has a layer that cannot be
        quantized; the message names it and says what to do.
    """
    name = next((c.__name__ for c in type(model).__mro__ if c.__name__ in TIMESTEPS), None)
    if name is None:
        raise MixditError(
            f"Model {type(model).__name__} is not supported: there are {', '.join(TIMESTEPS)}"
        )
    if model.training:
        raise MixditError("The model is in training mode: call model.eval()")
    attentions = {n: m for n, m in model.named_modules() if hasattr(m, "processor")}
    for path, attention in attentions.items():
        _check_attention(path, attention)
    products = [AttentionProducts(path, attention) for path, attention in attentions.items()]
    foreign = ForeignModel(model, (), {}, TIMESTEPS[name], products)
    try:
        _find_layers(foreign)
    except MixditError:
        foreign.restore()
        raise
    return foreign


def _check_attention(name: str, attention: nn.Module) -> None:
    kind = type(attention.processor).__name__
    if hasattr(attention, "qk"):
        raise MixditError(f"Attention {name} has products already: the model is adapted")
    if kind not in PROCESSORS:
        raise MixditError(
            f"Attention {name} has the processor {kind}, whose products cannot be quantized: "
            f"give it one of {', '.join(PROCESSORS)} by set_processor, and do not fuse projections"
        )


def _find_layers(foreign: ForeignModel) -> None:
    """Find what is quantized and what is not.

    Raises
    ------
    MixditError
        When a layer that should be quantized cannot be.
    """
    chosen: set[str] = set()
    for name, module in foreign.model.named_modules():
        if any(fnmatchcase(name, pattern) for pattern in LAYERS):
            check_supported(name, module)
            chosen.add(name)
    foreign.layers = tuple(p for p in LAYERS if any(fnmatchcase(name, p) for name in chosen))
    foreign.left_float = {
        name: type(module).__name__
        for name, module in foreign.model.named_modules()
        if name not in chosen
        and not isinstance(module, MatMul)
        and next(module.children(), None) is None
        and next(module.parameters(), None) is not None
    }
