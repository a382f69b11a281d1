"""The last word: paired samples of the best policies, and which one is taken."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mixdit_sim.search.measure import scores_of
from mixdit_sw.errors import MixditError
from mixdit_sw.policy.description import Policy
from mixdit_sw.quality.score import Scores


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What a policy's paired samples may be at most.

    Attributes
    ----------
    fid_change : float
        Mean FID beyond the float model's for the same seeds.
    distance : float or None
        Mean pixel distance to the float model's images; None: that of the paper's policy.
    """

    fid_change: float = 1.0
    distance: float | None = None

    def __post_init__(self) -> None:
        if not self.fid_change >= 0:
            raise MixditError(f"FID may rise by a number of at least 0, not {self.fid_change}")
        if self.distance is not None and not self.distance >= 0:
            raise MixditError(f"Distance must be a number of at least 0, not {self.distance}")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A policy with what is known of it.

    Attributes
    ----------
    name : str
        "mx6", "paper", or "trial 17".
    policy : Policy
        The policy.
    cycles : float
        Of the engine.
    distance : float
        Quick measure.
    scores : Scores, optional
        Of its paired samples.
    """

    name: str
    policy: Policy = field(repr=False)
    cycles: float
    distance: float
    scores: Scores | None = None


@dataclass(frozen=True)
class Verdict:
    """What was judged, and what was taken; nothing if none meets the bounds."""

    judged: list[Candidate]
    chosen: Candidate | None
    reason: str


def judge(
    references: Sequence[Candidate],
    front: Sequence[Candidate],
    bounds: Bounds,
    finalists: int,
    score: Callable[[Sequence[Candidate]], list[Any]],
) -> Verdict:
    """Sample with candidates until one meets the bounds, the cheapest of those judged is taken.

    Parameters
    ----------
    references : sequence of Candidate
        Always judged; the last one is the paper's policy, whose distance is the bound by default.
    front : sequence of Candidate
        Pareto front by rising cycles, so by falling quick distance.
    bounds : Bounds
        What is good enough.
    finalists : int
        Candidates that are judged at a time. The first time one more is cheaper than what the
        quick measure, scaled as for the paper's policy, says is needed; the next time the next.
    score : callable
        Returns what `paired_scores` does.
    """
    known = [_with(c, s) for c, s in zip(references, score(references), strict=True)]
    paper = known[-1]
    assert paper.scores is not None
    limit = paper.scores.pixel_distance.mean if bounds.distance is None else bounds.distance
    quick = limit / max(paper.scores.pixel_distance.mean, 1e-12) * paper.distance
    start = max(sum(c.distance > quick for c in front) - 1 - finalists // 4, 0)
    judged: list[Candidate] = []
    good: list[Candidate] = []
    while start < len(front) and not good:
        window = front[start : start + finalists]
        judged += [_with(c, s) for c, s in zip(window, score(window), strict=True)]
        good = [c for c in judged if _meets(c, limit, bounds)]
        start += finalists
    good = [c for c in known if _meets(c, limit, bounds)] + good
    rule = f"FID change at most {bounds.fid_change:g}, pixel distance at most {limit:.4f}"
    if bounds.distance is None:
        rule += " (that of the paper's policy)"
    if not good:
        return Verdict(known + judged, None, f"None of {len(known + judged)} judged meets: {rule}")
    best = min(good, key=lambda c: c.cycles)
    share = best.cycles / known[0].cycles - 1
    reason = (
        f"{best.name} has the fewest cycles, {best.cycles:,.0f} ({share:+.1%} against all-MX6), of "
        f"the {len(good)} of {len(known + judged)} judged that meet: {rule}. Its own: "
        f"{best.scores.fid_change.mean:.3f} and {best.scores.pixel_distance.mean:.4f}."
        if best.scores
        else ""
    )
    return Verdict(known + judged, best, reason)


def _with(candidate: Candidate, value: Any) -> Candidate:
    return Candidate(**{**vars(candidate), "scores": scores_of(value)})


def _meets(candidate: Candidate, limit: float, bounds: Bounds) -> bool:
    scores = candidate.scores
    return (
        scores is not None
        and scores.fid_change.mean <= bounds.fid_change
        and scores.pixel_distance.mean <= limit
    )
