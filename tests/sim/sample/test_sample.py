"""Sampling with the engine's cycles, on a tiny model and the smallest engine."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from filled_model import filled

from mixdit_hw.engine.config import get_engine
from mixdit_sim.engine.run import LayerRun
from mixdit_sim.sample import run as sample_run
from mixdit_sim.sample.report import SampleOptions
from mixdit_sim.sample.run import sample_image
from mixdit_sw.errors import MixditError
from mixdit_sw.models.diffusion import SamplerConfig, sample
from mixdit_sw.models.dit import DiT, DiTConfig
from mixdit_sw.models.load import DiTBundle
from mixdit_sw.models.schedule import Schedule
from mixdit_sw.policy.calibrate import CalibrationConfig, calibrate
from mixdit_sw.policy.description import (
    Dynamic,
    LinearRule,
    Override,
    Policy,
    paper_policy,
    uniform_policy,
)
from mixdit_sw.policy.golden import golden_products
from mixdit_sw.policy.json_form import save_json
from mixdit_sw.policy.modules import QuantizedLinear
from mixdit_sw.policy.select import resolve
from mixdit_sw.quality.guard import NotFiniteError

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = DiTConfig(image_size=8, patch=4, hidden=24, heads=2, depth=1, mlp_ratio=2, classes=3)
TINY = get_engine("tiny")
SHORT = SampleOptions(steps=2, label=1, guidance=1.0)
MACS = 2 * (4 * 24 * (72 + 24 + 48 + 48) + 2 * 2 * 4 * 4 * 12)
"""Two steps of four tokens: linears, and two products of two heads."""


@pytest.fixture
def bundle():
    return DiTBundle(model=filled(DiT, CONFIG).requires_grad_(False), schedule=Schedule(), facts={})


def with_policy(policy, tmp_path, options=SHORT):
    save_json(tmp_path / "policy.json", policy)
    return replace(options, policy=tmp_path / "policy.json")


def same_bits(a, b):
    return np.array_equal(a.numpy().view(np.uint32), b.numpy().view(np.uint32))


def test_float_is_the_sampler(bundle):
    image, report = sample_image(bundle, TINY, replace(SHORT, backend="float"))
    settings = SamplerConfig(steps=2, cfg_scale=1.0)
    assert same_bits(image, sample(bundle.model, torch.tensor([1]), bundle.schedule, settings)[0])
    assert report.macs == MACS
    values = report.to_dict()
    for key in ("scope", "policy", "cycles", "predicted_cycles", "words", "mismatches"):
        assert values[key] is None


def test_only_grey_images():
    model = filled(DiT, replace(CONFIG, channels=3))
    with pytest.raises(MixditError, match="Images must be grey, not of 3 channels"):
        sample_image(DiTBundle(model=model, schedule=Schedule(), facts={}), TINY, SHORT)


def test_golden_has_the_golden_models_bits(bundle):
    image, report = sample_image(bundle, TINY, SHORT)
    assert not any(isinstance(m, QuantizedLinear) for m in bundle.model.modules())
    again, _ = sample_image(bundle, TINY, SHORT)
    other, _ = sample_image(bundle, TINY, replace(SHORT, seed=1))
    assert same_bits(image, again) and not same_bits(image, other)
    policy = paper_policy(0.01, 1)
    calibration = calibrate(bundle.model, bundle.schedule, CalibrationConfig())
    with sample_run.apply_plan(bundle.model, resolve(policy, calibration, bundle.model)):
        kind = sample_run.parse_kind(TINY.array.accumulator)
        settings = SamplerConfig(steps=2, cfg_scale=1.0)
        with golden_products(bundle.model, kind):
            exact = sample(bundle.model, torch.tensor([1]), bundle.schedule, settings)[0]
    assert same_bits(image, exact)
    assert report.macs == MACS and report.scope == "engine" and report.policy == "paper"
    assert report.predicted_cycles > 0
    assert report.cycles is None and report.mismatches is None


def test_rtl_gives_the_same_image_and_the_predicted_cycles(bundle):
    options = replace(SHORT, backend="rtl")
    image, report = sample_image(bundle, TINY, options)
    golden, predicted = sample_image(bundle, TINY, SHORT)
    assert same_bits(image, golden)
    assert report.mismatches == 0
    assert report.words == 2 * (4 * (72 + 24 + 48 + 24) + 2 * (4 * 4 + 4 * 12))
    assert report.cycles == report.predicted_cycles == predicted.predicted_cycles


def test_one_wrong_bit_is_a_mismatch(bundle, monkeypatch):
    """What the RTL gives is compared word by word with what the model saw."""

    def faulty(engine, layers, **how):
        runs = []
        for number, layer in enumerate(layers):
            c = [golden(gemm, engine) for gemm in layer]
            if number == 5:
                c[0].view(np.uint32)[1, 2] ^= 1
            runs.append(LayerRun(c, Outcome(), {}))
        return runs

    class Outcome:
        cycles = 10

    monkeypatch.setattr(sample_run, "run_layers", faulty)
    monkeypatch.setattr(sample_run, "check_simulable", lambda *args: None)
    _, report = sample_image(bundle, TINY, replace(SHORT, backend="rtl"))
    assert report.mismatches == 1 and report.cycles == 120


def golden(gemm, engine):
    from mixdit_sw.gemm.epilogue import apply_epilogue
    from mixdit_sw.gemm.fast import golden_gemm

    kind = sample_run.parse_kind(engine.array.accumulator)
    return apply_epilogue(golden_gemm(gemm.a, gemm.b, kind), bias=gemm.bias)


def test_policies_and_plans_are_files(bundle, tmp_path):
    policy = Policy(
        name="mine",
        linear=LinearRule(weight_method="gptq"),
        overrides=(Override(timesteps=(0, 99), linear=LinearRule(activation="mx9")),),
    )
    image, report = sample_image(bundle, TINY, with_policy(policy, tmp_path))
    assert report.policy == "mine"
    calibration = calibrate(bundle.model, bundle.schedule, CalibrationConfig(hessians=True))
    plan = resolve(policy, calibration, bundle.model)
    plan.save(tmp_path / "plan.json")
    found, _ = sample_image(bundle, TINY, replace(SHORT, policy=tmp_path / "plan.json"))
    assert same_bits(found, image)


def test_cycles_of_what_is_not_known_are_null(bundle, tmp_path):
    for policy in (
        Policy(linear=LinearRule(dynamic=Dynamic())),
        uniform_policy("mxfp4"),
        uniform_policy("float32"),
    ):
        _, report = sample_image(bundle, TINY, with_policy(policy, tmp_path))
        assert report.predicted_cycles is None and report.scope is None
        assert report.macs == MACS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backend": "fpga"}, "^Backend must be one of float, golden, rtl, not 'fpga'$"),
        ({"label": 3}, r"^Class must be 0..2, not 3$"),
        ({"label": -1}, r"^Class must be 0..2, not -1$"),
        ({"steps": 1}, "^sampler steps must be an integer of at least 2, not 1$"),
        ({"steps": 1001}, "^sampler steps must be at most 1000, not 1001$"),
        ({"seed": -1}, "^sampler seed must be"),
        ({"guidance": -1.0}, "^sampler cfg_scale must be"),
    ],
)
def test_bad_options(bundle, changes, message):
    with pytest.raises(MixditError, match=message):
        sample_image(bundle, TINY, replace(SHORT, **changes))


def test_policies_that_do_not_fit(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(sample_run, "check_simulable", lambda *args: None)
    options = with_policy(Policy(), tmp_path, replace(SHORT, backend="float"))
    with pytest.raises(MixditError, match="^The float backend takes no policy: use --backend gold"):
        sample_image(bundle, TINY, options)
    rtl = replace(SHORT, backend="rtl")
    options = with_policy(uniform_policy("mxfp4"), tmp_path, rtl)
    message = "^The engine multiplies mx9, mx6, mx4, not mxfp4: use --backend golden$"
    with pytest.raises(MixditError, match=message):
        sample_image(bundle, TINY, options)
    options = with_policy(uniform_policy("float32"), tmp_path, rtl)
    with pytest.raises(MixditError, match="^The policy quantizes nothing that could run on RTL"):
        sample_image(bundle, TINY, options)


def test_rtl_is_limited(bundle, monkeypatch):
    monkeypatch.setattr(sample_run, "check_simulable", lambda *args: None)
    _, report = sample_image(bundle, TINY, SHORT)
    step = report.predicted_cycles // 2
    monkeypatch.setattr(sample_run, "RTL_CYCLES", 5 * step)
    message = (
        rf"^7 steps are about {7 * step:,} cycles, and RTL is limited to {5 * step:,}: "
        "take at most 5 steps, or --backend golden$"
    )
    with pytest.raises(MixditError, match=message):
        sample_image(bundle, TINY, replace(SHORT, backend="rtl", steps=7))


def test_nan_stops_with_the_layers_name(bundle, monkeypatch):
    # Weights are checked when a plan is applied; this one goes bad later.
    def spoil(model, plan, calibration):
        quantized = apply_plan(model, plan, calibration)
        model.blocks[0].mlp.fc1.weight_0[1, 2] = torch.nan
        return quantized

    apply_plan = sample_run.apply_plan
    monkeypatch.setattr(sample_run, "apply_plan", spoil)
    with pytest.raises(NotFiniteError, match="^blocks.0.mlp.fc1 has NaN or Inf at timestep 999"):
        sample_image(bundle, TINY, SHORT)
    assert not any(isinstance(m, QuantizedLinear) for m in bundle.model.modules())
