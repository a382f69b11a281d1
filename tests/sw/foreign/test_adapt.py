"""Policies on transformers of diffusers: what is covered, and which bits come out."""

import numpy as np
import pytest
import torch
from torch import nn

from mixdit_sw.errors import MixditError
from mixdit_sw.foreign.adapt import adapt
from mixdit_sw.formats import get_format
from mixdit_sw.gemm.kinds import parse_kind
from mixdit_sw.gemm.reference import golden_gemm
from mixdit_sw.models.dit import MatMul
from mixdit_sw.operand import quantize_pair
from mixdit_sw.policy.calibrate import Calibration
from mixdit_sw.policy.description import (
    AttentionRule,
    LinearRule,
    Override,
    Policy,
    paper_policy,
    uniform_policy,
)
from mixdit_sw.policy.golden import golden_products
from mixdit_sw.policy.modules import QuantizedLinear, QuantizedMatMul
from mixdit_sw.policy.plan import Plan
from mixdit_sw.quality.guard import NotFiniteError

KIND = parse_kind("aligned40")
COUNTS = {"DiT": (12, 4), "Pix": (20, 8), "SD3": (8 + 4 + 4 + 12 + 9, 8)}
"""Linears and products of the small models' blocks, counted by hand from their definitions.

A block of DiT has q, k, v, out and two of the MLP; of PixArt q, k, v and out twice; of SD3 all this
for image and text, and a second attention in the first block here; its last block's text ends with
q, k and v.
"""


def count(case):
    return COUNTS[type(case.model).__name__[:3]]


def layers(model, kind):
    return {name: m for name, m in model.named_modules() if isinstance(m, kind)}


def golden(x, y, fmt, bias=None):
    """Return x @ y.T by the reference model, from the original values."""
    pair = quantize_pair(x.numpy(), y.numpy(), get_format(fmt), get_format(fmt))
    product = torch.from_numpy(golden_gemm(*pair, KIND))
    return product if bias is None else product + bias


def same_bits(a, b):
    return np.array_equal(a.numpy().view(np.uint32), b.numpy().view(np.uint32))


def test_every_product_of_the_blocks_is_covered(case):
    names = set(case.model.state_dict())
    with adapt(case.model) as foreign:
        calibration = foreign.calibrate(case.run)
        plan = foreign.resolve(Policy(), calibration)
        with foreign.apply(plan):
            linears, products = layers(case.model, QuantizedLinear), layers(case.model, MatMul)
            assert (len(linears), len(products)) == count(case)
            assert all(isinstance(p, QuantizedMatMul) for p in products.values())
            left = set(layers(case.model, nn.Linear)) - set(linears)
            assert set(case.model.state_dict()) == names
    inside = {name for name in left if "transformer_blocks" in name}
    assert all(".norm1" in name for name in inside)  # adaLN
    assert left <= set(foreign.left_float)
    assert foreign.left_float["pos_embed.proj"] == "Conv2d"
    assert not layers(case.model, MatMul)


def test_float_keeps_every_bit(case):
    plain = case()
    with adapt(case.model) as foreign:
        assert same_bits(case(), plain)
        calibration = foreign.calibrate(case.run)
        assert same_bits(case(), plain)
        with foreign.apply(foreign.resolve(uniform_policy("float32"), calibration)):
            assert same_bits(case(), plain)
        with foreign.apply(foreign.resolve(Policy(), calibration)):
            assert not same_bits(case(), plain)
        assert same_bits(case(), plain)
    assert same_bits(case(), plain)


@pytest.mark.parametrize("exact", [False, True])
def test_each_layer_is_the_golden_gemm(case, exact):
    """From the inputs that it saw in the quantized model, on the fast path and on the exact one."""
    calls = {}

    def keep(name):
        return lambda module, args, output: calls.__setitem__(name, (module, args, output))

    with adapt(case.model) as foreign:
        calibration = foreign.calibrate(case.run)
        plan = foreign.resolve(Policy(), calibration)
        with foreign.apply(plan):
            if exact:
                with golden_products(case.model, KIND):
                    keep_calls(case.model, keep)
                    case()
            else:
                keep_calls(case.model, keep)
                case()
    assert len(calls) == sum(count(case))
    for module, args, output in calls.values():
        if isinstance(module, QuantizedLinear):
            x = args[0].flatten(0, -2)
            assert same_bits(output.flatten(0, -2), golden(x, module.weight, "mx6", module.bias))
        else:
            pairs = zip(*(x.flatten(0, -3) for x in args), strict=True)
            assert same_bits(output.flatten(0, -3), torch.stack([golden(*p, "mx6") for p in pairs]))


def keep_calls(model, keep):
    for name, module in layers(model, QuantizedLinear | QuantizedMatMul).items():
        module.register_forward_hook(keep(name))


def test_an_attention_is_its_six_gemms_and_a_softmax(dit):
    """A whole attention layer composed by hand of the reference model's products."""
    seen = []
    attention = dit.model.transformer_blocks[1].attn1
    with adapt(dit.model) as foreign:
        calibration = foreign.calibrate(dit.run)
        with foreign.apply(foreign.resolve(uniform_policy("mx9"), calibration)):
            hook = attention.register_forward_hook(
                lambda m, args, kwargs, out: seen.append((args[0], out)), with_kwargs=True
            )
            with golden_products(dit.model, KIND):
                dit()
            hook.remove()
    x, found = seen[0]
    tokens = x.flatten(0, 1)
    q, k, v = (
        golden(tokens, layer.weight, "mx9", layer.bias).view(2, 16, 2, 20).transpose(1, 2)
        for layer in (attention.to_q, attention.to_k, attention.to_v)
    )
    mixed = torch.empty(2, 16, 2, 20)
    for sample in range(2):
        for head in range(2):
            scores = golden(q[sample, head], k[sample, head], "mx9") * 20**-0.5
            values = v[sample, head].T.contiguous()
            mixed[sample, :, head] = golden(scores.softmax(dim=-1), values, "mx9")
    out = attention.to_out[0]
    expected = golden(mixed.view(32, 40), out.weight, "mx9", out.bias)
    assert same_bits(found.flatten(0, 1), expected)


def test_rules_by_layer_head_and_timestep(case, tmp_path):
    """A plan of many rules survives its file, and gives the same bits."""
    policy = Policy(
        linear=LinearRule(high_share=0.1, weight_method="gptq"),
        attention=AttentionRule(high_heads=1),
        overrides=(
            Override(layers="transformer_blocks.0.ff.*", linear=LinearRule(activation="mx9")),
            Override(timesteps=(0, 99), attention=AttentionRule(high_heads=2)),
        ),
    )
    with adapt(case.model) as foreign:
        calibration = foreign.calibrate(case.run, hessians=True)
        plan = foreign.resolve(policy, calibration)
        plan.save(tmp_path / "plan.json")
        calibration.save(tmp_path / "calibration.safetensors")
        late, early = plan.phases
        assert (late.first, early.last) == (0, foreign.timesteps - 1)
        # What an MLP's second linear reads comes in its order from the first.
        second = late.linears["transformer_blocks.1.ff.net.2"]
        assert second.order_from == "transformer_blocks.1.ff.net.0.proj"
        assert set(late.linears["transformer_blocks.0.ff.net.2"].activation) == {"mx9"}
        qk = [name for name in early.products if name.endswith("qk")]
        assert all(early.products[name].a.count("mx9") == 1 for name in qk)
        assert all(late.products[name].a.count("mx9") == 2 for name in qk)
        with foreign.apply(plan, calibration):
            high, low = case(50), case(500)
    with adapt(case.model) as foreign:
        again = Plan.load(tmp_path / "plan.json")
        loaded = Calibration.load(tmp_path / "calibration.safetensors")
        assert again == plan and loaded.timesteps == (900, 500, 20)
        with foreign.apply(again, loaded):
            assert same_bits(case(50), high) and same_bits(case(500), low)


def test_a_gated_mlp_has_no_free_order(gated):
    """Its second linear reads a product of two halves of what the first one gives."""
    plain = gated()
    with adapt(gated.model) as foreign:
        calibration = foreign.calibrate(gated.run)
        rule = LinearRule(high_share=0.1, activation="float32", high="float32", weight="float32")
        policy = Policy(linear=rule, attention=uniform_policy("float32").attention)
        plan = foreign.resolve(policy, calibration)
        second = plan.phases[0].linears["transformer_blocks.1.ff.net.2"]
        assert second.order is not None and second.order_from is None
        with foreign.apply(plan):
            # Reordered sums differ in their last bits only.
            assert (gated() - plain).abs().max() < 1e-4 * plain.abs().max()


def test_positional_timesteps_are_found(dit):
    with adapt(dit.model) as foreign:
        args = (dit.inputs["hidden_states"], torch.tensor([7, 7]), dit.inputs["class_labels"])
        assert foreign.calibrate(lambda: dit.model(*args)).timesteps == (7,)


def test_nan_stops_with_the_layers_name(case):
    name = "transformer_blocks.1.ff.net.2"
    with adapt(case.model) as foreign:
        calibration = foreign.calibrate(case.run)
        with foreign.apply(foreign.resolve(paper_policy(0.1, 1), calibration)):
            case.model.get_submodule(name).weight_0[3, 4] = torch.nan
            with pytest.raises(NotFiniteError, match=f"^{name} has NaN or Inf at timestep 500: ch"):
                case()
            case.inputs["hidden_states"] = case.inputs["hidden_states"] * torch.nan
            with pytest.raises(NotFiniteError, match="^The model's input has NaN or Inf at timest"):
                case()
        assert case().isnan().all()  # float again, and unguarded


def test_a_weight_that_is_not_finite_is_named(dit):
    with adapt(dit.model) as foreign:
        dit.model.transformer_blocks[0].attn1.to_k.weight[1, 2] = torch.inf
        calibration = foreign.calibrate(dit.run)
        plan = foreign.resolve(Policy(), calibration)
        message = "^Layer transformer_blocks.0.attn1.to_k: the weight has NaN or Inf: load a sound"
        with pytest.raises(MixditError, match=message):
            foreign.apply(plan)
        assert not layers(dit.model, QuantizedLinear | QuantizedMatMul)


def test_other_models_are_refused(dit):
    with pytest.raises(MixditError, match="^Model Linear is not supported: there are DiTTransform"):
        adapt(nn.Linear(2, 2))
    with pytest.raises(MixditError, match=r"^The model is in training mode: call model.eval\(\)$"):
        adapt(dit.model.train())
    with adapt(dit.model.eval()), pytest.raises(MixditError, match="attn1 has products already"):
        adapt(dit.model)


def test_a_processor_that_cannot_be_handled_is_named(pixart):
    pixart.model.set_default_attn_processor()
    message = (
        "^Attention transformer_blocks.0.attn1 has the processor AttnProcessor, whose products "
        "cannot be quantized: give it one of AttnProcessor2_0, Joint.* by set_processor"
    )
    with pytest.raises(MixditError, match=message):
        adapt(pixart.model)
    assert not layers(pixart.model, MatMul)


def test_a_layer_that_cannot_be_quantized_is_named(dit):
    class Adapter(nn.Module):
        def __init__(self, base):
            super().__init__()
            self.base_layer = base

    feed = dit.model.transformer_blocks[1].ff.net
    feed[2] = Adapter(feed[2])
    message = "^Layer transformer_blocks.1.ff.net.2 is a Adapter; policies quantize Linear and"
    with pytest.raises(MixditError, match=message):
        adapt(dit.model)
    assert not layers(dit.model, MatMul)


def test_chunked_layers_are_named(sd3):
    sd3.model.enable_forward_chunking(1, dim=0)
    message = r"^Layer transformer_blocks.0.ff.net.0.proj ran 6 times in 3 calls .* turn off chun"
    with adapt(sd3.model) as foreign, pytest.raises(MixditError, match=message):
        foreign.calibrate(sd3.run)


def test_calibration_needs_a_run(dit):
    with adapt(dit.model) as foreign, pytest.raises(MixditError, match="^The model was not called"):
        foreign.calibrate(lambda: None)
