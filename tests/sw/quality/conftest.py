"""A tiny model to sample from."""

import pytest
import torch

from mixdit_sw.models.dit import DiT, DiTConfig
from mixdit_sw.models.load import DiTBundle
from mixdit_sw.models.schedule import Schedule

TINY = DiTConfig(image_size=8, patch=4, hidden=16, heads=2, depth=2, mlp_ratio=2, classes=3)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny_bundle():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = DiT(TINY)
        for parameter in model.parameters():
            if parameter.requires_grad and not parameter.any():
                torch.nn.init.normal_(parameter, std=0.2)
    return DiTBundle(model=model.eval().requires_grad_(False), schedule=Schedule(), facts={})
