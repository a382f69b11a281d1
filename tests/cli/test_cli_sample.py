"""`mixdit sample`."""

import zlib

import numpy as np
import pytest
from filled_model import filled

from mixdit_sim.sample import run as sample_run
from mixdit_sw.models.dit import DiT, DiTConfig
from mixdit_sw.models.load import save_dit
from mixdit_sw.models.schedule import Schedule
from mixdit_sw.policy.calibrate import CalibrationConfig


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(
        sample_run,
        "CalibrationConfig",
        lambda hessians: CalibrationConfig(images=2, steps=2, hessians=hessians),
    )


def pixels(path):
    """Return the rows of a PNG file, each after its filter's number."""
    data = zlib.decompress(path.read_bytes()[41:-16])
    return np.frombuffer(data, np.uint8).reshape(28, 29).astype(int)


def test_float_and_golden(report, tmp_path):
    short = ("sample", "--steps", 2, "--class", 7, "--seed", 3)
    plain = report(*short, "--backend", "float", "--out", tmp_path / "float.png")
    assert plain["cycles"] is plain["predicted_cycles"] is plain["mismatches"] is None
    found = report(*short, "--out", tmp_path / "golden.png")
    assert plain["macs"] == found["macs"] == 2 * 2 * 135_588_096
    assert found["backend"] == "golden" and found["label"] == 7 and found["wall_s"] > 0
    assert found["predicted_cycles"] > found["macs"] / 1024
    report(*short, "--out", tmp_path / "again.png")
    first, again, other = (
        (tmp_path / f"{name}.png").read_bytes() for name in ("golden", "again", "float")
    )
    assert first == again != other
    assert first.startswith(b"\x89PNG\r\n\x1a\n")


def test_other_models(report, tmp_path):
    path = tmp_path / "tiny.safetensors"
    config = DiTConfig(patch=14, hidden=64, heads=2, depth=1, mlp_ratio=1, classes=12)
    save_dit(path, filled(DiT, config), Schedule(), {})
    short = ("sample", "--steps", 2, "--preset", "tiny", "--out", tmp_path / "x.png")
    found = report(*short, "--model", path, "--class", 11)
    assert found["macs"] == 2 * 2 * (4 * 64 * 64 * 6 + 2 * 2 * 4 * 4 * 32)
    report(*short, "--backend", "float", "--guidance", 1)
    shipped = pixels(tmp_path / "x.png")
    report(*short, "--backend", "float", "--guidance", 1, "--model", "twin-x30")
    assert np.abs(pixels(tmp_path / "x.png") - shipped).max() <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--steps", 1), "sampler steps must be an integer of at least 2, not 1"),
        (("--class", 10), "Class must be 0..9, not 10"),
        (("--backend", "gpu"), "Backend must be one of float, golden, rtl, not 'gpu'"),
        (("--model", "flux"), "Model must be shipped, twin-x30 or a weight file, not 'flux'"),
        (("--preset", "wide"), "Engine must be one of"),
        (("--policy", "missing.json"), "Cannot read missing.json: No such file or directory"),
        (("--backend", "rtl", "--preset", "paper"), "too large to simulate"),
    ],
)
def test_bad_input(refused, tmp_path, arguments, message):
    assert message in refused("sample", "--out", tmp_path / "x.png", *arguments)


def test_a_mismatch_is_status_1(mixdit, tmp_path, monkeypatch):
    def wrong(bundle, engine, options, progress):
        image, found = sample_image(bundle, engine, options, progress)
        return image, sample_run.replace(found, mismatches=3)

    sample_image = sample_run.sample_image
    monkeypatch.setattr(sample_run, "sample_image", wrong)
    assert mixdit("sample", "--steps", 2, "--out", tmp_path / "x.png").status == 1
