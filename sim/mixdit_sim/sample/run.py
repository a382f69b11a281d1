"""An image from a model: in floating point, quantized, or checked on RTL."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mixdit_hw.engine.config import EngineConfig
from mixdit_sim.array.rtl import check_simulable
from mixdit_sim.engine.run import run_layers
from mixdit_sim.sample.ledger import Ledger, formats_of
from mixdit_sim.sample.report import BACKENDS, SampleOptions, SampleReport
from mixdit_sw.engine.parts import split_k
from mixdit_sw.errors import MixditError
from mixdit_sw.gemm.kinds import parse_kind
from mixdit_sw.models.diffusion import SamplerConfig, initial_noise, trajectory
from mixdit_sw.models.load import DiTBundle
from mixdit_sw.policy.apply import QuantizedModel, apply_plan
from mixdit_sw.policy.calibrate import CalibrationConfig, calibrate
from mixdit_sw.policy.description import Policy, paper_policy
from mixdit_sw.policy.file import load_policy
from mixdit_sw.policy.golden import golden_products
from mixdit_sw.policy.plan import Plan
from mixdit_sw.policy.select import resolve
from mixdit_sw.policy.targets import targets
from mixdit_sw.quality.guard import Guarded

RTL_CYCLES = 4_000_000
"""Cycles that may be simulated for an image."""

Tell = Callable[[str], None]


def sample_image(
    bundle: DiTBundle,
    engine: EngineConfig,
    options: SampleOptions,
    progress: Tell = lambda line: None,
) -> tuple[Tensor, SampleReport]:
    """Sample an image; the same arguments give the same bits.

    Parameters
    ----------
    bundle : DiTBundle
        Float model; it is quantized while this runs.
    engine : EngineConfig
        Engine whose cycles are counted.
    options : SampleOptions
        What to sample.
    progress : callable
        Told in a line what happens.

    Returns
    -------
    Tensor
        Image float32 (C, H, W) in [-1, 1].
    SampleReport
        What it took.

    Raises
    ------
    MixditError
        When an option is wrong, the policy is not for this model or engine, or there are too many
        steps for RTL.
    NotFiniteError
        When a layer's result has NaN or Inf; the message names it.
    """
    sampler = _check(bundle, engine, options)
    if options.backend == "float":
        start = time.perf_counter()
        layers = list(targets(bundle.model, Policy().layers).values())
        ledger = Ledger()
        with ledger.watching(layers):
            image = _denoise(bundle, options, sampler, progress, lambda done: None)
        return image, _report(options, None, ledger, None, time.perf_counter() - start)
    with _quantized(bundle, options, progress) as quantized:
        start = time.perf_counter()
        layers = [bundle.model.get_submodule(n) for n in _names(quantized.plan)]
        image, ledger = _quantized_image(bundle, engine, options, sampler, layers, progress)
        wall = time.perf_counter() - start
    report = _report(options, quantized.plan, ledger, ledger.predict(engine), wall)
    if options.backend == "rtl":
        report = _on_rtl(engine, options, ledger, report, progress)
    return image, report


def _check(bundle: DiTBundle, engine: EngineConfig, options: SampleOptions) -> SamplerConfig:
    """Check options before anything takes long."""
    if options.backend not in BACKENDS:
        raise MixditError(f"Backend must be one of {', '.join(BACKENDS)}, not '{options.backend}'")
    if bundle.model.config.channels != 1:
        raise MixditError(f"Images must be grey, not of {bundle.model.config.channels} channels")
    classes = bundle.model.config.classes
    if not 0 <= options.label < classes:
        raise MixditError(f"Class must be 0..{classes - 1}, not {options.label}")
    if options.policy is not None and options.backend == "float":
        raise MixditError("The float backend takes no policy: use --backend golden")
    if options.backend == "rtl":
        check_simulable(engine.array, options.simulator)
    return SamplerConfig(steps=options.steps, cfg_scale=options.guidance, seed=options.seed)


def _quantized(bundle: DiTBundle, options: SampleOptions, progress: Tell) -> QuantizedModel:
    policy = paper_policy(0.01, 1) if options.policy is None else load_policy(options.policy)
    rules = policy.policy if isinstance(policy, Plan) else policy
    progress("Calibrating")
    config = CalibrationConfig(hessians=_has_gptq(rules))
    calibration = calibrate(bundle.model, bundle.schedule, config, layers=rules.layers)
    if isinstance(policy, Policy):
        timesteps = bundle.schedule.timesteps
        policy = resolve(policy, calibration, bundle.model, timesteps=timesteps)
    return apply_plan(bundle.model, policy, calibration)


def _has_gptq(policy: Policy) -> bool:
    rules = [policy.linear, *(x.linear for x in policy.overrides if x.linear is not None)]
    return any(rule.weight_method == "gptq" for rule in rules)


def _names(plan: Plan) -> list[str]:
    phase = plan.phases[0]
    return [*phase.linears, *phase.products]


def _quantized_image(
    bundle: DiTBundle,
    engine: EngineConfig,
    options: SampleOptions,
    sampler: SamplerConfig,
    layers: list[torch.nn.Module],
    progress: Tell,
) -> tuple[Tensor, Ledger]:
    ledger, on_rtl = Ledger(), options.backend == "rtl"
    kind = parse_kind(engine.array.accumulator)

    def check_rtl(done: int) -> None:
        if on_rtl and done == 1:
            _check_length(engine, options, ledger)

    exact = golden_products(bundle.model, kind) if on_rtl else nullcontext()
    with exact, ledger.watching(layers, keep=on_rtl):
        return _denoise(bundle, options, sampler, progress, check_rtl), ledger


@torch.no_grad()
def _denoise(
    bundle: DiTBundle,
    options: SampleOptions,
    sampler: SamplerConfig,
    progress: Tell,
    after: Callable[[int], None],
) -> Tensor:
    """Return the image; `after` is called with the number of finished steps after each."""
    labels = torch.tensor([options.label])
    noise = initial_noise(bundle.model.config, 1, options.seed)
    path = trajectory(Guarded(bundle.model), bundle.schedule, labels, noise, sampler)
    image = noise
    for done, step in enumerate(path):
        image = step[1]
        if done and done % max(1, options.steps // 10) == 0:
            progress(f"Step {done} of {options.steps}")
        after(done)
    return image[0]


def _check_length(engine: EngineConfig, options: SampleOptions, ledger: Ledger) -> None:
    """Refuse, after the first step, what would be simulated for hours."""
    programs = [sizes for sizes in ledger.programs if sizes is not None]
    other = sorted(formats_of(programs) - set(engine.array.formats))
    if other:
        built, wanted = (", ".join(names) for names in (engine.array.formats, other))
        raise MixditError(f"The engine multiplies {built}, not {wanted}: use --backend golden")
    for size in {size for sizes in programs for size in sizes}:
        if len(split_k(size, engine.shape)) > 1:
            raise MixditError(
                f"A product with K = {size.k} takes parts on this engine, so its bits are not the "
                "model's: use larger buffers or --backend golden"
            )
    step = ledger.predict(engine)
    if step is None:
        raise MixditError("The policy quantizes nothing that could run on RTL: use --backend float")
    if step * options.steps > RTL_CYCLES:
        raise MixditError(
            f"{options.steps} steps are about {step * options.steps:,} cycles, and RTL is limited "
            f"to {RTL_CYCLES:,}: take at most {RTL_CYCLES // step} steps, or --backend golden"
        )


def _on_rtl(
    engine: EngineConfig,
    options: SampleOptions,
    ledger: Ledger,
    report: SampleReport,
    progress: Tell,
) -> SampleReport:
    """Run every product on RTL, and compare its bits with what the model saw."""
    count = sum(map(len, ledger.operands))
    progress(f"Running {count} products on the RTL ({options.simulator})")
    start = time.perf_counter()
    runs = run_layers(engine, ledger.operands, simulator=options.simulator, progress=progress)
    wall = time.perf_counter() - start
    words = mismatches = 0
    for run, wanted in zip(runs, ledger.results, strict=True):
        found = np.concatenate(run.c)
        words += found.size
        mismatches += int((found.view(np.uint32) != wanted.view(np.uint32)).sum())
    return replace(
        report,
        cycles=sum(run.outcome.cycles for run in runs),
        words=words,
        mismatches=mismatches,
        wall_s=report.wall_s + wall,
    )


def _report(
    options: SampleOptions, plan: Plan | None, ledger: Ledger, predicted: int | None, wall: float
) -> SampleReport:
    return SampleReport(
        scope=None if predicted is None else "engine",
        backend=options.backend,
        policy=None if plan is None else plan.policy.name,
        label=options.label,
        steps=options.steps,
        seed=options.seed,
        guidance=options.guidance,
        macs=ledger.macs,
        cycles=None,
        predicted_cycles=predicted,
        words=None,
        mismatches=None,
        wall_s=wall,
    )
