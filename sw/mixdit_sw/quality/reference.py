"""Features of the real images, which FID compares with; shipped, and made by this module.

`python -m mixdit_sw.quality.reference` computes them from Fashion-MNIST's training images.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from mixdit_sw.errors import MixditError
from mixdit_sw.files import write_atomically
from mixdit_sw.models.classifier import Classifier, load_classifier
from mixdit_sw.models.data import DATA_DIR, load_split, to_signed
from mixdit_sw.quality.frechet import FeatureStatistics, feature_statistics

REFERENCE = Path(__file__).with_name("reference.safetensors")
"""Statistics of the 60 000 training images in the shipped classifier's features."""


@torch.no_grad()
def features_of(classifier: Classifier, images: Tensor, batch: int = 500) -> Tensor:
    """Compute the features (S, 128) of images (S, 1, 28, 28) in [-1, 1], on their device."""
    return torch.cat([classifier.features(part) for part in images.split(batch)])


def save_reference(path: Path, statistics: FeatureStatistics) -> None:
    """Write statistics, whole or not at all."""
    tensors = {
        "mean": statistics.mean,
        "covariance": statistics.covariance,
        "count": torch.tensor(statistics.count),
    }
    content = save(tensors)
    write_atomically(path, lambda partial: partial.write_bytes(content))


def load_reference(path: Path = REFERENCE) -> FeatureStatistics:
    """Read statistics; by default the shipped ones.

    Raises
    ------
    MixditError
        When the file is missing or damaged.
    """
    try:
        tensors = load_file(path)
        return FeatureStatistics(tensors["mean"], tensors["covariance"], int(tensors["count"]))
    except FileNotFoundError:
        raise MixditError(
            f"{path} does not exist: python -m mixdit_sw.quality.reference makes it"
        ) from None
    except (SafetensorError, OSError, KeyError) as error:
        raise MixditError(f"Cannot read {path}: it is damaged or no reference") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status, 2 for missing data."""
    parser = argparse.ArgumentParser(
        prog="python -m mixdit_sw.quality.reference", description=__doc__
    )
    parser.add_argument("--data", type=Path, default=DATA_DIR)
    parser.add_argument("--out", type=Path, default=REFERENCE)
    options = parser.parse_args(arguments)
    try:
        classifier = load_classifier()
        parts = load_split("train", options.data).images.split(5000)
        features = torch.cat([features_of(classifier, to_signed(part)) for part in parts])
        save_reference(options.out, feature_statistics(features))
    except MixditError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {options.out}: {len(features)} images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
