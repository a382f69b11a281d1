"""Which policies are tried: by optuna, from points that sensitivities say are good."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import optuna

from mixdit_sim.search.front import Trial, additive_front, evenly
from mixdit_sim.search.space import Point, Space
from mixdit_sw.errors import MixditError

Measured = Sequence[tuple[float, float]]
"""Cycles and distance of each point or policy."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long is searched.

    Attributes
    ----------
    trials : int
        Policies to try; a space that is not larger is tried completely.
    generation : int
        Policies that are chosen before the results of any of them count. Their number does not
        depend on the number of workers, so neither do the results.
    seed : int
        Of optuna's sampler.
    """

    trials: int = 100
    generation: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("trials", 1), ("generation", 2), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise MixditError(
                    f"Search {name} must be an integer of at least {least}, not {value!r}"
                )


def explore(
    space: Space,
    budget: Budget,
    seeds: Sequence[Point],
    measure: Callable[[Sequence[Point]], Measured],
    progress: Callable[[str], None] = lambda line: None,
) -> list[Trial]:
    """Try points; the same arguments and measurements give the same trials.

    Parameters
    ----------
    space : Space
        What there is.
    budget : Budget
        How many.
    seeds : sequence of tuple of int
        Tried first; NSGA-II goes on from them, and from random ones where they are few.
    measure : callable
        Returns cycles and distance of points.
    progress : callable
        Told in a line how far it is.
    """
    if space.size <= budget.trials:
        points = list(space.points())
        found = measure(points)
        return [Trial(n, p, *f) for n, (p, f) in enumerate(zip(points, found, strict=True))]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.NSGAIISampler(population_size=budget.generation, seed=budget.seed)
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    names = [f"group{n}" for n in range(len(space.groups))]
    choices: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.CategoricalDistribution(range(len(group.rules)))
        for name, group in zip(names, space.groups, strict=True)
    }
    for point in seeds[: budget.trials]:
        study.enqueue_trial(dict(zip(names, point, strict=True)))
    trials: list[Trial] = []
    while len(trials) < budget.trials:
        count = min(budget.generation, budget.trials - len(trials))
        progress(f"trials {len(trials)} to {len(trials) + count} of {budget.trials}")
        asked = [study.ask(choices) for _ in range(count)]
        points = [tuple(trial.params[name] for name in names) for trial in asked]
        for trial, point, values in zip(asked, points, measure(points), strict=True):
            study.tell(trial, values)
            trials.append(Trial(len(trials), point, *values))
    return trials


def good_points(space: Space, budget: Budget, alone: Sequence[Measured]) -> list[Point]:
    """Return points to begin with: what would be best if groups did not influence each other.

    Parameters
    ----------
    space : Space
        What there is.
    budget : Budget
        At most half of its trials are spent on them.
    alone : sequence
        Cycles and distance of each rule of each group, nothing else being quantized.

    Returns
    -------
    list of tuple of int
        Points of the additive front, by rising cycles.
    """
    squared = [[(cycles, d * d) for cycles, d in rules] for rules in alone]
    return evenly(additive_front(squared), max(budget.trials // 2, 1))
