"""Quality of a candidate's samples, beside those of the float model from the same noise."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mixdit_sw.errors import MixditError
from mixdit_sw.models.classifier import Classifier
from mixdit_sw.quality.frechet import FeatureStatistics, feature_statistics, frechet_distance
from mixdit_sw.quality.reference import features_of

_T_975 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
)
"""Student's t at 97.5 % for 1 to 20 degrees of freedom."""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds, and half the width of its 95 % confidence interval.

    Attributes
    ----------
    mean : float
        Mean over the seeds.
    half_width : float or None
        Student's t times the standard error of the mean; None for a single seed.
    values : tuple of float
        Value of each seed.
    """

    mean: float
    half_width: float | None
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> "Estimate":
        """Estimate the mean of one value a seed."""
        mean, count = statistics.fmean(values), len(values)
        if count < 2:
            return cls(mean, None, tuple(values))
        if count - 1 > len(_T_975):
            raise MixditError(f"Estimates take at most {len(_T_975) + 1} seeds, not {count}")
        error = statistics.stdev(values) / math.sqrt(count)
        return cls(mean, _T_975[count - 2] * error, tuple(values))

    @property
    def differs_from_zero(self) -> bool | None:
        """Whether 0 is outside of the interval; None for a single seed."""
        return None if self.half_width is None else abs(self.mean) > self.half_width

    def __str__(self) -> str:
        width = "" if self.half_width is None else f" ± {self.half_width:.3g}"
        return f"{self.mean:.4g}{width}"


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of a candidate, each over seeds.

    Attributes
    ----------
    fid : Estimate
        Fréchet distance to the real images, in the classifier's features.
    fid_change : Estimate
        The same minus the float model's for the same seed.
    accuracy : Estimate
        Share of images that the classifier takes for the requested class.
    feature_distance : Estimate
        Mean Euclidean distance of an image's features to those of the float model's image.
    pixel_distance : Estimate
        Mean over images of the root of the mean squared difference of pixels, range 2.
    """

    fid: Estimate
    fid_change: Estimate
    accuracy: Estimate
    feature_distance: Estimate
    pixel_distance: Estimate


@torch.no_grad()
def score_samples(
    images: Sequence[Tensor],
    floats: Sequence[Tensor],
    labels: Tensor,
    classifier: Classifier,
    reference: FeatureStatistics,
) -> Scores:
    """Score samples against the float model's.

    Parameters
    ----------
    images, floats : sequence of Tensor
        For each seed float32 (S, 1, 28, 28) in [-1, 1], of the candidate and of the float model.
    labels : Tensor
        Requested classes, int64 (S,).
    classifier : Classifier
        Gives features and classes.
    reference : FeatureStatistics
        Of the real images.

    Raises
    ------
    MixditError
        When the samples are not paired.
    """
    shapes, wanted = ([tuple(x.shape) for x in side] for side in (images, floats))
    if shapes != wanted or any(len(x) != len(labels) for x in images):
        raise MixditError(f"Paired samples need one shape, not {shapes} and {wanted}")
    rows: dict[str, list[float]] = {name: [] for name in Scores.__dataclass_fields__}
    for ours, theirs in zip(images, floats, strict=True):
        a, b = (features_of(classifier, side) for side in (ours, theirs))
        fid, fid_float = (frechet_distance(feature_statistics(f), reference) for f in (a, b))
        rows["fid"].append(fid)
        rows["fid_change"].append(fid - fid_float)
        hits = classifier.head(a).argmax(dim=1) == labels
        rows["accuracy"].append(float(hits.double().mean()))
        rows["feature_distance"].append(float((a - b).norm(dim=1).double().mean()))
        errors = (ours - theirs).flatten(1).double().square().mean(dim=1).sqrt()
        rows["pixel_distance"].append(float(errors.mean()))
    return Scores(**{name: Estimate.of(values) for name, values in rows.items()})
