"""What policies reach in diffusers' own models is what the workloads say the engine runs."""

import pytest
import torch

from mixdit_sim.workloads import BRANCHES, get_workload
from mixdit_sw.foreign.adapt import adapt
from mixdit_sw.models.dit import MatMul
from mixdit_sw.policy.targets import targets

TEXT = 300


def shapes(**sizes):
    return {name: torch.zeros(size, device="meta") for name, size in sizes.items()}


DIT = ("DiTTransformer2DModel", {"out_channels": 8}, shapes(hidden_states=(1, 4, 32, 32)))
DIT[2]["class_labels"] = torch.zeros(1, dtype=torch.long, device="meta")
PIXART = (
    "PixArtTransformer2DModel",
    {"caption_channels": 4096, "use_additional_conditions": False},
    shapes(hidden_states=(1, 4, 128, 128), encoder_hidden_states=(1, TEXT, 4096)),
)
SD3 = (
    "SD3Transformer2DModel",
    {"num_layers": 24, "num_attention_heads": 24, "caption_projection_dim": 1536},
    shapes(
        hidden_states=(1, 16, 64, 64),
        encoder_hidden_states=(1, 154, 4096),
        pooled_projections=(1, 2048),
    ),
)


@pytest.mark.parametrize(
    ("name", "model"),
    [("dit-xl-2-256", DIT), ("pixart-sigma-1024", PIXART), ("sd3-medium-512", SD3)],
)
def test_multiply_adds_are_the_workloads(name, model):
    """By shapes alone: the model has no values."""
    diffusers = pytest.importorskip("diffusers", reason="needs the extra `models`")
    kind, config, inputs = model
    with torch.device("meta"):
        transformer = getattr(diffusers, kind)(**config).eval()
    found = {"linear": 0, "product": 0}

    def count(layer, args):
        if isinstance(layer, MatMul):
            found["product"] += args[0].numel() * args[1].shape[-2]
        else:
            found["linear"] += args[0].numel() * layer.out_features

    with adapt(transformer) as foreign, torch.no_grad():
        for layer in targets(transformer, foreign.layers).values():
            layer.register_forward_pre_hook(count)
        transformer(**inputs, timestep=torch.zeros(1, device="meta"))
    expected = {"linear": 0, "product": 0}
    for matmul in get_workload(name).matmuls:
        expected["linear" if matmul.kind == "linear" else "product"] += matmul.macs // BRANCHES
    assert found == expected
