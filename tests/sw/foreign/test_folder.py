"""Loading what diffusers saved: strictly, and naming what is wrong."""

import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file

from mixdit_sw.errors import MixditError
from mixdit_sw.foreign.folder import WEIGHTS, load_transformer


@pytest.fixture
def saved(case, tmp_path):
    case.model.save_pretrained(tmp_path / "transformer")
    return tmp_path / "transformer"


def refusal(folder):
    with pytest.raises(MixditError) as caught:
        load_transformer(folder)
    return str(caught.value).replace(str(folder), "FOLDER")


def change(folder, change):
    """Change the weights or the configuration of a saved model."""
    state = load_file(folder / WEIGHTS)
    change(state)
    save_file(state, folder / WEIGHTS)


def configure(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_saved_model_is_loaded(case, saved):
    plain, case.model = case(), load_transformer(saved)
    assert torch.equal(case(), plain)
    (saved.parent / "model_index.json").write_text("{}")
    case.model = load_transformer(saved.parent)
    assert torch.equal(case(), plain)


def test_parts_and_half_precision_are_loaded(dit, tmp_path):
    dit.model.half().save_pretrained(tmp_path, max_shard_size="50KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    expected = {name: value.float() for name, value in dit.model.state_dict().items()}
    found = load_transformer(tmp_path).state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    next(tmp_path.glob("*00002-of*.safetensors")).unlink()
    assert re.search("weight file FOLDER/.*00002-of.* does not exist: save the", refusal(tmp_path))


NAME = "transformer_blocks.1.ff.net.2.weight"


def test_wrong_weights_are_named(dit, tmp_path):
    dit.model.save_pretrained(tmp_path)
    change(tmp_path, lambda state: state.update({NAME: state[NAME][:, :-1].contiguous()}))
    message = f"weight file FOLDER: {NAME} has shape (40, 159), not (40, 160)"
    assert refusal(tmp_path) == message
    change(tmp_path, lambda state: state.pop(NAME))
    assert refusal(tmp_path) == f"weight file FOLDER lacks {NAME}"
    change(tmp_path, lambda state: state.update({"lora.weight": torch.zeros(2)}))
    assert refusal(tmp_path) == "weight file FOLDER has the unknown tensor lora.weight"
    (tmp_path / WEIGHTS).write_bytes(b"12345678")
    assert refusal(tmp_path).startswith(f"weight file FOLDER/{WEIGHTS} cannot be read: ")
    (tmp_path / WEIGHTS).unlink()
    assert refusal(tmp_path).startswith(f"weight file FOLDER/{WEIGHTS} does not exist: save the m")


def test_wrong_folders_are_named(dit, tmp_path):
    assert refusal(tmp_path) == "Cannot read FOLDER/config.json: No such file or directory"
    (tmp_path / "config.json").write_text("[1]")
    assert refusal(tmp_path) == "FOLDER/config.json must hold an object of parameters"
    (tmp_path / "config.json").write_text("{")
    assert refusal(tmp_path).startswith("Cannot read FOLDER/config.json: it is not JSON (")
    dit.model.save_pretrained(tmp_path)
    configure(tmp_path, norm_type="layer_norm")
    assert refusal(tmp_path).startswith("FOLDER/config.json makes no DiTTransformer2DModel: Forw")
    configure(tmp_path, _class_name="UNet2DModel")
    assert refusal(tmp_path) == (
        "FOLDER holds a UNet2DModel: there are DiTTransformer2DModel, PixArtTransformer2DModel, "
        "SD3Transformer2DModel"
    )
    (tmp_path / f"{WEIGHTS}.index.json").write_text("{}")
    configure(tmp_path, _class_name="DiTTransformer2DModel")
    assert refusal(tmp_path).endswith("index.json has no weight_map of file names")
