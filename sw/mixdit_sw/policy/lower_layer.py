"""From a quantized layer and its inputs to the GEMMs that the engine runs for it."""

from torch import Tensor

from mixdit_sw.engine.gemm import GemmSize, LayerGemm
from mixdit_sw.formats import LANES, get_format
from mixdit_sw.policy.golden import linear_tensors, product_tensors
from mixdit_sw.policy.modules import QuantizedLinear, QuantizedMatMul

Layer = QuantizedLinear | QuantizedMatMul


def layer_gemms(layer: Layer, inputs: tuple[Tensor, ...]) -> list[LayerGemm]:
    """Return a layer's GEMMs with their operands, in the order of the rows of its result.

    A linear is one, with its bias, or under a dynamic rule one for each row tile of each sample;
    a product is one for each sample and head.
    """
    if isinstance(layer, QuantizedLinear):
        left, right = linear_tensors(layer, inputs[0])
        bias = getattr(layer, f"bias_{layer.clock.phase}")
        row = None if bias is None else bias.detach().cpu().numpy()
        return [
            LayerGemm(a=operand, b=right.operands[0], bias=row)
            for tensor in left
            for operand in tensor.operands
        ]
    pairs = product_tensors(layer, *inputs)
    return [LayerGemm(a=a.operands[0], b=b.operands[0]) for a, b in pairs]


def layer_sizes(layer: Layer, inputs: tuple[Tensor, ...]) -> list[GemmSize] | None:
    """Return the sizes of `layer_gemms` without quantizing; None under a dynamic rule."""
    if isinstance(layer, QuantizedLinear):
        linear = layer.plans[layer.clock.phase]
        if linear.dynamic is not None:
            return None
        return [
            GemmSize(
                m=inputs[0].numel() // layer.in_features,
                n=layer.out_features,
                k=layer.in_features,
                a_formats=tuple(map(get_format, linear.activation)),
                b_formats=tuple(map(get_format, linear.weight)),
                steps=() if layer.bias is None else ("bias",),
            )
        ]
    a, b = inputs
    blocks = -(-a.shape[-1] // LANES)
    product = layer.plans[layer.clock.phase]
    heads = [
        GemmSize(
            m=a.shape[-2],
            n=b.shape[-2],
            k=a.shape[-1],
            a_formats=(get_format(x),) * blocks,
            b_formats=(get_format(y),) * blocks,
        )
        for x, y in zip(product.a, product.b, strict=True)
    ]
    return heads * (a.numel() // (len(heads) * a.shape[-1] * a.shape[-2]))
