"""Checkpoints of the public DiT (facebookresearch/DiT): `DiT-XL-2-256x256.pt` and its like."""

import math
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mixdit_sw.errors import MixditError
from mixdit_sw.models.dit import DiT, DiTConfig
from mixdit_sw.models.load import DiTBundle, WeightsError, fill
from mixdit_sw.models.schedule import Schedule

HEADS = {384: 6, 768: 12, 1024: 16, 1152: 16}
"""Heads by width: S, B, L and XL. A checkpoint does not say."""


class PublicDiT(DiT):
    """DiT that also predicts variances, which DDIM does without: `forward` drops them.

    Parameters
    ----------
    config : DiTConfig
        Shape; images are latents.
    """

    def __init__(self, config: DiTConfig) -> None:
        super().__init__(config)
        outputs = 2 * config.patch**2 * config.channels
        self.final_layer.linear = nn.Linear(config.hidden, outputs)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """Predict the noise of x (S, C, H, W); see `DiT.forward`."""
        return super().forward(x, t, labels)[:, : self.config.channels]


def load_public_dit(path: Path, heads: int | None = None) -> DiTBundle:
    """Load a checkpoint of the public DiT; all of its shape is in its tensors but the heads.

    Parameters
    ----------
    path : Path
        A state dictionary as `.pt`, or one of training, whose averaged weights ("ema") are taken.
    heads : int, optional
        Attention heads of a block; by default those of the published width.

    Returns
    -------
    DiTBundle
        FP32 model with the schedule that the public models were trained with: policies,
        calibration and sampling (of latents) work on it as on the shipped model.

    Raises
    ------
    WeightsError
        When the file is missing or damaged, or a parameter is missing, unknown or of another
        shape; the message names it.
    MixditError
        When the heads are not known.
    """
    state = _read(path)
    config = _config(path, state, heads)
    # Random initial values of large models take long, and all are replaced.
    with torch.device("meta"):
        model: DiT = PublicDiT(config) if _has_variances(state, config) else DiT(config)
    model.to_empty(device="cpu")
    fill(model, {name: value.float() for name, value in state.items()}, path)
    return DiTBundle(model=model, schedule=Schedule(kind="linear", prediction="eps"), facts={})


def _read(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"weight file {path} does not exist") from None
    except pickle.UnpicklingError:
        raise WeightsError(
            f"weight file {path} holds more than tensors: save its state dictionary alone"
        ) from None
    except (OSError, RuntimeError, EOFError, KeyError, ValueError):
        raise WeightsError(f"weight file {path} cannot be read: it is damaged or no .pt") from None
    if isinstance(content, Mapping):
        content = content.get("ema", content)
    if not isinstance(content, Mapping) or not all(map(_is_tensor, content.values())):
        raise WeightsError(f"weight file {path} holds no state dictionary of a DiT")
    return dict(content)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _config(path: Path, state: Mapping[str, Tensor], heads: int | None) -> DiTConfig:
    """Read the shape of a model off its tensors."""
    wanted = {
        "x_embedder.proj.weight": 4,
        "pos_embed": 3,
        "y_embedder.embedding_table.weight": 2,
        "blocks.0.mlp.fc1.weight": 2,
        "final_layer.linear.weight": 2,
    }
    for name, ndim in wanted.items():
        if name not in state:
            raise WeightsError(f"weight file {path} lacks {name}")
        if state[name].ndim != ndim:
            found = tuple(state[name].shape)
            raise WeightsError(f"weight file {path}: {name} has shape {found}, not {ndim} axes")
    hidden, channels, patch, _ = state["x_embedder.proj.weight"].shape
    if heads is None and hidden not in HEADS:
        raise MixditError(f"No public DiT is {hidden} wide: say how many heads it has (heads=...)")
    numbers = [re.match(r"blocks\.(\d+)\.", name) for name in state]
    return DiTConfig(
        image_size=math.isqrt(state["pos_embed"].shape[1]) * patch,
        channels=channels,
        patch=patch,
        hidden=hidden,
        heads=HEADS[hidden] if heads is None else heads,
        depth=1 + max(int(number[1]) for number in numbers if number),
        mlp_ratio=max(1, state["blocks.0.mlp.fc1.weight"].shape[0] // hidden),
        classes=len(state["y_embedder.embedding_table.weight"]) - 1,
    )


def _has_variances(state: Mapping[str, Tensor], config: DiTConfig) -> bool:
    return len(state["final_layer.linear.weight"]) > config.patch**2 * config.channels
