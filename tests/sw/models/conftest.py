"""Tiny models and data shared by the tests of the models."""

import pytest
import torch

from mixdit_sw.models.data import Split
from mixdit_sw.models.dit import DiT, DiTConfig

TINY = DiTConfig(image_size=8, patch=4, hidden=16, heads=2, depth=2, mlp_ratio=2, classes=3)


@pytest.fixture(autouse=True)
def one_thread():
    """Run the tiny models on one thread: faster, and independent of the number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny_config():
    return TINY


@pytest.fixture
def tiny_model():
    """Seeded model whose zero-initialised layers are filled, so that every weight matters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = DiT(TINY)
        for parameter in model.parameters():
            if parameter.requires_grad and not parameter.any():
                torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


@pytest.fixture
def tiny_data():
    """Grey images whose brightness is their class, with a little noise."""
    rng = torch.Generator().manual_seed(2)
    labels = torch.randint(0, 3, (40,), generator=rng)
    noise = torch.randint(0, 20, (40, 1, 8, 8), generator=rng)
    return Split(images=(labels.view(-1, 1, 1, 1) * 100 + noise).byte(), labels=labels)
