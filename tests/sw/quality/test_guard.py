"""NaN while sampling stops with the layer's name."""

import pytest
import torch

from mixdit_sw.policy.apply import quantize_model
from mixdit_sw.policy.calibrate import CalibrationConfig, calibrate
from mixdit_sw.policy.description import Policy
from mixdit_sw.quality.guard import Guarded, NotFiniteError

X, T, LABELS = torch.ones(2, 1, 8, 8), torch.tensor([7, 7]), torch.tensor([0, 1])


def test_a_sound_model_is_as_before(tiny_bundle):
    guarded = Guarded(tiny_bundle.model)
    assert guarded.config is tiny_bundle.model.config
    assert torch.equal(guarded(X, T, LABELS), tiny_bundle.model(X, T, LABELS))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("name", ["blocks.1.mlp.fc1", "x_embedder.proj", "final_layer.linear"])
def test_the_layer_is_named(tiny_bundle, name, value):
    tiny_bundle.model.get_submodule(name).bias[0] = value
    with pytest.raises(NotFiniteError, match=f"^{name} has NaN or Inf at timestep 7: check its w"):
        Guarded(tiny_bundle.model)(X, T, LABELS)
    assert all(not module._forward_hooks for module in tiny_bundle.model.modules())


def test_a_quantized_layer_is_named(tiny_bundle):
    model = tiny_bundle.model
    calibration = calibrate(model, tiny_bundle.schedule, CalibrationConfig(images=2, steps=2))
    with quantize_model(model, Policy(), calibration):
        model.blocks[0].mlp.fc2.weight_0[3, 4] = torch.nan
        with pytest.raises(NotFiniteError, match="^blocks.0.mlp.fc2 has NaN or Inf at timestep 7"):
            Guarded(model)(X, T, LABELS)


def test_a_bad_input_is_named(tiny_bundle):
    with pytest.raises(NotFiniteError, match="The model's input has NaN or Inf at timestep 7"):
        Guarded(tiny_bundle.model)(X * torch.nan, T, LABELS)
