"""The shipped statistics of the real images."""

import pytest
import torch

from mixdit_sw.errors import MixditError
from mixdit_sw.models.classifier import load_classifier
from mixdit_sw.models.data import DATA_DIR, load_split, to_signed
from mixdit_sw.quality.frechet import feature_statistics, frechet_distance
from mixdit_sw.quality.reference import (
    features_of,
    load_reference,
    main,
    save_reference,
)

needs_data = pytest.mark.skipif(not DATA_DIR.exists(), reason="needs dataset-fashion-mnist")


def test_file_round_trip(tmp_path):
    found = load_reference()
    assert (found.count, found.mean.shape, found.covariance.dtype) == (
        60000,
        (128,),
        torch.float64,
    )
    save_reference(tmp_path / "r.safetensors", found)
    again = load_reference(tmp_path / "r.safetensors")
    assert torch.equal(again.mean, found.mean)
    assert torch.equal(again.covariance, found.covariance)


@needs_data
def test_real_images_are_near():
    classifier = load_classifier()
    images = to_signed(load_split("t10k").images[:1000])
    real = feature_statistics(features_of(classifier, images))
    noise = feature_statistics(features_of(classifier, torch.randn(1000, 1, 28, 28).clamp(-1, 1)))
    assert frechet_distance(real, load_reference()) < 5
    assert frechet_distance(noise, load_reference()) > 100


@needs_data
@pytest.mark.heavy
def test_shipped_file_is_what_the_command_makes(tmp_path):
    assert main(["--out", str(tmp_path / "r.safetensors")]) == 0
    found, shipped = load_reference(tmp_path / "r.safetensors"), load_reference()
    assert frechet_distance(found, shipped) < 1e-4


def test_missing_data_and_files(tmp_path, capsys):
    assert main(["--data", str(tmp_path), "--out", str(tmp_path / "r")]) == 2
    assert "install the Debian package" in capsys.readouterr().err
    with pytest.raises(MixditError, match="python -m mixdit_sw.quality.reference makes it"):
        load_reference(tmp_path / "none")
    (tmp_path / "bad").write_bytes(b"xyz")
    with pytest.raises(MixditError, match="Cannot read .*bad: it is damaged"):
        load_reference(tmp_path / "bad")
