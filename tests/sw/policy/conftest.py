"""A small model with ragged K-blocks and heads, and its calibration."""

import pytest
import torch
from filled_model import filled

from mixdit_sw.models.dit import DiT, DiTConfig
from mixdit_sw.models.schedule import Schedule
from mixdit_sw.policy.calibrate import CalibrationConfig, calibrate

SMALL = DiTConfig(image_size=8, patch=4, hidden=40, heads=2, depth=2, mlp_ratio=2, classes=3)
"""Linears have 2.5 and 5 K-blocks, heads 20 channels, attention 4 tokens."""


@pytest.fixture(autouse=True)
def always_one_thread(one_thread):
    """Small models are faster so."""


@pytest.fixture
def small_model():
    return filled(DiT, SMALL).requires_grad_(False)


@pytest.fixture
def calibration(small_model):
    config = CalibrationConfig(images=3, steps=4, hessians=True)
    return calibrate(small_model, Schedule(), config)


@pytest.fixture
def inputs():
    """Noisy images, one timestep, labels."""
    rng = torch.Generator().manual_seed(3)
    x = torch.randn(4, 1, 8, 8, generator=rng)
    return x, torch.full((4,), 500), torch.tensor([0, 1, 2, 3])
