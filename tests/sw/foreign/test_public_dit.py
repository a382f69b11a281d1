"""Checkpoints of the public DiT, against diffusers' own implementation of the same model."""

import argparse
import re

import pytest
import torch
from filled_model import filled

from mixdit_sw.errors import MixditError
from mixdit_sw.foreign.public_dit import PublicDiT, load_public_dit
from mixdit_sw.models.diffusion import SamplerConfig, sample
from mixdit_sw.models.dit import DiT, DiTConfig
from mixdit_sw.policy.apply import quantize_model
from mixdit_sw.policy.calibrate import CalibrationConfig, calibrate
from mixdit_sw.policy.description import Policy
from mixdit_sw.policy.modules import QuantizedLinear, QuantizedMatMul

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = DiTConfig(image_size=8, channels=4, patch=2, hidden=40, heads=2, depth=2, classes=10)


@pytest.fixture
def model():
    return filled(PublicDiT, CONFIG).requires_grad_(False)


@pytest.fixture
def path(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "dit.pt")
    return tmp_path / "dit.pt"


def diffusers_state(state):
    """Rename a public checkpoint's parameters to those of diffusers; each block has its adaLN."""
    found = {
        "pos_embed.proj.weight": state["x_embedder.proj.weight"],
        "pos_embed.proj.bias": state["x_embedder.proj.bias"],
    }
    for part in ("weight", "bias"):
        found[f"proj_out_1.{part}"] = state[f"final_layer.adaLN_modulation.1.{part}"]
        found[f"proj_out_2.{part}"] = state[f"final_layer.linear.{part}"]
        for n in range(CONFIG.depth):
            ours, theirs = f"blocks.{n}", f"transformer_blocks.{n}"
            for number, name in ((0, "linear_1"), (2, "linear_2")):
                source = state[f"t_embedder.mlp.{number}.{part}"]
                found[f"{theirs}.norm1.emb.timestep_embedder.{name}.{part}"] = source
            qkv = state[f"{ours}.attn.qkv.{part}"].chunk(3)
            for name, value in zip("qkv", qkv, strict=True):
                found[f"{theirs}.attn1.to_{name}.{part}"] = value
            for name, source in (
                ("attn1.to_out.0", "attn.proj"),
                ("ff.net.0.proj", "mlp.fc1"),
                ("ff.net.2", "mlp.fc2"),
                ("norm1.linear", "adaLN_modulation.1"),
            ):
                found[f"{theirs}.{name}.{part}"] = state[f"{ours}.{source}.{part}"]
    for n in range(CONFIG.depth):
        table = state["y_embedder.embedding_table.weight"]
        found[f"transformer_blocks.{n}.norm1.emb.class_embedder.embedding_table.weight"] = table
    return found


def test_the_same_function_as_in_diffusers(path, dit):
    """In float64: both compose the model differently, and only roundings may differ."""
    loaded = load_public_dit(path, heads=2).model
    dit.model.load_state_dict(diffusers_state(loaded.state_dict()))
    for block in dit.model.transformer_blocks:
        # The public DiT's frequencies; those of diffusers differ a little.
        block.norm1.emb.time_proj.downscale_freq_shift = 0
    x, labels, t = dit.inputs["hidden_states"], dit.inputs["class_labels"], torch.tensor([3, 900])
    theirs = dit.model.double()(x.double(), t, labels).sample
    ours = DiT.forward(loaded.double(), x.double(), t, labels)
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    assert torch.equal(loaded(x.double(), t, labels), ours[:, :4])


def test_shape_and_values_come_from_the_file(path, model):
    bundle = load_public_dit(path, heads=2)
    assert bundle.model.config == CONFIG and isinstance(bundle.model, PublicDiT)
    assert (bundle.schedule.kind, bundle.schedule.prediction) == ("linear", "eps")
    x, t, labels = torch.ones(1, 4, 8, 8), torch.tensor([5]), torch.tensor([1])
    assert torch.equal(bundle.model(x, t, labels), model(x, t, labels))


def test_policies_and_sampling_work(path):
    bundle = load_public_dit(path, heads=2)
    calibration = calibrate(bundle.model, bundle.schedule, CalibrationConfig(images=2, steps=2))
    with quantize_model(bundle.model, Policy(), calibration):
        kinds = [type(m) for m in bundle.model.modules()]
        assert kinds.count(QuantizedLinear) == 8 and kinds.count(QuantizedMatMul) == 4
        latents = sample(bundle.model, torch.tensor([1]), bundle.schedule, SamplerConfig(steps=2))
    assert latents.shape == (1, 4, 8, 8) and latents.isfinite().all()


def test_a_checkpoint_of_training_gives_its_average(path, model):
    state = model.state_dict()
    torch.save({"model": {}, "ema": {n: v.half() for n, v in state.items()}, "opt": {}}, path)
    found = load_public_dit(path, heads=2).model.state_dict()
    assert all(torch.equal(found[name], state[name].half().float()) for name in state)


def test_a_model_without_variances(path):
    with torch.random.fork_rng(devices=[]):
        torch.save(DiT(CONFIG).state_dict(), path)
    assert type(load_public_dit(path, heads=2).model) is DiT


def refusal(path, state, heads=2):
    if state is not None:
        torch.save(state, path)
    with pytest.raises(MixditError) as caught:
        load_public_dit(path, heads=heads)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(path), "FILE")


@pytest.mark.parametrize(
    "name",
    ["pos_embed", "blocks.1.attn.proj.bias", "blocks.0.mlp.fc1.weight", "t_embedder.mlp.0.bias"],
)
def test_a_missing_parameter_is_named(path, model, name):
    state = model.state_dict()
    del state[name]
    assert refusal(path, state) == f"weight file FILE lacks {name}"


def test_other_shapes_and_names_are_named(path, model):
    state = model.state_dict()
    wide = dict(state) | {"blocks.1.attn.qkv.weight": torch.zeros(120, 41)}
    message = "weight file FILE: blocks.1.attn.qkv.weight has shape (120, 41), not (120, 40)"
    assert refusal(path, wide) == message
    flat = dict(state) | {"pos_embed": torch.zeros(16, 40)}
    assert refusal(path, flat) == "weight file FILE: pos_embed has shape (16, 40), not 3 axes"
    odd = dict(state) | {"final_layer.linear.weight": torch.zeros(17, 40)}
    assert refusal(path, odd).startswith("weight file FILE: final_layer.linear.weight has shape (1")
    assert refusal(path, dict(state) | {"extra": torch.zeros(1)}).endswith("unknown tensor extra")
    assert refusal(path, state, heads=None).startswith("No public DiT is 40 wide: say how many he")
    assert refusal(path, state, heads=3) == "DiT hidden must be a multiple of heads 3, not 40"


def test_other_files_are_refused(path, tmp_path, model):
    assert refusal(path, {"model": 3}) == "weight file FILE holds no state dictionary of a DiT"
    training = {"ema": model.state_dict(), "args": argparse.Namespace(lr=1)}
    assert re.match("weight file FILE holds more than tensors: save its", refusal(path, training))
    path.write_bytes(path.read_bytes()[:1000])
    assert refusal(path, None) == "weight file FILE cannot be read: it is damaged or no .pt"
    path.unlink()
    assert refusal(path, None) == "weight file FILE does not exist"
