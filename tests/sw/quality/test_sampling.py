"""Sampling in batches that can be resumed."""

from dataclasses import replace

import pytest
import torch

from mixdit_sw.errors import MixditError
from mixdit_sw.models.diffusion import sample
from mixdit_sw.quality import sampling
from mixdit_sw.quality.guard import NotFiniteError
from mixdit_sw.quality.sampling import StudyConfig, pick_device, sample_study

CONFIG = StudyConfig(seeds=(0, 5), images=5, batch=2, steps=3)
PARTS = ("000000_2", "000002_2", "000004_1")
FILES = [f"seed{seed}_image{part}.safetensors" for seed in (0, 5) for part in PARTS]


def test_images_are_those_of_the_sampler(tiny_bundle, tmp_path):
    seen = []
    found = sample_study(
        tiny_bundle, CONFIG, tmp_path, {}, progress=lambda done, total: seen.append((done, total))
    )
    labels = torch.tensor([0, 1, 2, 0, 1])
    for seed, images in zip((0, 5), found, strict=True):
        expected = sample(
            tiny_bundle.model, labels, tiny_bundle.schedule, CONFIG.sampler(seed), batch=2
        )
        assert torch.equal(images, expected)
    assert seen == [(n, 10) for n in (2, 4, 5, 7, 9, 10)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["identity.json", *FILES]


def test_an_interruption_loses_a_batch(tiny_bundle, tmp_path):
    def stop(done, total):
        if done == 7:
            raise KeyboardInterrupt

    expected = sample_study(tiny_bundle, CONFIG, tmp_path / "whole", {})
    with pytest.raises(KeyboardInterrupt):
        sample_study(tiny_bundle, CONFIG, tmp_path / "part", {}, progress=stop)
    there = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "part").glob("seed*")}
    assert sorted(there) == FILES[:4]
    found = sample_study(tiny_bundle, CONFIG, tmp_path / "part", {})
    assert all(torch.equal(f, e) for f, e in zip(found, expected, strict=True))
    after = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "part").glob("seed*")}
    assert {name: after[name] for name in there} == there


def test_a_folder_holds_one_thing(tiny_bundle, tmp_path):
    sample_study(tiny_bundle, CONFIG, tmp_path, {"policy": "a"})
    with pytest.raises(MixditError, match="holds samples of something else: remove it"):
        sample_study(tiny_bundle, CONFIG, tmp_path, {"policy": "b"})
    with pytest.raises(MixditError, match="holds samples of something else"):
        sample_study(tiny_bundle, replace(CONFIG, steps=2), tmp_path, {"policy": "a"})


def test_more_images_and_seeds_go_on_from_those_that_are_there(tiny_bundle, tmp_path, monkeypatch):
    larger = replace(CONFIG, seeds=(0, 5, 7), images=6)
    expected = sample_study(tiny_bundle, larger, tmp_path / "at once", {})
    sample_study(tiny_bundle, CONFIG, tmp_path / "grown", {})
    sampled = []
    noise = sampling.initial_noise
    monkeypatch.setattr(
        sampling, "initial_noise", lambda *args: (sampled.append(args[1:]), noise(*args))[1]
    )
    grown = sample_study(tiny_bundle, larger, tmp_path / "grown", {})
    # The last batch of a seed had one image; it is not mixed with others.
    assert sampled == [(2, 0, 4), (2, 5, 4), (2, 7, 0), (2, 7, 2), (2, 7, 4)]
    assert all(torch.equal(g, e) for g, e in zip(grown, expected, strict=True))
    smaller = sample_study(tiny_bundle, CONFIG, tmp_path / "grown", {})
    assert [len(images) for images in smaller] == [5, 5] and len(sampled) == 5


def test_damaged_files(tiny_bundle, tmp_path):
    sample_study(tiny_bundle, CONFIG, tmp_path, {})
    path = tmp_path / FILES[1]
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(MixditError, match=f"{FILES[1]} is damaged: remove it"):
        sample_study(tiny_bundle, CONFIG, tmp_path, {})
    path.write_bytes((tmp_path / FILES[2]).read_bytes())
    with pytest.raises(MixditError, match="holds 1 images, not 2: remove it"):
        sample_study(tiny_bundle, CONFIG, tmp_path, {})


def test_nan_stops_with_the_layer(tiny_bundle, tmp_path):
    tiny_bundle.model.blocks[1].attn.proj.bias[3] = torch.nan
    with pytest.raises(NotFiniteError, match=r"blocks.1.attn.proj has NaN or Inf at timestep 999"):
        sample_study(tiny_bundle, CONFIG, tmp_path, {})
    assert not list(tmp_path.glob("seed*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": ()}, "Study seeds must be distinct, and at least one"),
        ({"seeds": (1, 1)}, "Study seeds must be distinct"),
        ({"seeds": (-1,)}, "sampler seed must be"),
        ({"images": 1}, "Study images must be an integer of at least 2, not 1"),
        ({"batch": 0}, "Study batch must be an integer of at least 1, not 0"),
        ({"steps": 1}, "sampler steps must be"),
    ],
)
def test_bad_settings(arguments, message):
    with pytest.raises(MixditError, match=message):
        StudyConfig(**arguments)


def test_devices():
    assert pick_device("cpu").type == "cpu"
    assert pick_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(MixditError, match="Device must be cpu or cuda, not 'tpu9'"):
        pick_device("tpu9")
    if not torch.cuda.is_available():
        with pytest.raises(MixditError, match="There is no CUDA device: use --device cpu"):
            pick_device("cuda")
