"""A study of the shipped model, very short."""

import time

import pytest
import torch

from mixdit_sw.errors import MixditError
from mixdit_sw.models.diffusion import SamplerConfig, sample
from mixdit_sw.models.load import load_dit
from mixdit_sw.models.twin import make_twin
from mixdit_sw.policy.apply import quantize_model
from mixdit_sw.policy.calibrate import CalibrationConfig, calibrate
from mixdit_sw.policy.description import LinearRule, Policy, paper_policy, uniform_policy
from mixdit_sw.quality.sampling import StudyConfig
from mixdit_sw.quality.study import Study

SHORT = StudyConfig(seeds=(0, 1), images=6, batch=6, steps=2)
CALIBRATION = CalibrationConfig(images=4, steps=2)


def test_more_bits_are_nearer_to_the_float_model(tmp_path):
    study = Study(make_twin(load_dit()), SHORT, tmp_path, "cpu")
    calibration = study.calibration(CALIBRATION)
    policies = [
        uniform_policy("mx6"),
        Policy(name="one block", linear=LinearRule(high_share=0.01)),
        uniform_policy("mx9"),
    ]
    scores = [study.run(policy, calibration) for policy in policies]
    pixels = [s.pixel_distance.mean for s in scores]
    assert pixels[0] > pixels[1] > pixels[2] > 0
    assert study.run(policies[0], calibration) == scores[0]
    assert study.score(study.floats()).pixel_distance.values == (0, 0)


def test_a_study_goes_on_where_it_was(tmp_path, monkeypatch):
    config = StudyConfig(seeds=(0,), images=2, batch=2, steps=2)
    first = Study(load_dit(), config, tmp_path, "cpu")
    policy = uniform_policy("mx4")
    scores = first.run(policy, first.calibration(CALIBRATION))
    second = Study(load_dit(), config, tmp_path, "cpu")
    monkeypatch.setattr("mixdit_sw.quality.sampling.trajectory", None)
    monkeypatch.setattr("mixdit_sw.policy.calibrate.trajectory", None)
    assert second.run(policy, second.calibration(CALIBRATION)) == scores
    with pytest.raises(MixditError, match="holds samples of something else"):
        second.run(uniform_policy("mx6", name="mx4"), second.calibration(CALIBRATION))


@pytest.mark.heavy
def test_quantized_sampling_takes_less_than_four_times_as_long():
    bundle = load_dit()
    calibration = calibrate(bundle.model, bundle.schedule, CALIBRATION)
    labels, settings = torch.arange(100) % 10, SamplerConfig(steps=3)

    def seconds():
        start = time.process_time()
        sample(bundle.model, labels, bundle.schedule, settings)
        return time.process_time() - start

    seconds()
    before = seconds()
    with quantize_model(bundle.model, paper_policy(0.01, 1), calibration):
        seconds()
        after = seconds()
    assert after < 4 * before
