"""The quick measure, against its definition."""

import pytest
import torch

from mixdit_sw.errors import MixditError
from mixdit_sw.models.diffusion import guided_output, initial_noise, trajectory
from mixdit_sw.policy.apply import quantize_model
from mixdit_sw.policy.calibrate import CalibrationConfig, calibrate
from mixdit_sw.policy.description import uniform_policy
from mixdit_sw.quality.guard import NotFiniteError
from mixdit_sw.quality.one_step import OneStep, OneStepConfig

CONFIG = OneStepConfig(images=4, steps=3)


def test_the_model_itself_has_no_distance(tiny_bundle):
    assert OneStep(tiny_bundle, CONFIG).distance() == 0


def test_distance_is_that_of_the_clean_images(tiny_bundle):
    model, schedule = tiny_bundle.model, tiny_bundle.schedule
    labels = torch.arange(4) % 3
    noise = initial_noise(model.config, 4, CONFIG.seed)
    path = list(trajectory(model, schedule, labels, noise, CONFIG.sampler()))[:-1]

    def clean(t, x):
        times = torch.full((4,), t)
        output = guided_output(model, x, times, labels, CONFIG.cfg_scale)
        return schedule.split(x, output, times)[0].clamp(-1, 1)

    wanted = [clean(t, x) for t, x in path]
    measure = OneStep(tiny_bundle, CONFIG)
    calibration = calibrate(model, schedule, CalibrationConfig(images=3, steps=2))
    with quantize_model(model, uniform_policy("mx6"), calibration):
        found = measure.distance()
        errors = torch.stack([clean(t, x) - y for (t, x), y in zip(path, wanted, strict=True)])
    assert found == pytest.approx(float(errors.double().square().mean().sqrt()), rel=1e-12)
    assert found > 0


def test_nan_is_found(tiny_bundle):
    measure = OneStep(tiny_bundle, CONFIG)
    tiny_bundle.model.blocks[1].attn.proj.bias[0] = torch.nan
    with pytest.raises(NotFiniteError, match=r"blocks\.1\.attn\.proj has NaN"):
        measure.distance()


@pytest.mark.parametrize("values", [{"images": 0}, {"steps": 1}, {"seed": -1}])
def test_bad_values(values):
    with pytest.raises(MixditError, match=r"must be a positive integer|at least 2|in \[0"):
        OneStepConfig(**values)
