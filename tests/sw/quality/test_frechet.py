"""Fréchet distance against its definition."""

import pytest
import scipy.linalg
import torch

from mixdit_sw.errors import MixditError
from mixdit_sw.quality.frechet import FeatureStatistics, feature_statistics, frechet_distance


def features(count, seed, scale=1.0):
    rng = torch.Generator().manual_seed(seed)
    mix = torch.randn(12, 12, generator=rng)
    return scale * torch.randn(count, 12, generator=rng) @ mix + torch.randn(12, generator=rng)


def test_equals_the_definition():
    a, b = feature_statistics(features(100, 0)), feature_statistics(features(200, 1, 2.0))
    product = (a.covariance @ b.covariance).numpy()
    root = scipy.linalg.sqrtm(product).real.trace()
    expected = (a.mean - b.mean).square().sum() + a.covariance.trace() + b.covariance.trace()
    assert frechet_distance(a, b) == pytest.approx(float(expected - 2 * root), rel=1e-9)
    assert frechet_distance(b, a) == pytest.approx(frechet_distance(a, b), rel=1e-9)


def test_known_distances():
    eye = torch.eye(3, dtype=torch.float64)
    a = FeatureStatistics(torch.zeros(3, dtype=torch.float64), eye, 9)
    b = FeatureStatistics(torch.tensor([3.0, 4.0, 0.0]).double(), 4 * eye, 9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(a, b) == pytest.approx(25 + 3 * (1 + 4 - 4))


def test_fewer_images_than_features():
    x = feature_statistics(features(5, 0))
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-4)


def test_statistics():
    x = features(50, 0)
    found = feature_statistics(x)
    centred = x.double() - x.double().mean(dim=0)
    assert torch.allclose(found.covariance, centred.T @ centred / 49, rtol=1e-12)
    assert found.count == 50


def test_bad_features():
    with pytest.raises(MixditError, match="FID needs at least two images"):
        feature_statistics(torch.zeros(1, 3))
    with pytest.raises(MixditError, match="FID needs finite features"):
        feature_statistics(torch.full((4, 3), torch.nan))
    with pytest.raises(MixditError, match="FID needs the same features, not 12 and 2"):
        frechet_distance(feature_statistics(features(9, 0)), feature_statistics(torch.eye(2)))
