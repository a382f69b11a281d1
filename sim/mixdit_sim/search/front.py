"""Pareto fronts: of what was measured, and of a sum over groups."""

from collections.abc import Sequence
from dataclasses import dataclass

from mixdit_sim.search.space import Point


@dataclass(frozen=True)
class Trial:
    """A policy that was measured.

    Attributes
    ----------
    number : int
        In the order in which they were chosen.
    point : tuple of int
        In the search's space.
    cycles : float
        Of the engine.
    distance : float
        Quick measure of quality.
    """

    number: int
    point: Point
    cycles: float
    distance: float


def pareto(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that no other one beats, by rising cycles; of equals the first."""
    found: list[Trial] = []
    for trial in sorted(trials, key=lambda t: (t.cycles, t.distance, t.number)):
        if not found or trial.distance < found[-1].distance:
            found.append(trial)
    return found


def additive_front(options: Sequence[Sequence[tuple[float, float]]]) -> list[Point]:
    """Return the points that would be best if cycles and squared errors were sums over groups.

    Parameters
    ----------
    options : sequence of sequences of (float, float)
        Cycles and squared error of each rule of each group.

    Returns
    -------
    list of tuple of int
        The lower convex hull of all sums, by rising cycles: from a point to the next, one group
        takes another rule, in the order of squared error saved per cycle.
    """
    hulls = [_hull(rules) for rules in options]
    steps = []
    for group, hull in enumerate(hulls):
        for a, b in zip(hull, hull[1:], strict=False):
            cycles, error = (options[group][b][i] - options[group][a][i] for i in range(2))
            steps.append((error / cycles, group, b))
    point = [hull[0] for hull in hulls]
    found = [tuple(point)]
    for _, group, rule in sorted(steps):
        point[group] = rule
        found.append(tuple(point))
    return found


def _hull(rules: Sequence[tuple[float, float]]) -> list[int]:
    """Return the rules on the lower convex hull, by rising cycles and falling error."""
    chosen: list[int] = []
    for index in sorted(range(len(rules)), key=lambda i: rules[i]):
        if chosen and rules[index][1] >= rules[chosen[-1]][1]:
            continue
        while len(chosen) > 1 and _slope(rules, chosen[-2], index) <= _slope(
            rules, chosen[-2], chosen[-1]
        ):
            chosen.pop()
        chosen.append(index)
    return chosen


def _slope(rules: Sequence[tuple[float, float]], a: int, b: int) -> float:
    return (rules[b][1] - rules[a][1]) / (rules[b][0] - rules[a][0])


def thinned(trials: Sequence[Trial], step: float = 0.005) -> list[Trial]:
    """Return the trials of a front, by rising cycles, that each cost a share `step` more."""
    found: list[Trial] = []
    for trial in trials:
        if not found or trial.cycles >= (1 + step) * found[-1].cycles:
            found.append(trial)
    return found


def evenly(points: Sequence[Point], count: int) -> list[Point]:
    """Return `count` of the points or all, evenly spaced, both ends included."""
    if len(points) <= count:
        return list(points)
    last = len(points) - 1
    return [points[round(i * last / (count - 1))] for i in range(count)] if count > 1 else []
