"""Who is judged, and who is taken."""

import pytest

from mixdit_sim.search.judge import Bounds, Candidate, judge
from mixdit_sw.errors import MixditError
from mixdit_sw.policy.description import Policy
from mixdit_sw.policy.json_form import to_plain
from mixdit_sw.quality.score import Estimate, Scores


def candidate(name, cycles, distance):
    return Candidate(name=name, policy=Policy(name=name), cycles=cycles, distance=distance)


REFERENCES = [candidate("mx6", 100.0, 0.05), candidate("paper", 111.5, 0.02)]
FRONT = [candidate(f"trial {n}", 100.0 + n, 0.05 - 0.004 * n) for n in range(1, 12)]


def samples(candidates, factor=2.0, fid=0.1, worse=()):
    """Samples are `factor` times as far as predictions, but for some."""
    found = []
    for c in candidates:
        distance = factor * c.distance * (1.5 if c.name in worse else 1)
        fields = dict.fromkeys(Scores.__dataclass_fields__, Estimate.of([distance, distance]))
        found.append(to_plain(Scores(**{**fields, "fid_change": Estimate.of([fid, fid])})))
    return found


def run(bounds=None, finalists=4, score=samples):
    asked = []

    def note(candidates):
        asked.extend(c.name for c in candidates)
        return score(candidates)

    return judge(REFERENCES, FRONT, bounds or Bounds(), finalists, note), asked


def test_the_cheapest_within_the_paper_s_distance():
    verdict, asked = run()
    assert verdict.chosen.name == "trial 8"
    assert asked == ["mx6", "paper", "trial 6", "trial 7", "trial 8", "trial 9"]
    assert "trial 8 has the fewest cycles, 108 (+8.0% against all-MX6)" in verdict.reason
    assert "pixel distance at most 0.0400 (that of the paper's policy)" in verdict.reason
    assert verdict.chosen.scores.pixel_distance.mean <= 0.04


def test_if_none_is_good_enough_the_next_are_asked():
    worse = {f"trial {n}" for n in range(6, 10)}
    verdict, asked = run(score=lambda c: samples(c, worse=worse))
    assert asked[-2:] == ["trial 10", "trial 11"]
    assert verdict.chosen.name == "trial 10"


def test_a_bound_of_ones_own():
    verdict, _ = run(Bounds(distance=0.08))
    assert verdict.chosen.name == "trial 3"
    assert "at most 0.0800." in verdict.reason


def test_a_reference_may_be_the_cheapest():
    verdict, _ = run(Bounds(distance=0.1))
    assert verdict.chosen.name == "mx6"


def test_nothing_is_taken_that_does_not_meet_the_bounds():
    verdict, asked = run(Bounds(fid_change=0.05))
    assert verdict.chosen is None
    assert asked[-1] == "trial 11"
    assert verdict.reason.startswith("None of 8 judged meets: FID change at most 0.05")


@pytest.mark.parametrize("values", [{"fid_change": -1.0}, {"distance": -0.1}])
def test_bad_bounds(values):
    with pytest.raises(MixditError, match="at least 0"):
        Bounds(**values)
