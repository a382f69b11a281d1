"""From plans to what the compiler takes: quantized operands with their precision maps."""

import numpy as np
import torch
from torch import Tensor

from mixdit_sw.engine.gemm import LayerGemm
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import LANES, Rounding, get_format
from mixdit_sw.mixed import quantize_mixed
from mixdit_sw.models.diffusion import SamplerConfig, capture_block
from mixdit_sw.models.dit import GEMM_NAMES
from mixdit_sw.models.load import DiTBundle
from mixdit_sw.operand import QuantizedOperand
from mixdit_sw.policy.description import FLOAT
from mixdit_sw.policy.golden import linear_tensors, product_tensors
from mixdit_sw.policy.modules import QuantizedLinear, QuantizedMatMul
from mixdit_sw.policy.plan import LinearPlan, Plan


def lower_block(
    bundle: DiTBundle, block: int, step: int, labels: Tensor, sampler: SamplerConfig
) -> dict[str, list[LayerGemm]]:
    """Sample to a step and return the GEMMs of a block there, biases included.

    Parameters
    ----------
    bundle : DiTBundle
        Model to which a plan is applied.
    block, step, labels, sampler
        As for `capture_block`.

    Returns
    -------
    dict
        GEMMs of each layer, by "qkv", "qk", "av", "proj", "fc1" and "fc2", in the order in which
        they run: one for a linear, one for each sample and head for a product. Under a dynamic rule
        a linear has one for each row tile.

    Raises
    ------
    MixditError
        When block, step or a label does not exist, or a layer is not quantized.
    """
    captured = capture_block(bundle.model, block, step, labels, bundle.schedule, sampler)
    found: dict[str, list[LayerGemm]] = {}
    for path in GEMM_NAMES:
        gemm = captured[path.split(".")[1]]
        layer = bundle.model.blocks[block].get_submodule(path)
        a, b = torch.from_numpy(gemm.a), torch.from_numpy(gemm.b)
        if isinstance(layer, QuantizedLinear):
            left, right = linear_tensors(layer, a.view(-1, bundle.model.config.tokens, a.shape[-1]))
            bias = getattr(layer, f"bias_{layer.clock.phase}")
            found[gemm.name] = [
                LayerGemm(
                    a=operand,
                    b=right.operands[0],
                    bias=None if bias is None else bias.cpu().numpy(),
                )
                for tensor in left
                for operand in tensor.operands
            ]
        elif isinstance(layer, QuantizedMatMul):
            heads = len(layer.plans[layer.clock.phase].a)
            pairs = product_tensors(layer, *(x.unflatten(0, (-1, heads)) for x in (a, b)))
            found[gemm.name] = [LayerGemm(a=x.operands[0], b=y.operands[0]) for x, y in pairs]
        else:
            raise MixditError(f"Layer {path} of block {block} is not quantized")
    return found


def plan_operands(
    a: np.ndarray, b: np.ndarray, plan: Plan, layer: str, head: int = 0
) -> tuple[QuantizedOperand, QuantizedOperand]:
    """Quantize the operands of a GEMM as a layer of a plan says, in its first phase.

    Parameters
    ----------
    a, b : float32 (M, K), (N, K)
        Operands, channels as in the model. Weights are rounded to nearest, whatever the plan says;
        those that GPTQ has rounded stay as they are.
    plan : Plan
        Orders and formats.
    layer : str
        Its linear or product.
    head : int
        Head of a product.

    Raises
    ------
    MixditError
        When the plan lacks layer or head, its K differs, or the layer has float operands or a
        dynamic rule.
    """
    phase = plan.phases[0]
    rounding = Rounding(plan.policy.rounding)
    if layer in phase.linears:
        formats, order = _linear_formats(layer, phase.linears[layer], a.shape[-1])
    elif layer in phase.products:
        product = phase.products[layer]
        if not 0 <= head < len(product.a):
            raise MixditError(f"Layer {layer} has heads 0..{len(product.a) - 1}, not {head}")
        blocks = -(-a.shape[-1] // LANES)
        formats, order = ((product.a[head],) * blocks, (product.b[head],) * blocks), None
    else:
        names = ", ".join([*phase.linears, *phase.products][:4])
        raise MixditError(f"The plan has no layer {layer!r}; it has {names}, ...")
    if FLOAT in formats[0] + formats[1]:
        raise MixditError(f"Layer {layer} is not quantized in this plan")
    return tuple(  # type: ignore[return-value]
        quantize_mixed(
            x, [[get_format(name) for name in names]], order=order, rounding=how
        ).operands[0]
        for x, names, how in zip((a, b), formats, (rounding, Rounding()), strict=True)
    )


def _linear_formats(
    name: str, layer: LinearPlan, k: int
) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], np.ndarray | None]:
    if layer.dynamic is not None:
        raise MixditError(f"Layer {name} chooses K-blocks at run time: leave out its dynamic rule")
    order = None if layer.order is None else np.array(layer.order, np.int64)
    channels = None if order is None else len(order)
    if (channels or k) != k or -(-k // LANES) != len(layer.activation):
        wanted = channels or f"{len(layer.activation)} K-blocks of {LANES}"
        raise MixditError(f"Layer {name} has K = {wanted}, the operands {k}")
    return (layer.activation, layer.weight), order
