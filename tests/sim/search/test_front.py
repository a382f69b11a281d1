"""Pareto fronts against all there is."""

from itertools import product

import numpy as np

from mixdit_sim.search.front import Trial, additive_front, evenly, pareto, thinned


def trials(pairs):
    return [Trial(n, (n,), *pair) for n, pair in enumerate(pairs)]


def test_pareto_is_what_nothing_beats():
    rng = np.random.default_rng(0)
    found = trials(rng.integers(0, 12, size=(80, 2)).tolist())
    front = pareto(found)
    assert [t.cycles for t in front] == sorted({t.cycles for t in front})
    for trial in found:
        beaten = any(
            t.cycles <= trial.cycles
            and t.distance <= trial.distance
            and (t.cycles, t.distance) != (trial.cycles, trial.distance)
            for t in found
        )
        alike = any((t.cycles, t.distance) == (trial.cycles, trial.distance) for t in front)
        assert beaten != alike


def test_additive_front_is_best_for_every_price():
    rng = np.random.default_rng(1)
    options = [[tuple(pair) for pair in rng.random((n, 2))] for n in (9, 4, 1, 12)]
    front = additive_front(options)

    def sums(point):
        return np.sum([options[g][r] for g, r in enumerate(point)], axis=0)

    everything = np.array([sums(p) for p in product(*(range(len(o)) for o in options))])
    ours = np.array([sums(p) for p in front])
    assert (np.diff(ours[:, 0]) > 0).all() and (np.diff(ours[:, 1]) < 0).all()
    for price in np.geomspace(1e-3, 1e3, 61):
        assert np.isclose((ours @ [price, 1]).min(), (everything @ [price, 1]).min())


def test_rules_off_the_hull_are_left_out():
    assert additive_front([[(0.0, 10.0), (5.0, 9.0), (10.0, 0.0)]]) == [(0,), (2,)]


def test_rules_of_equal_cycles():
    assert additive_front([[(5.0, 2.0), (5.0, 1.0), (9.0, 1.0)]]) == [(1,)]


def test_thinned_and_evenly():
    front = trials([(100, 9), (100.1, 8), (103, 7), (103.1, 6), (200, 5)])
    assert [t.number for t in thinned(front, 0.01)] == [0, 2, 4]
    assert evenly([(n,) for n in range(9)], 3) == [(0,), (4,), (8,)]
    assert evenly([(1,)], 3) == [(1,)]
