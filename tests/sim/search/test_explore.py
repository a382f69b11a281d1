"""What is tried, on spaces whose quality is a formula."""

import pytest

from mixdit_sim.search.explore import Budget, explore, good_points
from mixdit_sim.search.front import pareto
from mixdit_sim.search.space import Group, Space
from mixdit_sw.errors import MixditError
from mixdit_sw.policy.description import LinearRule

RULES = tuple(LinearRule(high_share=share) for share in (0.0, 0.1, 0.2))


def space(groups):
    return Space(tuple(Group((f"layer{n}",), RULES) for n in range(groups)))


def measure(points):
    """Each group has its own price and its own gain."""
    return [
        (
            10.0 + sum((n + 1) * rule for n, rule in enumerate(point)),
            sum((2 - rule) * (7 * n % 5 + 1) for n, rule in enumerate(point)) ** 0.5,
        )
        for point in points
    ]


def test_a_small_space_is_tried_completely():
    trials = explore(space(2), Budget(trials=9), [], measure)
    assert [trial.point for trial in trials] == list(space(2).points())


def test_the_same_seed_gives_the_same_trials():
    budget = Budget(trials=60, generation=10, seed=3)
    first, second = (explore(space(6), budget, [(0,) * 6], measure) for _ in range(2))
    assert first == second
    assert len(first) == 60 and first[0].point == (0,) * 6
    other = explore(space(6), Budget(trials=60, generation=10, seed=4), [(0,) * 6], measure)
    assert [t.point for t in other] != [t.point for t in first]


def test_it_finds_more_than_it_was_given():
    seeds = [(0,) * 6, (2,) * 6]
    trials = explore(space(6), Budget(trials=120, generation=20), seeds, measure)
    assert len(pareto(trials)) > 2 * len(seeds)


def test_generations_do_not_look_ahead():
    asked = []

    def note(points):
        asked.append(len(points))
        return measure(points)

    explore(space(6), Budget(trials=25, generation=10), [], note)
    assert asked == [10, 10, 5]


def test_good_points_take_half_of_the_trials():
    groups = 6
    alone = [[(float(rule * (n + 1)), float(2 - rule)) for rule in range(3)] for n in range(groups)]
    points = good_points(space(groups), Budget(trials=10), alone)
    assert len(points) == 5
    assert points[0] == (0,) * groups and points[-1] == (2,) * groups


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"trials": 0}, "trials must be an integer of at least 1"),
        ({"generation": 1}, "generation must be an integer of at least 2"),
        ({"seed": -1}, "seed must be an integer of at least 0"),
    ],
)
def test_bad_budget(values, message):
    with pytest.raises(MixditError, match=message):
        Budget(**values)
