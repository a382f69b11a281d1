"""The composition that stands for torch's fused attention."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from mixdit_sw.errors import MixditError
from mixdit_sw.foreign.products import AttentionProducts, attend
from mixdit_sw.models.dit import MatMul


def operands(heads=2, keys=6):
    rng = torch.Generator().manual_seed(0)
    sizes = (3, 2, 5, 20), (3, heads, keys, 20), (3, heads, keys, 12)
    return [torch.randn(size, generator=rng, dtype=torch.float64) for size in sizes]


MASK = torch.rand(3, 1, 5, 6, generator=torch.Generator().manual_seed(1)) < 0.5
MASK[0, 0, 2] = False  # a query that may look nowhere
BIAS = torch.zeros(MASK.shape, dtype=torch.float64).masked_fill(~MASK, -torch.inf)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scale": 0.3},
        {"is_causal": True},
        {"attn_mask": MASK},
        {"attn_mask": BIAS},
        {"attn_mask": BIAS.nan_to_num(neginf=-10000.0)},
        {"enable_gqa": True},
    ],
)
def test_it_computes_what_torch_does(options):
    """In float64, where roundings are far below any other difference."""
    query, key, value = operands(heads=1 if "enable_gqa" in options else 2)
    expected = functional.scaled_dot_product_attention(query, key, value, **options)
    found = attend(MatMul(), MatMul(), query, key, value, **options)
    assert not expected.isnan().any()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_dropout_is_refused():
    with pytest.raises(MixditError, match=r"^dropout cannot be quantized: call model.eval\(\)$"):
        attend(MatMul(), MatMul(), *operands(), dropout_p=0.1)


class Layer(nn.Module):
    """Calls torch's attention some times, by the name that its library has for it."""

    def __init__(self, calls=1):
        super().__init__()
        self.calls = calls

    def forward(self, query, key, value):
        for _ in range(self.calls):
            result = functional.scaled_dot_product_attention(query, key, value)
        return result if self.calls else query


def test_only_layers_that_are_looked_at_leave_the_fused_kernel():
    layer, inputs, seen = Layer(), [x.float() for x in operands()], []
    plain = layer(*inputs)
    products = AttentionProducts("attn", layer)
    assert torch.equal(layer(*inputs), plain)
    hook = layer.av.register_forward_pre_hook(lambda module, args: seen.append(args))
    assert torch.equal(layer(*inputs), attend(MatMul(), MatMul(), *inputs))
    hook.remove()
    assert [tuple(x.shape) for x in seen[0]] == [(3, 2, 5, 6), (3, 2, 12, 6)]
    assert torch.equal(layer(*inputs), plain)
    # Outside the layer nothing is intercepted.
    functional.scaled_dot_product_attention(*inputs)
    products.restore()
    assert not list(layer.children()) and not layer._forward_hooks and not layer._forward_pre_hooks


@pytest.mark.parametrize("calls", [0, 2])
def test_a_layer_that_does_not_call_it_once_is_named(calls):
    layer = Layer(calls)
    AttentionProducts("blocks.3.attn", layer)
    message = f"^Attention blocks.3.attn called scaled_dot_product_attention {calls} times, not on"
    with pytest.raises(MixditError, match=message):
        layer(*operands())


def test_a_failure_inside_leaves_nothing_behind():
    layer = Layer()
    AttentionProducts("attn", layer)
    query, key, value = operands()
    with pytest.raises(RuntimeError):
        layer(query, key[..., :7], value)
    assert torch.overrides._get_current_function_mode() is None
