"""Fréchet distance between two sets of features (Heusel et al., arXiv:1706.08500, equation 6)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mixdit_sw.errors import MixditError


@dataclass(frozen=True)
class FeatureStatistics:
    """Mean and covariance of a set of features.

    Attributes
    ----------
    mean : float64 (F,)
        Mean.
    covariance : float64 (F, F)
        Covariance, divided by count - 1.
    count : int
        Number of features.
    """

    mean: Tensor
    covariance: Tensor
    count: int


def feature_statistics(features: Tensor) -> FeatureStatistics:
    """Compute the statistics of features (S, F).

    Raises
    ------
    MixditError
        When there are fewer than two, or they are not finite.
    """
    if features.ndim != 2 or len(features) < 2:
        raise MixditError(f"FID needs at least two images, not features {tuple(features.shape)}")
    if not features.isfinite().all():
        raise MixditError("FID needs finite features")
    values = features.double().cpu()
    return FeatureStatistics(values.mean(dim=0), torch.cov(values.T), len(values))


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """Compute |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)) for covariances A and B.

    The trace of the root is the sum of the roots of the eigenvalues of A^(1/2) B A^(1/2), which is
    symmetric, so no root of a matrix that is not is needed. Few images make the distance larger:
    only distances of the same number of images are to be compared.
    """
    if a.mean.shape != b.mean.shape:
        raise MixditError(f"FID needs the same features, not {len(a.mean)} and {len(b.mean)}")
    values, vectors = torch.linalg.eigh(a.covariance)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    eigenvalues = torch.linalg.eigvalsh(root @ b.covariance @ root)
    cross = eigenvalues.clamp(min=0).sqrt().sum()
    traces = a.covariance.trace() + b.covariance.trace()
    return float((a.mean - b.mean).square().sum() + traces - 2 * cross)
