"""Scores and their intervals."""

import pytest
import scipy.stats
import torch

from mixdit_sw.errors import MixditError
from mixdit_sw.models.classifier import load_classifier
from mixdit_sw.quality.frechet import feature_statistics, frechet_distance
from mixdit_sw.quality.reference import load_reference
from mixdit_sw.quality.score import Estimate, score_samples

LABELS = torch.arange(6) % 3


def images(seed):
    return torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("count", [2, 3, 5, 21])
def test_interval_is_students(count):
    values = torch.randn(count, generator=torch.Generator().manual_seed(0)).double()
    low, high = scipy.stats.t.interval(
        0.95, count - 1, loc=values.mean(), scale=scipy.stats.sem(values)
    )
    found = Estimate.of(values.tolist())
    assert found.mean - found.half_width == pytest.approx(low, abs=1e-3)
    assert found.mean + found.half_width == pytest.approx(high, abs=1e-3)
    assert found.differs_from_zero == (low > 0 or high < 0)


def test_few_and_many_seeds():
    single = Estimate.of([2.5])
    assert (single.mean, single.half_width, single.differs_from_zero) == (2.5, None, None)
    assert str(single) == "2.5"
    assert str(Estimate.of([1.0, 3.0])) == "2 ± 12.7"
    assert Estimate.of([1.0, 1.1]).differs_from_zero is True
    with pytest.raises(MixditError, match="Estimates take at most 21 seeds, not 22"):
        Estimate.of([0.0] * 22)


def test_scores():
    classifier, reference = load_classifier(), load_reference()
    ours, theirs = [images(0), images(1)], [images(2), images(3)]
    found = score_samples(ours, theirs, LABELS, classifier, reference)
    for n in range(2):
        a, b = (classifier.features(x).detach() for x in (ours[n], theirs[n]))
        fids = [frechet_distance(feature_statistics(f), reference) for f in (a, b)]
        assert found.fid.values[n] == fids[0]
        assert found.fid_change.values[n] == fids[0] - fids[1]
        hits = (classifier(ours[n]).argmax(dim=1) == LABELS).sum() / 6
        assert found.accuracy.values[n] == pytest.approx(float(hits))
        distances = [float((x - y).norm()) for x, y in zip(a, b, strict=True)]
        assert found.feature_distance.values[n] == pytest.approx(sum(distances) / 6)
        errors = [
            float((x - y).square().mean().sqrt()) for x, y in zip(ours[n], theirs[n], strict=True)
        ]
        assert found.pixel_distance.values[n] == pytest.approx(sum(errors) / 6)


def test_the_float_model_against_itself():
    x = [images(0), images(1)]
    found = score_samples(x, x, LABELS, load_classifier(), load_reference())
    assert found.fid_change.values == found.feature_distance.values == (0, 0)
    assert found.pixel_distance.values == (0, 0)


def test_samples_must_be_paired():
    classifier, reference = load_classifier(), load_reference()
    for ours, theirs in (([images(0)], []), ([images(0)], [images(0)[:4]])):
        with pytest.raises(MixditError, match="Paired samples need one shape"):
            score_samples(ours, theirs, LABELS, classifier, reference)
    with pytest.raises(MixditError, match="Paired samples need one shape"):
        score_samples([images(0)], [images(0)], LABELS[:3], classifier, reference)
