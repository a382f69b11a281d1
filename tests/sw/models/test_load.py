import pytest
import torch
from safetensors.torch import save_file

from mixdit_sw.models import load
from mixdit_sw.models.classifier import load_classifier
from mixdit_sw.models.load import (
    METADATA_KEY,
    WeightsError,
    load_dit,
    save_dit,
    save_weights,
)
from mixdit_sw.models.schedule import Schedule


@pytest.fixture
def weights(tiny_model, tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_dit(path, tiny_model, Schedule(kind="linear", prediction="eps"), {"steps": 5})
    return path


def error_of(path, load=load_dit):
    """Load a bad file; return the message, which must be one line."""
    with pytest.raises(WeightsError) as caught:
        load(path)
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_round_trip(tiny_model, weights):
    bundle = load_dit(weights)
    assert bundle.model.config == tiny_model.config
    assert bundle.schedule == Schedule(kind="linear", prediction="eps")
    assert bundle.facts == {"steps": 5}
    assert not bundle.model.training
    assert not any(p.requires_grad for p in bundle.model.parameters())
    for name, value in bundle.model.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, tiny_model.state_dict()[name].half().float())


def test_same_weights_give_same_bytes(tiny_model, weights, tmp_path):
    again = tmp_path / "again.safetensors"
    save_dit(again, tiny_model, Schedule(kind="linear", prediction="eps"), {"steps": 5})
    assert again.read_bytes() == weights.read_bytes()


def test_loading_leaves_the_global_generator_alone(weights):
    before = torch.get_rng_state()
    load_dit(weights)
    assert torch.equal(before, torch.get_rng_state())


def test_missing_file(tmp_path):
    assert "does not exist" in error_of(tmp_path / "none.safetensors")


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated_file(weights, kept):
    weights.write_bytes(weights.read_bytes()[:kept])
    assert "cannot be read" in error_of(weights)


def test_folder_instead_of_file(tmp_path):
    assert "cannot be read" in error_of(tmp_path)


def test_unreadable_file(weights, monkeypatch):
    """Root may read every file, so the refusal is made up."""

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied", str(weights))

    monkeypatch.setattr(load, "safe_open", refuse)
    assert "cannot be read" in error_of(weights)


def test_wrong_kind(weights):
    assert "kind 'dit', not 'classifier'" in error_of(weights, load_classifier)


def test_file_of_another_program(tmp_path):
    path = tmp_path / "foreign.safetensors"
    save_file({"x": torch.zeros(2)}, path)
    assert "kind None, not 'dit'" in error_of(path)


@pytest.mark.parametrize("text", ["{", "[1]", '{"kind": "dit"}', '{"kind": "dit", "model": 3}'])
def test_bad_metadata(tmp_path, text):
    path = tmp_path / "bad.safetensors"
    save_file({"x": torch.zeros(2)}, path, {METADATA_KEY: text})
    error_of(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pos_embed": None}, "lacks pos_embed"),
        ({"extra": torch.zeros(1)}, "has the unknown tensor extra"),
        (
            {"blocks.1.mlp.fc1.bias": torch.zeros(7)},
            r"blocks.1.mlp.fc1.bias has shape (7,), not (32,)",
        ),
    ],
)
def test_tensors_that_do_not_fit(tiny_model, weights, tmp_path, change, message):
    path = tmp_path / "misfit.safetensors"
    state = {**tiny_model.state_dict(), **change}
    save_weights(
        path,
        {name: value for name, value in state.items() if value is not None},
        {
            "kind": "dit",
            "model": vars(tiny_model.config),
            "schedule": {"kind": "cosine"},
        },
    )
    assert message in error_of(path)


def test_values_beyond_fp16_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="^w has values that FP16 cannot hold$"):
        save_weights(tmp_path / "x.safetensors", {"w": torch.tensor([1e6])}, {"kind": "dit"})
    assert not list(tmp_path.iterdir())
