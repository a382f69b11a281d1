import numpy as np
import pytest
import torch

from mixdit_sw.errors import MixditError
from mixdit_sw.models.diffusion import (
    SamplerConfig,
    capture_block,
    guided_output,
    initial_noise,
    sample,
    timestep_sequence,
)
from mixdit_sw.models.schedule import KINDS, PREDICTIONS, Schedule

LABELS = torch.tensor([0, 1, 2])
SETTINGS = SamplerConfig(steps=4, cfg_scale=2.0, seed=3)
LINEARS = {"qkv": "attn.qkv", "proj": "attn.proj", "fc1": "mlp.fc1", "fc2": "mlp.fc2"}


class Oracle:
    """Denoiser that knows the clean images, and so the noise in any x."""

    def __init__(self, config, schedule, x0):
        self.config = config
        self.schedule = schedule
        self.x0 = x0

    def __call__(self, x, t, labels):
        x0 = self.x0.repeat(len(x) // len(self.x0), 1, 1, 1)
        alpha, sigma = self.schedule.levels(t)
        return self.schedule.target(x0, (x - alpha * x0) / sigma, t)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [2, 7, 50])
def test_perfect_prediction_recovers_the_image(tiny_config, kind, prediction, steps):
    schedule = Schedule(kind=kind, prediction=prediction)
    x0 = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 1.8 - 0.9
    oracle = Oracle(tiny_config, schedule, x0)
    images = sample(oracle, LABELS, schedule, SamplerConfig(steps=steps))
    torch.testing.assert_close(images, x0, rtol=0, atol=2e-5)


def test_sampling_is_deterministic_by_seed(tiny_model):
    first = sample(tiny_model, LABELS, Schedule(), SETTINGS)
    again = sample(tiny_model, LABELS, Schedule(), SETTINGS)
    other = sample(tiny_model, LABELS, Schedule(), SamplerConfig(steps=4, cfg_scale=2.0, seed=4))
    assert first.shape == (3, 1, 8, 8)
    assert first.dtype == torch.float32
    assert first.abs().max() <= 1
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_noise_of_a_sample_does_not_depend_on_the_batch(tiny_config):
    whole = initial_noise(tiny_config, 5, seed=7)
    assert torch.equal(whole[2:4], initial_noise(tiny_config, 2, seed=7, first=2))


def test_batching_changes_no_image(tiny_model):
    whole = sample(tiny_model, LABELS, Schedule(), SETTINGS)
    parts = sample(tiny_model, LABELS, Schedule(), SETTINGS, batch=2)
    torch.testing.assert_close(whole, parts, rtol=0, atol=1e-4)


def test_progress_counts_images(tiny_model):
    done = []
    sample(tiny_model, LABELS, Schedule(), SETTINGS, batch=2, progress=done.append)
    assert done == [2, 3]


def test_guidance_extrapolates_from_the_unconditional_output(tiny_model):
    x = initial_noise(tiny_model.config, 3, seed=0)
    t = torch.full((3,), 500)
    conditional = tiny_model(x, t, LABELS)
    unconditional = tiny_model(x, t, torch.full_like(LABELS, 3))
    for scale in (0.0, 1.0, 2.5):
        expected = unconditional + scale * (conditional - unconditional)
        found = guided_output(tiny_model, x, t, LABELS, scale)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_timesteps_run_from_the_noisiest_to_zero():
    assert timestep_sequence(Schedule(), 4) == [999, 666, 333, 0]
    assert timestep_sequence(Schedule(timesteps=5), 5) == [4, 3, 2, 1, 0]


def capture(model, block=1, step=2, settings=SETTINGS):
    return capture_block(model, block, step, LABELS, Schedule(), settings)


def test_capture_has_the_shapes_of_the_guided_batch(tiny_model):
    gemms = capture(tiny_model)
    samples, heads, tokens = 2 * 3, 2, 4
    assert {name: gemm.shape for name, gemm in gemms.items()} == {
        "qkv": (1, samples * tokens, 48, 16),
        "qk": (samples * heads, tokens, tokens, 8),
        "av": (samples * heads, tokens, 8, tokens),
        "proj": (1, samples * tokens, 16, 16),
        "fc1": (1, samples * tokens, 32, 16),
        "fc2": (1, samples * tokens, 16, 32),
    }
    assert list(gemms) == ["qkv", "qk", "av", "proj", "fc1", "fc2"]
    assert all(g.a.dtype == g.b.dtype == np.float32 for g in gemms.values())
    assert gemms["qk"].macs == 12 * 4 * 4 * 8


def test_captured_operands_reproduce_the_block(tiny_model):
    """Each product, recomputed from its captured operands, gives the bits that the model saw."""
    block, seen = tiny_model.blocks[1], {}
    paths = LINEARS | {"qk": "attn.qk", "av": "attn.av"}
    for name, path in paths.items():
        block.get_submodule(path).register_forward_hook(
            lambda module, inputs, output, name=name: seen.__setitem__(name, output)
        )
    for name, gemm in capture(tiny_model).items():
        a, b = torch.from_numpy(gemm.a), torch.from_numpy(gemm.b)
        if gemm.bias is None:
            product = a @ b.transpose(1, 2)
        else:
            product = torch.nn.functional.linear(a[0], b[0], torch.from_numpy(gemm.bias))
        assert torch.equal(product.flatten(), seen[name].flatten()), name


def test_captured_products_feed_each_other(tiny_model):
    gemms = capture(tiny_model)
    qkv = gemms["qkv"].a[0] @ gemms["qkv"].b[0].T + gemms["qkv"].bias
    parts = qkv.reshape(6, 4, 3, 2, 8).transpose(2, 0, 3, 1, 4).reshape(3, 12, 4, 8)
    np.testing.assert_allclose(gemms["qk"].a, parts[0], atol=1e-5)
    np.testing.assert_allclose(gemms["qk"].b, parts[1], atol=1e-5)
    np.testing.assert_allclose(gemms["av"].b, parts[2].transpose(0, 2, 1), atol=1e-5)
    mixed = gemms["av"].a @ gemms["av"].b.transpose(0, 2, 1)
    tokens = mixed.reshape(6, 2, 4, 8).transpose(0, 2, 1, 3).reshape(24, 16)
    np.testing.assert_allclose(gemms["proj"].a[0], tokens, atol=1e-5)
    np.testing.assert_allclose(gemms["av"].a.sum(axis=2), 1, atol=1e-5)


def test_capture_is_of_the_step_and_block_asked_for(tiny_model):
    first = capture(tiny_model, step=0)["fc1"].a
    assert not np.array_equal(first, capture(tiny_model, step=1)["fc1"].a)
    assert not np.array_equal(first, capture(tiny_model, block=0, step=0)["fc1"].a)
    assert np.array_equal(first, capture(tiny_model, step=0)["fc1"].a)


def test_capture_leaves_no_hooks(tiny_model):
    gemms = capture(tiny_model)
    before = gemms["fc1"].a.copy()
    sample(tiny_model, LABELS, Schedule(), SamplerConfig(steps=2, seed=9))
    assert np.array_equal(before, gemms["fc1"].a)
    assert not tiny_model.blocks[1].mlp.fc1._forward_pre_hooks


def test_capture_without_guidance_has_half_the_batch(tiny_model):
    gemms = capture(tiny_model, settings=SamplerConfig(steps=4, cfg_scale=1))
    assert gemms["qkv"].shape[1] == 3 * 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 1}, "sampler steps must be an integer of at least 2, not 1"),
        ({"cfg_scale": -1.0}, "sampler cfg_scale must be at least 0, not -1.0"),
        ({"cfg_scale": float("nan")}, "sampler cfg_scale must be at least 0, not nan"),
        ({"seed": -1}, "sampler seed must be an integer in .* not -1"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(MixditError, match=message):
        SamplerConfig(**change)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 3]), "labels must be in 0..2, not"),
        (torch.tensor([-1]), "labels must be in 0..2, not"),
        (torch.tensor([]), "labels must be a non-empty vector"),
    ],
)
def test_bad_labels_are_named(tiny_model, labels, message):
    with pytest.raises(MixditError, match=message):
        sample(tiny_model, labels, Schedule(), SETTINGS)


def test_bad_step_block_and_step_count_are_named(tiny_model):
    with pytest.raises(MixditError, match=r"^step must be in 0\.\.3, not 4$"):
        capture(tiny_model, step=4)
    with pytest.raises(MixditError, match=r"^block must be in 0\.\.1, not 2$"):
        capture(tiny_model, block=2)
    with pytest.raises(MixditError, match="sampler steps must be at most 3, not 4"):
        sample(tiny_model, LABELS, Schedule(timesteps=3), SETTINGS)
