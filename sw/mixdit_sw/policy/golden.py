"""A quantized model's products as the engine computes them: slow, and exact to the bit."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from mixdit_sw.formats import LANES, Rounding, get_format
from mixdit_sw.gemm.kinds import Kind
from mixdit_sw.mixed import MixedTensor, golden_gemm_mixed, quantize_mixed
from mixdit_sw.policy.fake_mixed import dynamic_blocks
from mixdit_sw.policy.modules import QuantizedLinear, QuantizedMatMul


def linear_tensors(layer: QuantizedLinear, x: Tensor) -> tuple[list[MixedTensor], MixedTensor]:
    """Return what the engine multiplies, its channels already in the layer's order.

    Parameters
    ----------
    layer : QuantizedLinear
        Its formats must be without real-valued scales.
    x : float32 (..., K)
        Input of the layer.

    Returns
    -------
    list of MixedTensor
        A: one for each sample if the layer has a dynamic rule, else one for all rows.
    MixedTensor
        B, the weight (N, K).
    """
    plan = layer.plans[layer.clock.phase]
    b = _mixed(getattr(layer, f"weight_{layer.clock.phase}"), [plan.weight])
    ordered = layer.ordered(x)
    if plan.dynamic is None or plan.dynamic_format is None:
        rows = ordered.reshape(-1, ordered.shape[-1])
        return [_mixed(rows, [plan.activation], rounding=layer.rounding)], b
    static = [name == plan.dynamic_format for name in plan.activation]
    samples = ordered.reshape(-1, *ordered.shape[-2:])
    chosen = dynamic_blocks(samples, plan.dynamic.rows, plan.dynamic.blocks, static)
    tensors = []
    for sample, tiles in zip(samples, chosen.tolist(), strict=True):
        formats = [
            [plan.dynamic_format if c else f for c, f in zip(tile, plan.activation, strict=True)]
            for tile in tiles
        ]
        tensors.append(_mixed(sample, formats, plan.dynamic.rows, layer.rounding))
    return tensors, b


def golden_linear(layer: QuantizedLinear, x: Tensor, kind: Kind) -> Tensor:
    """Compute a layer's output (..., N) as the engine does; the bias is added in FP32."""
    a, b = linear_tensors(layer, x)
    rows = np.concatenate([golden_gemm_mixed(part, b, kind) for part in a])
    result = torch.from_numpy(rows).view(*x.shape[:-1], -1).to(x.device)
    bias = getattr(layer, f"bias_{layer.clock.phase}")
    return result if bias is None else result + bias


def product_tensors(
    layer: QuantizedMatMul, a: Tensor, b: Tensor
) -> list[tuple[MixedTensor, MixedTensor]]:
    """Return what the engine multiplies for a (..., heads, M, K) and b (..., heads, N, K)."""
    plan = layer.plans[layer.clock.phase]
    found = []
    for index, (x, y) in enumerate(zip(a.flatten(0, -3), b.flatten(0, -3), strict=True)):
        head = index % len(plan.a)
        blocks = -(-x.shape[-1] // LANES)
        left = _mixed(x, [[plan.a[head]] * blocks], rounding=layer.rounding)
        right = _mixed(y, [[plan.b[head]] * blocks], rounding=layer.rounding)
        found.append((left, right))
    return found


def golden_product(layer: QuantizedMatMul, a: Tensor, b: Tensor, kind: Kind) -> Tensor:
    """Compute an attention product (..., heads, M, N) as the engine does."""
    results = [
        torch.from_numpy(golden_gemm_mixed(left, right, kind))
        for left, right in product_tensors(layer, a, b)
    ]
    return torch.stack(results).view(*a.shape[:-1], b.shape[-2]).to(a.device)


@contextmanager
def golden_products(model: nn.Module, kind: Kind) -> Iterator[None]:
    """Let a quantized model's products be the golden model's, whose formats are MX or OCP ones.

    Layers that the plan leaves in floating point stay so.
    """

    def replace(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        assert isinstance(module, QuantizedLinear | QuantizedMatMul)
        if module.is_float:
            return output
        if isinstance(module, QuantizedLinear):
            return golden_linear(module, inputs[0], kind)
        return golden_product(module, inputs[0], inputs[1], kind)

    layers = [m for m in model.modules() if isinstance(m, QuantizedLinear | QuantizedMatMul)]
    hooks = [layer.register_forward_hook(replace) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _mixed(
    x: Tensor,
    formats: list[tuple[str, ...]] | list[list[str]],
    tile_rows: int | None = None,
    rounding: Rounding | None = None,
) -> MixedTensor:
    """Encode x (rows, K); values that its formats hold already stay as they are."""
    table = [[get_format(name) for name in row] for row in formats]
    values = x.detach().cpu().contiguous().numpy()
    return quantize_mixed(values, table, tile_rows=tile_rows, rounding=rounding or Rounding())
