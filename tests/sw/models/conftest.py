"""Tiny models and data shared by the tests of the models."""

import pytest
import torch
from filled_model import filled

from mixdit_sw.models.data import Split
from mixdit_sw.models.dit import DiT, DiTConfig

TINY = DiTConfig(image_size=8, patch=4, hidden=16, heads=2, depth=2, mlp_ratio=2, classes=3)


@pytest.fixture(autouse=True)
def always_one_thread(one_thread):
    """Small models are faster so."""


@pytest.fixture
def tiny_config():
    return TINY


@pytest.fixture
def tiny_model():
    """Seeded model whose zero-initialised layers are filled, so that every weight matters."""
    return filled(DiT, TINY)


@pytest.fixture
def tiny_data():
    """Grey images whose brightness is their class, with a little noise."""
    rng = torch.Generator().manual_seed(2)
    labels = torch.randint(0, 3, (40,), generator=rng)
    noise = torch.randint(0, 20, (40, 1, 8, 8), generator=rng)
    return Split(images=(labels.view(-1, 1, 1, 1) * 100 + noise).byte(), labels=labels)
