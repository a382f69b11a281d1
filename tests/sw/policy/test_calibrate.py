"""Calibration: what is measured, that it is repeatable, and its file."""

import pytest
import torch

from mixdit_sw.errors import MixditError
from mixdit_sw.models.diffusion import SamplerConfig, capture_block
from mixdit_sw.models.schedule import Schedule
from mixdit_sw.policy.calibrate import Calibration, CalibrationConfig, calibrate


def test_statistics_are_those_of_the_operands(small_model, calibration):
    config = calibration.config
    sampler = SamplerConfig(steps=4, cfg_scale=config.cfg_scale, seed=config.seed)
    labels = torch.arange(3)
    for step in range(4):
        gemms = capture_block(small_model, 1, step, labels, Schedule(), sampler)
        a = torch.from_numpy(gemms["fc2"].a[0])
        found = calibration.statistics["blocks.1.mlp.fc2"]
        assert torch.equal(found["absmax"][step], a.abs().amax(dim=0))
        assert torch.equal(found["mean"][step], a.abs().mean(dim=0))
        queries = torch.from_numpy(gemms["qk"].a).view(6, 2, 4, 20)
        heads = calibration.statistics["blocks.1.attn.qk"]["a_absmax"][step]
        assert torch.equal(heads, queries.abs().amax(dim=(0, 2, 3)))


def test_hessian_is_the_mean_outer_product(small_model, calibration):
    sampler = SamplerConfig(steps=4, cfg_scale=2.0, seed=calibration.config.seed)
    parts = [
        capture_block(small_model, 0, step, torch.arange(3), Schedule(), sampler)["qkv"].a[0]
        for step in range(4)
    ]
    rows = torch.cat([torch.from_numpy(part) for part in parts]).double()
    found = calibration.hessians["blocks.0.attn.qkv"].double()
    assert (found - rows.T @ rows / len(rows)).abs().max() < 1e-5 * found.abs().max()


def test_the_same_arguments_give_the_same(small_model, calibration):
    again = calibrate(small_model, Schedule(), calibration.config)
    assert again.timesteps == calibration.timesteps == (999, 666, 333, 0)
    for layer, kinds in calibration.statistics.items():
        for kind, value in kinds.items():
            assert torch.equal(again.statistics[layer][kind], value)
    other = calibrate(small_model, Schedule(), CalibrationConfig(images=3, steps=4, seed=5))
    name = "blocks.0.attn.qkv"
    assert not torch.equal(other.statistics[name]["absmax"], calibration.statistics[name]["absmax"])
    assert other.hessians == {}


def test_ranges_of_timesteps(calibration):
    name = "blocks.0.attn.qkv"
    kinds = calibration.statistics[name]
    assert torch.equal(calibration.over(name, "absmax", (0, 999)), kinds["absmax"].amax(dim=0))
    assert torch.equal(calibration.over(name, "mean", (300, 700)), kinds["mean"][1:3].mean(dim=0))
    assert torch.equal(calibration.over(name, "mean", (400, 500)), kinds["mean"][2])


def test_file(calibration, tmp_path):
    path = tmp_path / "c.safetensors"
    calibration.save(path)
    found = Calibration.load(path)
    assert (found.model, found.timesteps, found.config) == (
        calibration.model,
        calibration.timesteps,
        calibration.config,
    )
    assert list(found.statistics) == list(calibration.statistics)
    for layer, kinds in calibration.statistics.items():
        assert all(torch.equal(found.statistics[layer][kind], v) for kind, v in kinds.items())
    for layer, value in calibration.hessians.items():
        assert torch.equal(found.hessians[layer], value)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(MixditError, match="or damaged: delete it and calibrate again"):
        Calibration.load(path)
    with pytest.raises(MixditError, match="does not exist"):
        Calibration.load(tmp_path / "none")


def test_bad_input(small_model, calibration):
    with pytest.raises(MixditError, match="Calibration images must be a positive integer, not 0"):
        CalibrationConfig(images=0)
    with pytest.raises(MixditError, match="No layer of the model is called 'block': linears and"):
        calibrate(small_model, Schedule(), layers=["block"])
    with pytest.raises(MixditError, match="Layer blocks.9 has no calibration"):
        calibration.over("blocks.9", "absmax", (0, 9))
    small_model.blocks[0].mlp.fc1.weight[0, 0] += 1
    with pytest.raises(MixditError, match="not of .*: calibrate this model"):
        calibration.check_model(small_model)


def test_hooks_are_gone(small_model, calibration):
    assert all(not module._forward_pre_hooks for module in small_model.modules())
