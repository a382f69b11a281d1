"""Transformers that diffusers saved in a folder, loaded strictly and without a network."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mixdit_sw.errors import MixditError
from mixdit_sw.files import load_object
from mixdit_sw.foreign.adapt import TIMESTEPS
from mixdit_sw.models.load import WeightsError, fill

WEIGHTS = "diffusion_pytorch_model.safetensors"


def load_transformer(folder: Path) -> nn.Module:
    """Load a transformer in FP32, ready for inference.

    Parameters
    ----------
    folder : Path
        What `save_pretrained` of the model wrote, or of a whole pipeline, whose `transformer` is
        taken.

    Raises
    ------
    WeightsError
        When files are missing or damaged, or a parameter is missing, unknown or of another shape;
        the message names it.
    MixditError
        When it is a model that cannot be quantized, or its configuration is wrong.
    ModuleNotFoundError
        When diffusers is not installed.
    """
    if (folder / "model_index.json").exists():
        folder = folder / "transformer"
    config = load_object(folder / "config.json")
    kind = config.get("_class_name")
    if kind not in TIMESTEPS:
        raise MixditError(f"{folder} holds a {kind}: there are {', '.join(TIMESTEPS)}")
    state = _read_weights(folder)

    import diffusers

    try:
        with torch.random.fork_rng(devices=[]):
            model = getattr(diffusers, kind).from_config(config)
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise MixditError(f"{folder / 'config.json'} makes no {kind}: {error}") from error
    fill(model, {name: value.float() for name, value in state.items()}, folder)
    return model


def _read_weights(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of one file, or of the parts that an index names."""
    index = folder / f"{WEIGHTS}.index.json"
    names = {WEIGHTS}
    if index.exists():
        parts = load_object(index).get("weight_map")
        if not isinstance(parts, dict) or not all(isinstance(x, str) for x in parts.values()):
            raise WeightsError(f"{index} has no weight_map of file names")
        names = set(parts.values())
    state: dict[str, Tensor] = {}
    for name in sorted(names):
        path = folder / name
        try:
            state |= load_file(path)
        except FileNotFoundError:
            raise WeightsError(
                f"weight file {path} does not exist: save the model as safetensors, "
                "without a variant"
            ) from None
        except (SafetensorError, OSError) as error:
            reason = " ".join(str(error).split())
            raise WeightsError(f"weight file {path} cannot be read: {reason}") from None
    return state
