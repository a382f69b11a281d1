"""A model that is measured in no time, as a weight file."""

import pytest
import torch

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
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    subject.cache_clear()


@pytest.fixture
def untrained():
    """Save a model of random weights; return its path."""

    def save(config, path):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            model = DiT(config)
            for parameter in model.parameters():
                if parameter.requires_grad and not parameter.any():
                    torch.nn.init.normal_(parameter, std=0.2)
        save_dit(path, model, Schedule(), {})
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
