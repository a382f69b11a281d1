"""A tiny model to sample from."""

import pytest
from filled_model import filled

from mixdit_sw.models.dit import DiT, DiTConfig
from mixdit_sw.models.load import DiTBundle
from mixdit_sw.models.schedule import Schedule

TINY = DiTConfig(image_size=8, patch=4, hidden=16, heads=2, depth=2, mlp_ratio=2, classes=3)


@pytest.fixture(autouse=True)
def always_one_thread(one_thread):
    """Small models are faster so."""


@pytest.fixture
def tiny_bundle():
    model = filled(DiT, TINY).requires_grad_(False)
    return DiTBundle(model=model, schedule=Schedule(), facts={})
