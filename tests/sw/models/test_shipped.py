"""The weights in the package: they load, are small, and do what the documentation says."""

import pytest
import torch

from mixdit_sw.models.classifier import CLASSIFIER_WEIGHTS, accuracy, load_classifier
from mixdit_sw.models.data import DATA_DIR, load_split, to_signed
from mixdit_sw.models.diffusion import SamplerConfig, sample
from mixdit_sw.models.dit import DiTConfig
from mixdit_sw.models.load import DIT_WEIGHTS, load_dit
from mixdit_sw.models.training import read_log

needs_data = pytest.mark.skipif(
    not DATA_DIR.exists(), reason="the Debian package dataset-fashion-mnist is not installed"
)


def test_files_are_small():
    assert DIT_WEIGHTS.stat().st_size < 10e6
    assert CLASSIFIER_WEIGHTS.stat().st_size < 1e6


def test_model_is_the_default_one_and_finished_its_run():
    bundle = load_dit()
    assert bundle.model.config == DiTConfig()
    assert bundle.facts["steps"] == bundle.facts["train"]["steps"]


def test_log_is_that_of_the_weights():
    facts, last = load_dit().facts, read_log(DIT_WEIGHTS.with_suffix(".jsonl"))[-1]
    assert (last["step"], last["loss"], last["eval_loss"]) == (
        facts["steps"],
        facts["loss"],
        facts["eval_loss"],
    )


def test_samples_are_of_the_requested_classes():
    bundle, labels = load_dit(), torch.arange(20) % 10
    images = sample(bundle.model, labels, bundle.schedule, SamplerConfig(steps=10))
    assert accuracy(load_classifier(), images, labels) >= 0.75


@needs_data
def test_classifier_recognises_test_images():
    test = load_split("t10k")
    images, labels = to_signed(test.images[:1000]), test.labels[:1000]
    assert accuracy(load_classifier(), images, labels) > 0.9
