"""A model that is measured in no time, as a weight file."""

import pytest
from filled_model import filled

from mixdit_sim.search.measure import Task, subject
from mixdit_sw.models.dit import DiT, DiTConfig
from mixdit_sw.models.load import save_dit
from mixdit_sw.models.schedule import Schedule
from mixdit_sw.policy.calibrate import CalibrationConfig
from mixdit_sw.quality.one_step import OneStepConfig
from mixdit_sw.quality.sampling import StudyConfig

TINY = DiTConfig(patch=14, hidden=64, heads=2, depth=2, mlp_ratio=2)
"""Linears have 4 and 8 K-blocks, heads 32 channels, attention 4 tokens."""


@pytest.fixture(autouse=True)
def nothing_kept(one_thread):
    yield
    subject.cache_clear()


@pytest.fixture
def untrained():
    """Save a model of random weights; return its path."""

    def save(config, path):
        save_dit(path, filled(DiT, config), Schedule(), {})
        return path

    return save


@pytest.fixture
def weights(untrained, tmp_path):
    """Path of a model of two blocks."""
    return untrained(TINY, tmp_path / "tiny.safetensors")


@pytest.fixture
def task(weights):
    return Task(
        model=str(weights),
        calibration=CalibrationConfig(images=3, steps=2, hessians=True),
        one_step=OneStepConfig(images=4, steps=2),
        study=StudyConfig(seeds=(0, 1), images=4, batch=4, steps=2),
    )
