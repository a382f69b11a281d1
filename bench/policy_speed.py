"""Time of sampling with quantized operands over that of the float model, on one thread.

Run `python -m bench policy_speed`. The two take turns, so that a busy machine slows both.
"""

import argparse

import torch

from bench.numerics import alternate
from mixdit_sw.models.diffusion import SamplerConfig, sample
from mixdit_sw.models.load import load_dit
from mixdit_sw.policy.apply import apply_plan
from mixdit_sw.policy.calibrate import CalibrationConfig, calibrate
from mixdit_sw.policy.description import Dynamic, LinearRule, Policy, paper_policy, uniform_policy
from mixdit_sw.policy.select import resolve
from mixdit_sw.quality.sampling import StudyConfig

POLICIES = (
    uniform_policy("mx6"),
    paper_policy(0.01, 1),
    uniform_policy("mx9"),
    Policy(name="dynamic, a block of 16 tokens", linear=LinearRule(dynamic=Dynamic())),
    Policy(name="mx6, truncating", rounding="truncate"),
    uniform_policy("mxfp4"),
)


def main() -> None:
    """Print seconds and ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--batch", type=int, default=StudyConfig().batch)
    options = parser.parse_args()
    torch.set_num_threads(1)
    plain, bundle = load_dit(), load_dit()
    calibration = calibrate(plain.model, plain.schedule, CalibrationConfig(images=10, steps=2))
    labels = torch.arange(options.images) % 10
    settings = SamplerConfig(steps=options.steps)
    print("| policy | s an image and step | times float |\n|---|--:|--:|")
    for policy in POLICIES:
        plan = resolve(policy, calibration, bundle.model)
        with apply_plan(bundle.model, plan):
            seconds, ratio = alternate(
                lambda: sample(bundle.model, labels, bundle.schedule, settings, options.batch),
                lambda: sample(plain.model, labels, plain.schedule, settings, options.batch),
                options.rounds,
            )
        per_step = seconds / options.images / options.steps
        print(f"| {policy.name} | {per_step:.4f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
