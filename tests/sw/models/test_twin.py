"""The rescaled twin: the same function, other operands."""

from dataclasses import asdict

import pytest
import torch

from mixdit_sw.errors import MixditError
from mixdit_sw.models.diffusion import SamplerConfig, capture_block, sample
from mixdit_sw.models.load import DiTBundle, load_dit
from mixdit_sw.models.schedule import Schedule
from mixdit_sw.models.twin import TwinConfig, make_twin, twin_channels

LABELS = torch.tensor([0, 1, 2])


@pytest.fixture
def bundle(tiny_model):
    return DiTBundle(model=tiny_model.requires_grad_(False), schedule=Schedule(), facts={"seed": 3})


def captured(bundle, name, config):
    return capture_block(bundle.model, 1, 1, LABELS, bundle.schedule, config)[name]


@pytest.mark.parametrize("factor", [10.0, 30.0, 100.0])
def test_the_function_stays(bundle, factor):
    twin = make_twin(bundle, TwinConfig(share=0.1, factor=factor))
    settings = SamplerConfig(steps=5)
    expected = sample(bundle.model, LABELS, bundle.schedule, settings)
    found = sample(twin.model, LABELS, twin.schedule, settings)
    # A few roundings of 2**-24 for each operation on values of about 1.
    assert (found - expected).abs().max() < 1e-4
    assert not torch.equal(found, expected)


def test_chosen_channels_are_larger_by_the_factor(bundle):
    config, settings = TwinConfig(share=0.1, factor=32.0), SamplerConfig(steps=2)
    twin = make_twin(bundle, config)
    channels = twin_channels(bundle.model, config)
    assert [len(c) for c in channels] == [2] * 4
    for name, chosen in (("qkv", channels[2]), ("fc1", channels[3])):
        before, after = (captured(b, name, settings) for b in (bundle, twin))
        expected = torch.ones(16)
        expected[chosen] = 32.0
        a, b = torch.from_numpy(before.a), torch.from_numpy(after.a)
        assert (b - a * expected).abs().max() < 1e-3
        # A power of two divides without rounding.
        assert torch.equal(torch.from_numpy(after.b) * expected, torch.from_numpy(before.b))


def test_other_operands_stay(bundle):
    twin, settings = make_twin(bundle, TwinConfig(share=0.1)), SamplerConfig(steps=2)
    for name in ("qk", "av", "proj", "fc2"):
        before, after = (captured(b, name, settings).a for b in (bundle, twin))
        assert abs(before - after).max() < 1e-4


def test_the_original_stays_and_the_twin_is_labelled(bundle):
    state = {name: value.clone() for name, value in bundle.model.state_dict().items()}
    config = TwinConfig(share=0.2, factor=10.0, seed=4)
    twin = make_twin(bundle, config)
    assert all(torch.equal(bundle.model.state_dict()[n], value) for n, value in state.items())
    assert twin.facts == {"seed": 3, "twin": asdict(config)}
    assert bundle.facts == {"seed": 3}
    assert config.label == "twin, 20 % of channels x10"
    assert TwinConfig().label == "twin, 1 % of channels x30"


def test_channels_follow_the_seed(bundle):
    choices = [
        [c.tolist() for c in twin_channels(bundle.model, TwinConfig(share=0.3, seed=seed))]
        for seed in (0, 0, 1)
    ]
    assert choices[0] == choices[1] != choices[2]
    assert len({tuple(c) for c in choices[0]}) > 1


def test_shipped_twin_has_two_channels_each():
    model = load_dit().model
    assert [len(c) for c in twin_channels(model, TwinConfig())] == [2] * 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"share": 0.0}, r"Twin share must be in \(0, 1\], not 0.0"),
        ({"factor": 0.0}, "Twin factor must be positive, not 0.0"),
        ({"factor": float("inf")}, "Twin factor must be positive, not inf"),
    ],
)
def test_bad_strengths(arguments, message):
    with pytest.raises(MixditError, match=message):
        TwinConfig(**arguments)
