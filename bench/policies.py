"""Quality of selection policies on the shipped model and on its twin: docs/policies.md.

python -m bench.policies [--images 1000 --seeds 5 --steps 50] [--folder build/policies]

Samples stay in the folder; the same command continues after an interruption.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from mixdit_sw.errors import MixditError
from mixdit_sw.files import write_atomically
from mixdit_sw.models.load import DiTBundle, load_dit
from mixdit_sw.models.twin import TwinConfig, make_twin
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
from mixdit_sw.quality.sampling import StudyConfig
from mixdit_sw.quality.study import Study

R = 0.01
ONE_BLOCK = LinearRule(high_share=R)


def candidates() -> list[Policy]:
    """Return the policies of the table, from few bits to many."""
    gptq = replace(ONE_BLOCK, weight_method="gptq")
    one_head = AttentionRule(high_heads=1)
    return [
        uniform_policy("mx6"),
        Policy(name="mx6, reordered", linear=replace(ONE_BLOCK, high="mx6")),
        Policy(name="mx6, sorted", linear=LinearRule(order="sorted")),
        Policy(name="r 1 %", linear=ONE_BLOCK),
        Policy(name="r 1 %, truncating", linear=ONE_BLOCK, rounding="truncate"),
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
        paper_policy(R, 1, name="paper, r 1 %, 1 of 6 heads"),
        Policy(name="r 1 %, one mx9 weight block", linear=replace(ONE_BLOCK, weight_high_blocks=1)),
        Policy(name="r 1 %, float weights", linear=replace(ONE_BLOCK, weight="float32")),
        Policy(name="mx6, gptq", linear=LinearRule(weight_method="gptq")),
        Policy(name="r 1 %, gptq", linear=gptq),
        Policy(name="paper, gptq", linear=gptq, attention=one_head),
        uniform_policy("mx9"),
        uniform_policy("fp16"),
    ]


def models(names: list[str]) -> dict[str, DiTBundle]:
    """Return the shipped model for "plain" and its twins for factors such as "x30"."""
    plain, found = load_dit(), {}
    for name in names:
        if name == "plain":
            found["plain"] = plain
        else:
            config = TwinConfig(factor=float(name.removeprefix("x")))
            found[config.label] = make_twin(plain, config)
    return found


def measure(label: str, bundle: DiTBundle, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for the float model and for each policy."""
    config = StudyConfig(
        seeds=tuple(range(options.seeds)),
        images=options.images,
        steps=options.steps,
        batch=options.batch,
    )
    folder = options.folder / label.replace(" % of channels", "").replace(", ", "_")
    study = Study(bundle, config, folder, options.device)
    start = time.monotonic()
    scores = study.score(study.floats())
    rows = [{"model": label, "policy": "float", "seconds": time.monotonic() - start}]
    rows[0] |= {"cost": None, "scores": asdict(scores)}
    calibration = study.calibration()
    shapes = dit_shapes(bundle.model.config)
    for policy in candidates():
        if options.only and policy.name not in options.only:
            continue
        start = time.monotonic()
        scores = study.run(policy, calibration)
        cost = plan_cost(study.plan(policy, calibration), shapes)
        rows.append({"model": label, "policy": policy.name, "cost": asdict(cost)})
        rows[-1] |= {"scores": asdict(scores), "seconds": time.monotonic() - start}
        print(f"{label}: {policy.name}, {rows[-1]['seconds']:.0f} s", file=sys.stderr, flush=True)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Format the rows for people; ± is half of the 95 % confidence interval over the seeds."""
    heads = ("model", "policy", "passes", "bits A / W", "FID", "FID change", "accuracy")
    lines = [f"| {' | '.join((*heads, 'features', 'pixels'))} |", "|---|---|" + "--:|" * 7]
    for row in rows:
        cost, scores = row["cost"] or {}, row["scores"]
        passes = "-" if not cost.get("passes") else f"{cost['passes']:.3f}"
        bits = f"{cost['activation_bits']:.2f} / {cost['weight_bits']:.2f}" if cost else "32 / 32"
        cells = [row["model"], row["policy"], passes, bits, _cell(scores["fid"], 2)]
        cells += [_cell(scores["fid_change"], 2), _cell(scores["accuracy"], 1, 100)]
        cells += [_cell(scores["feature_distance"], 3), _cell(scores["pixel_distance"], 4)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(estimate: dict[str, Any], digits: int, factor: float = 1) -> str:
    width = estimate["half_width"]
    spread = "" if width is None else f" ± {factor * width:.{digits}f}"
    return f"{factor * estimate['mean']:.{digits}f}{spread}"


def main() -> None:
    """Sample, score, print the table and write results.json."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--models", nargs="+", default=["plain", "x30"], help="plain, x10, x30 ..")
    parser.add_argument("--only", nargs="+", help="names of policies")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=200, help="images of each seed")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--steps", type=int, default=10, help="denoising steps")
    parser.add_argument("--device", help="cpu or cuda; a GPU by default, if there is one")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("build/policies"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    try:
        for label, bundle in models(options.models).items():
            rows += measure(label, bundle, options)
    except MixditError as error:
        sys.exit(f"error: {error}")
    text = json.dumps(rows, indent=1)
    write_atomically(options.folder / "results.json", lambda partial: partial.write_text(text))
    print(table(rows))


if __name__ == "__main__":
    main()
