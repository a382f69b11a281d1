"""Ablation: selection policies on the shipped model and on its twin (docs/policies.md).

python -m bench.policies [--images 300 --key-images 1000] [--folder build/policies]

For each model it searches, per model and per layer, then samples with every policy, and with the
key ones (all-MX6 and what the searches chose) more images. Measurements stay in the folder; the
same command continues after an interruption, and more images go on from those that are there.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import Executor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.ablation_table import ranks, table
from mixdit_sim.search.cycles import plan_cycles, policy_cycles
from mixdit_sim.search.explore import Budget
from mixdit_sim.search.measure import (
    Store,
    Subject,
    Task,
    float_scores,
    measure_all,
    one_step_distance,
    paired_scores,
)
from mixdit_sim.search.report import SearchReport
from mixdit_sim.search.run import SearchConfig, run_search, with_stable_name
from mixdit_sim.search.space import Choices
from mixdit_sim.search.workers import workers
from mixdit_sw.errors import MixditError
from mixdit_sw.files import write_atomically
from mixdit_sw.policy.calibrate import CalibrationConfig
from mixdit_sw.policy.cost import dit_shapes, plan_cost
from mixdit_sw.policy.description import (
    AttentionRule,
    Dynamic,
    LinearRule,
    Override,
    Policy,
    paper_policy,
    uniform_policy,
)
from mixdit_sw.policy.select import resolve
from mixdit_sw.quality.one_step import OneStepConfig
from mixdit_sw.quality.sampling import StudyConfig

R = 0.01
ONE_BLOCK = LinearRule(high_share=R)
GPTQ_BLOCK = replace(ONE_BLOCK, weight_method="gptq")


def candidates() -> list[Policy]:
    """Return the policies of the ablation, from few bits to many."""
    return [
        uniform_policy("mx6"),
        Policy(name="mx6, reordered", linear=replace(ONE_BLOCK, high="mx6")),
        Policy(name="r 1 %", linear=ONE_BLOCK),
        Policy(name="r 1 %, truncating", linear=ONE_BLOCK, rounding="truncate"),
        paper_policy(R, 1, name="paper, r 1 %, 1 of 6 heads"),
        Policy(name="mx6, gptq", linear=LinearRule(weight_method="gptq")),
        Policy(name="r 1 %, gptq", linear=GPTQ_BLOCK),
        Policy(name="paper, gptq", linear=GPTQ_BLOCK, attention=AttentionRule(high_heads=1)),
        uniform_policy("mx9"),
        uniform_policy("fp16"),
    ]


def more_candidates() -> list[Policy]:
    """Return policies that the ablation does without."""
    return [
        Policy(name="mx6, sorted", linear=LinearRule(order="sorted")),
        Policy(
            name="r 1 % of qkv and fc1 only",
            overrides=tuple(
                Override(layers=f"blocks.*.{name}", linear=ONE_BLOCK)
                for name in ("attn.qkv", "mlp.fc1")
            ),
        ),
        Policy(
            name="r 1 % below timestep 500",
            overrides=(Override(timesteps=(0, 499), linear=ONE_BLOCK),),
        ),
        Policy(name="dynamic, a block of 16 tokens", linear=LinearRule(dynamic=Dynamic())),
        Policy(name="r 1 %, one mx9 weight block", linear=replace(ONE_BLOCK, weight_high_blocks=1)),
        Policy(name="r 1 %, float weights", linear=replace(ONE_BLOCK, weight="float32")),
    ]


def search_configs(task: Task, options: argparse.Namespace) -> dict[str, SearchConfig]:
    """Return the searches: the same rules, with weights by GPTQ, per model and per layer."""
    choices = Choices(shares=tuple(options.shares), heads=tuple(options.heads), weights=("gptq",))
    config = SearchConfig(
        task=task,
        choices=choices,
        budget=Budget(trials=options.trials),
        finalists=options.finalists,
    )
    return {name: replace(config, choices=replace(choices, per=name)) for name in options.per}


def search(task: Task, folder: Path, options: argparse.Namespace) -> dict[str, SearchReport]:
    """Search both ways; keep what each leaves in a folder of its own."""
    reports = {}
    for name, config in search_configs(task, options).items():
        tell = _teller(f"{task.model}, per {name}")
        results = folder / f"per_{name}"
        reports[name] = run_search(
            config, folder, results=results, processes=options.workers, progress=tell
        )
        tell(reports[name].verdict.reason)
    return reports


def searched(reports: dict[str, SearchReport]) -> list[Policy]:
    """Return what the searches chose, and per layer the best for no more cycles than per model."""
    chosen = {
        name: report.verdict.chosen
        for name, report in reports.items()
        if report.verdict.chosen is not None
    }
    found = [
        replace(candidate.policy, name=f"per {name}, cheapest in bounds")
        for name, candidate in chosen.items()
    ]
    if "model" in chosen and "layer" in reports:
        layers = reports["layer"]
        equal = [trial for trial in layers.front if trial.cycles <= chosen["model"].cycles]
        if equal:
            policy = layers.space.policy(equal[-1].point)
            found.append(replace(policy, name="per layer, at the cycles of per model"))
    return found


def measure(
    task: Task, folder: Path, policies: list[Policy], large: list[str], executor: Executor
) -> list[dict[str, Any]]:
    """Return a row for the float model and for each policy, of as many images as the task says.

    `large` names a public model, and the engine on which its cycles are counted.
    """
    subject = Subject(task, folder)
    store = Store(folder, task, subject.fingerprint)
    calibration, model = subject.calibrate(), subject.bundle.model
    stable = [with_stable_name(policy) for policy in policies]
    tell = _teller(task.model)
    (floats,) = measure_all(store, executor, float_scores, task, [Policy()], tell)
    distances = measure_all(store, executor, one_step_distance, task, stable, tell)
    scores = measure_all(store, executor, paired_scores, task, stable, tell)
    of = {"model": task.model, "seeds": len(task.study.seeds), "images": task.study.images}
    rows = [{**of, "policy": "float", "scores": floats}]
    for policy, distance, score in zip(policies, distances, scores, strict=True):
        plan = resolve(policy, calibration, model, timesteps=subject.bundle.schedule.timesteps)
        is_simple = not any(override.timesteps for override in policy.overrides)
        cycles = policy_cycles(policy, model.config, *large) if is_simple else None
        row = {
            **of,
            "policy": policy.name,
            "one_step": distance,
            "scores": score,
            "cost": asdict(plan_cost(plan, dit_shapes(model.config))),
            "cycles": plan_cycles(plan, model.config, "small"),
            "large_cycles": cycles,
        }
        rows.append(row)
    return rows


def _teller(prefix: str) -> Any:
    return lambda line: print(f"{prefix}: {line}", file=sys.stderr, flush=True)


def ablation(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the rows of all models."""
    samples = StudyConfig(
        seeds=tuple(range(options.seeds)),
        images=options.search_images,
        steps=options.steps,
        batch=options.batch,
    )
    key_seeds = tuple(range(options.key_seeds))
    rows = []
    for name in options.models:
        task = Task(
            model=name,
            study=samples,
            device=options.device,
            one_step=OneStepConfig(images=options.quick_images),
            calibration=CalibrationConfig(images=options.quick_images, hessians=True),
        )
        folder = options.folder / Path(name).name
        policies = candidates() + (more_candidates() if options.more else [])
        key = policies[:1]
        if options.trials:
            found = searched(search(task, folder, options))
            policies, key = policies + found, key + found
        with workers(options.workers) as executor:
            for images, seeds, wanted in (
                (options.key_images, key_seeds, key),
                (options.images, samples.seeds, policies),
            ):
                chosen = [p for p in wanted if not options.only or p.name in options.only]
                if images:
                    study = replace(samples, images=images, seeds=seeds)
                    sampled = replace(task, study=study)
                    rows += measure(sampled, folder, chosen, options.large, executor)
    return rows


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    found = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    found.add_argument("--models", nargs="+", default=["shipped", "twin-x30"])
    found.add_argument("--only", nargs="+", help="names of policies")
    found.add_argument("--more", action="store_true", help="more policies")
    found.add_argument("--seeds", type=int, default=3)
    found.add_argument("--images", type=int, default=300, help="of each seed and policy; 0: none")
    found.add_argument(
        "--key-images", type=int, default=1000, help="the same for the key policies; 0: none"
    )
    found.add_argument("--key-seeds", type=int, default=5)
    found.add_argument("--search-images", type=int, default=100, help="the same in searches")
    found.add_argument("--batch", type=int, default=StudyConfig().batch)
    found.add_argument("--steps", type=int, default=5, help="denoising steps")
    found.add_argument("--quick-images", type=int, default=20, help="of calibration, quick measure")
    found.add_argument("--trials", type=int, default=40, help="of each search; 0: no search")
    found.add_argument("--per", nargs="+", default=["model", "layer"], help="searches")
    found.add_argument("--finalists", type=int, default=2)
    found.add_argument("--shares", type=float, nargs="+", default=Choices().shares)
    found.add_argument("--heads", type=int, nargs="+", default=Choices().heads)
    found.add_argument(
        "--large",
        nargs=2,
        default=["dit-xl-2-512", "paper"],
        help="public model and engine whose cycles are counted too",
    )
    found.add_argument("--device", default="cpu", help="cpu or cuda")
    found.add_argument("--workers", type=int, default=1, help="processes")
    found.add_argument("--folder", type=Path, default=Path("build/policies"))
    return found


def main(arguments: list[str] | None = None) -> None:
    """Search, sample, score, print the table and write results.json."""
    options = parser().parse_args(arguments)
    try:
        rows = ablation(options)
    except MixditError as error:
        sys.exit(f"error: {error}")
    text = json.dumps(rows, indent=1)
    write_atomically(options.folder / "results.json", lambda partial: partial.write_text(text))
    for seeds, images in dict.fromkeys((row["seeds"], row["images"]) for row in rows):
        alike = [row for row in rows if (row["seeds"], row["images"]) == (seeds, images)]
        print(f"{seeds} x {images} images\n\n{table(alike)}\n\n{ranks(alike)}\n")


if __name__ == "__main__":
    main()
