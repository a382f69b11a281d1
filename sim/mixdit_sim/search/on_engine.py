"""A block of a model on the engine's RTL, under the plan that a search has chosen."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from mixdit_hw.engine.config import EngineConfig
from mixdit_sim.array.rtl import check_simulable
from mixdit_sim.engine.run import LayerRun, engine_utilization, run_layers
from mixdit_sim.search.measure import CALIBRATION
from mixdit_sim.search.report import PLAN, read_model
from mixdit_sw.engine.gemm import LayerGemm
from mixdit_sw.engine.golden import golden_layer
from mixdit_sw.engine.registers import Register
from mixdit_sw.errors import MixditError
from mixdit_sw.gemm.kinds import parse_kind
from mixdit_sw.models.diffusion import SamplerConfig
from mixdit_sw.models.named import named_dit
from mixdit_sw.policy.apply import apply_plan
from mixdit_sw.policy.calibrate import Calibration
from mixdit_sw.policy.lower import lower_block
from mixdit_sw.policy.plan import Plan

LABEL, STEPS, STEP = 7, 10, 5
"""A sneaker, halfway through ten steps; with guidance a batch of two."""


@dataclass(frozen=True, kw_only=True)
class GemmOutcome:
    """The GEMMs of a layer, run as one command list.

    Members
    -------
    name : str
        "qkv", "qk", "av", "proj", "fc1" or "fc2".
    shape : (int, int, int, int)
        Number, M, N, K.
    formats : str
        K-blocks of A and B by format, over all GEMMs.
    macs, cycles, predicted_cycles : int
        Multiply-adds; cycles of the RTL and of the cycle model, from start to interrupt.
    utilization : float
        Share of the multipliers' time that went into the unpadded products.
    mismatches : int
        Words of the results that differ from the golden model's.
    """

    name: str
    shape: tuple[int, int, int, int]
    formats: str
    macs: int
    cycles: int
    predicted_cycles: int
    utilization: float
    mismatches: int


@dataclass(frozen=True, kw_only=True)
class BlockReport:
    """A block that ran.

    Members
    -------
    model : str
        Of the search.
    block : int
        Its number.
    gemms : list of GemmOutcome
        By layer.
    """

    model: str
    block: int
    gemms: list[GemmOutcome]

    @property
    def passed(self) -> bool:
        """All bits and all cycles are as predicted."""
        return all(g.mismatches == 0 and g.cycles == g.predicted_cycles for g in self.gemms)

    def to_dict(self) -> dict[str, object]:
        """Return the report, as written to JSON."""
        return {"scope": "engine", **asdict(self)}


def run_block(
    folder: Path,
    block: int,
    engine: EngineConfig,
    *,
    simulator: str = "verilator",
    progress: Callable[[str], None] = lambda line: None,
) -> BlockReport:
    """Sample with a search's policy, and run what a block multiplies at a step on RTL.

    Parameters
    ----------
    folder : Path
        A finished search.
    block : int
        Block, 0 to depth - 1.
    engine, simulator
        As for `run_layers`.
    progress : callable
        Told in a line what happens.

    Raises
    ------
    MixditError
        When the folder holds no finished search, or something that it needs is missing.
    """
    check_simulable(engine.array, simulator)
    model = read_model(folder)
    plan = Plan.load(folder / PLAN)
    calibration = Calibration.load(folder / CALIBRATION)
    progress(f"Sampling with {model}, quantized")
    layers = _lowered(model, plan, calibration, block)
    count = sum(map(len, layers.values()))
    progress(f"Running {count} products of {len(layers)} layers on the RTL ({simulator})")
    runs = run_layers(engine, list(layers.values()), simulator=simulator, progress=progress)
    gemms = [
        _outcome(engine, name, gemms, run)
        for (name, gemms), run in zip(layers.items(), runs, strict=True)
    ]
    return BlockReport(model=model, block=block, gemms=gemms)


def _lowered(
    model: str, plan: Plan, calibration: Calibration, block: int
) -> dict[str, list[LayerGemm]]:
    bundle = named_dit(model)
    depth = bundle.model.config.depth
    if not 0 <= block < depth:
        raise MixditError(f"Block must be 0..{depth - 1}, not {block}")
    with apply_plan(bundle.model, plan, calibration):
        return lower_block(bundle, block, STEP, torch.tensor([LABEL]), SamplerConfig(steps=STEPS))


def golden_results(engine: EngineConfig, gemms: Sequence[LayerGemm]) -> list[np.ndarray]:
    """Return what an engine must compute, float32 (M, N) each."""
    kind = parse_kind(engine.array.accumulator)
    return [golden_layer(gemm, kind, engine.shape) for gemm in gemms]


def _outcome(
    engine: EngineConfig, name: str, gemms: Sequence[LayerGemm], run: LayerRun
) -> GemmOutcome:
    size, cycles = gemms[0].size, run.outcome.cycles
    golden = golden_results(engine, gemms)
    return GemmOutcome(
        name=name,
        shape=(len(gemms), size.m, size.n, size.k),
        formats=f"{_counts(g.a.formats for g in gemms)} x {_counts(g.b.formats for g in gemms)}",
        macs=sum(g.size.m * g.size.n * g.size.k for g in gemms),
        cycles=cycles,
        predicted_cycles=run.predicted[Register.CYCLES],
        utilization=engine_utilization(engine, gemms, cycles),
        mismatches=sum(
            int((found.view(np.uint32) != wanted.view(np.uint32)).sum())
            for found, wanted in zip(run.c, golden, strict=True)
        ),
    )


def _counts(formats: object) -> str:
    names = [fmt.name for row in formats for fmt in row]  # type: ignore[attr-defined]
    return " + ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names))
