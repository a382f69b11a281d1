"""Small diffusers transformers with random weights, of the shapes that exist, and calls of them."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch

HEADS, WIDTH = 2, 40
"""Linears have 2.5 K-blocks, heads 20 channels, attention 16 image and 7 text tokens."""

DIT = {
    "num_attention_heads": HEADS,
    "attention_head_dim": WIDTH // HEADS,
    "in_channels": 4,
    "out_channels": 8,
    "num_layers": 2,
    "sample_size": 8,
    "num_embeds_ada_norm": 10,
    "norm_eps": 1e-6,
}
PIXART = {
    "num_attention_heads": HEADS,
    "attention_head_dim": WIDTH // HEADS,
    "num_layers": 2,
    "sample_size": 8,
    "cross_attention_dim": WIDTH,
    "caption_channels": 24,
}
SD3 = {
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "num_layers": 3,
    "attention_head_dim": WIDTH // HEADS,
    "num_attention_heads": HEADS,
    "joint_attention_dim": 24,
    "caption_projection_dim": WIDTH,
    "pooled_projection_dim": 12,
    "pos_embed_max_size": 8,
    "dual_attention_layers": (0,),
    "qk_norm": "rms_norm",
}


@dataclass
class Case:
    """A model, and what it is called with besides the timesteps."""

    model: Any
    inputs: dict[str, Any]

    def __call__(self, t=500):
        times = torch.full((2,), t)
        with torch.no_grad():
            return self.model(**self.inputs, timestep=times).sample

    def run(self):
        """Denoise, as far as calibration can tell."""
        for t in (900, 500, 20):
            self(t)


def build(kind, config):
    diffusers = pytest.importorskip("diffusers", reason="needs the extra `models`")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = getattr(diffusers, kind)(**config)
    return model.eval().requires_grad_(False)


def tensors(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def dit(one_thread):
    inputs = {"hidden_states": tensors(2, 4, 8, 8), "class_labels": torch.tensor([1, 3])}
    return Case(build("DiTTransformer2DModel", DIT), inputs)


@pytest.fixture
def gated(dit):
    return Case(build("DiTTransformer2DModel", DIT | {"activation_fn": "geglu"}), dit.inputs)


@pytest.fixture
def pixart(one_thread):
    inputs = {
        "hidden_states": tensors(2, 4, 8, 8),
        "encoder_hidden_states": tensors(2, 7, 24),
        "encoder_attention_mask": torch.tensor([[1] * 7, [1] * 4 + [0] * 3]),
    }
    return Case(build("PixArtTransformer2DModel", PIXART), inputs)


@pytest.fixture
def sd3(one_thread):
    inputs = {
        "hidden_states": tensors(2, 4, 8, 8),
        "encoder_hidden_states": tensors(2, 7, 24),
        "pooled_projections": tensors(2, 12),
    }
    return Case(build("SD3Transformer2DModel", SD3), inputs)


@pytest.fixture(params=["dit", "pixart", "sd3"])
def case(request):
    return request.getfixturevalue(request.param)
