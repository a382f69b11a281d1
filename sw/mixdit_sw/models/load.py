"""Weight files: the shipped models, how they are written and how they are read.

A weight file is a safetensors file of FP16 tensors whose metadata key `mixdit` holds JSON: the
`kind` of model and, for the diffusion model, the shape, the noise schedule and facts about the run.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from mixdit_sw.errors import MixditError
from mixdit_sw.files import write_atomically
from mixdit_sw.models.dit import DiT, DiTConfig
from mixdit_sw.models.schedule import Schedule

WEIGHTS_DIR = Path(__file__).parent / "weights"
DIT_WEIGHTS = WEIGHTS_DIR / "fashion_dit.safetensors"
METADATA_KEY = "mixdit"


class WeightsError(MixditError):
    """A weight file is missing, damaged or does not fit the model."""


@dataclass(frozen=True, kw_only=True)
class DiTBundle:
    """A trained diffusion model with what is needed to sample from it.

    Attributes
    ----------
    model : DiT
        FP32 model in evaluation mode, without gradients.
    schedule : Schedule
        Noise schedule and prediction type that it was trained with.
    facts : dict
        Facts about the training run: `steps`, `seed`, `loss`, `eval_loss`, `seconds`.
    """

    model: DiT
    schedule: Schedule
    facts: dict[str, Any]


def save_weights(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors as FP16, and `metadata` as JSON, atomically.

    Raises
    ------
    WeightsError
        If a value is not finite in FP16.
    """
    halves = {name: value.detach().half().contiguous() for name, value in state.items()}
    for name, value in halves.items():
        if not value.isfinite().all():
            raise WeightsError(f"{name} has values that FP16 cannot hold")
    content = save(halves, {METADATA_KEY: json.dumps(metadata, sort_keys=True)})
    write_atomically(path, lambda partial: partial.write_bytes(content))


def read_weights(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a weight file as FP32 tensors and its metadata.

    Raises
    ------
    WeightsError
        If the file is missing, truncated, of another program or of another kind of model.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get(METADATA_KEY, "{}"))
            names = file.keys()
            state = {name: file.get_tensor(name).float() for name in names}
    except FileNotFoundError:
        raise WeightsError(f"weight file {path} does not exist") from None
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        reason = " ".join(str(error).split())
        raise WeightsError(f"weight file {path} cannot be read: {reason}") from None
    found = metadata.get("kind") if isinstance(metadata, dict) else None
    if found != kind:
        raise WeightsError(f"weight file {path} holds a model of kind {found!r}, not {kind!r}")
    return state, metadata


def fill(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Copy `state` into `model`; make the model ready for inference.

    Raises
    ------
    WeightsError
        If a tensor is missing, unknown or of another shape; the message names the first.
    """
    expected = model.state_dict()
    for name in sorted(expected.keys() | state.keys()):
        if name not in state:
            raise WeightsError(f"weight file {path} lacks {name}")
        if name not in expected:
            raise WeightsError(f"weight file {path} has the unknown tensor {name}")
        if state[name].shape != expected[name].shape:
            raise WeightsError(
                f"weight file {path}: {name} has shape {tuple(state[name].shape)}, "
                f"not {tuple(expected[name].shape)}"
            )
    model.load_state_dict(dict(state))
    model.eval().requires_grad_(False)


def save_dit(path: Path, model: DiT, schedule: Schedule, facts: Mapping[str, Any]) -> None:
    """Write a diffusion model, its schedule and facts about its training."""
    metadata = {
        "kind": "dit",
        "model": asdict(model.config),
        "schedule": asdict(schedule),
        "facts": dict(facts),
    }
    save_weights(path, model.state_dict(), metadata)


def load_dit(path: Path = DIT_WEIGHTS) -> DiTBundle:
    """Load a diffusion model; by default the shipped one.

    Raises
    ------
    WeightsError
        If the file is missing, truncated, of another kind or does not fit its own configuration.
    """
    state, metadata = read_weights(path, "dit")
    try:
        config, schedule = DiTConfig(**metadata["model"]), Schedule(**metadata["schedule"])
    except (KeyError, TypeError, MixditError) as error:
        raise WeightsError(f"weight file {path} has bad metadata: {error}") from None
    with torch.random.fork_rng(devices=[]):
        model = DiT(config)
    fill(model, state, path)
    return DiTBundle(model=model, schedule=schedule, facts=metadata.get("facts", {}))
