"""How equal the twins are to the shipped model, and how large their outliers.

Run `python -m bench twin`.
"""

import torch

from mixdit_sw.models.diffusion import SamplerConfig, sample
from mixdit_sw.models.load import load_dit
from mixdit_sw.models.twin import TwinConfig, make_twin
from mixdit_sw.policy.calibrate import Calibration, CalibrationConfig, calibrate

SAMPLES = SamplerConfig(steps=5)
IMAGES = 20


def outliers(calibration: Calibration) -> float:
    """Return the largest ratio of a channel's absmax to the median one, over qkv's and fc1's."""
    return max(
        float(kinds["absmax"].amax(dim=0).max() / kinds["absmax"].amax(dim=0).median())
        for name, kinds in calibration.statistics.items()
        if name.endswith(("qkv", "fc1"))
    )


def main() -> None:
    """Print a table."""
    torch.set_num_threads(1)
    plain, labels = load_dit(), torch.arange(IMAGES) % 10
    images = sample(plain.model, labels, plain.schedule, SAMPLES)
    config = CalibrationConfig(images=10, steps=5)
    print("| model | largest difference | mean difference | channel max over median |")
    print("|---|--:|--:|--:|")
    ratio = outliers(calibrate(plain.model, plain.schedule, config))
    print(f"| plain | 0 | 0 | {ratio:.0f} |")
    for factor in (10.0, 30.0, 100.0):
        twin = make_twin(plain, TwinConfig(factor=factor))
        difference = (sample(twin.model, labels, twin.schedule, SAMPLES) - images).abs()
        ratio = outliers(calibrate(twin.model, twin.schedule, config))
        cells = f"{difference.max():.1e} | {difference.mean():.1e} | {ratio:.0f}"
        print(f"| {twin.facts['twin']['factor']:g} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
