"""`mixdit sample`."""

import pytest

from mixdit_sim.sample import run as sample_run
from mixdit_sw.policy.calibrate import CalibrationConfig


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(
        sample_run,
        "CalibrationConfig",
        lambda hessians: CalibrationConfig(images=2, steps=2, hessians=hessians),
    )


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--steps", 1), "sampler steps must be an integer of at least 2, not 1"),
        (("--class", 10), "Class must be 0..9, not 10"),
        (("--backend", "gpu"), "Backend must be one of float, golden, rtl, not 'gpu'"),
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
