"""A whole search: sensitivities, trials, judgement, files."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mixdit_hw.engine.config import get_engine
from mixdit_sim.search.cycles import plan_cycles, policy_cycles
from mixdit_sim.search.explore import Budget, explore, good_points
from mixdit_sim.search.front import Trial, pareto, thinned
from mixdit_sim.search.judge import Bounds, Candidate, Verdict, judge
from mixdit_sim.search.measure import (
    Store,
    Subject,
    Task,
    digest_of,
    float_scores,
    measure_all,
    one_step_distance,
    paired_scores,
)
from mixdit_sim.search.report import SearchReport, write_files
from mixdit_sim.search.space import Choices, Point, Space
from mixdit_sim.search.workers import workers
from mixdit_sim.workloads import get_workload
from mixdit_sw.errors import MixditError
from mixdit_sw.policy.description import Policy, paper_policy, uniform_policy
from mixdit_sw.policy.plan import Plan
from mixdit_sw.policy.select import resolve

METHODS = ("mixdit",)
OWN = "own"
PAPER_SHARE = 0.01


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """What to search for.

    Attributes
    ----------
    task : Task
        Model, and how its quality is measured.
    choices : Choices
        Between what.
    budget : Budget
        How long.
    bounds : Bounds
        What is good enough.
    finalists : int
        Policies whose samples are judged at a time.
    preset : str
        Engine whose cycles are counted.
    cycles_of : str
        "own": of the model itself; or a public DiT such as "dit-xl-2-512", at the same shares.
    method : str
        "mixdit": MX9 for outlier channels and heads, MX6 for the rest.
    """

    task: Task
    choices: Choices = field(default_factory=Choices)
    budget: Budget = field(default_factory=Budget)
    bounds: Bounds = field(default_factory=Bounds)
    finalists: int = 4
    preset: str = "small"
    cycles_of: str = OWN
    method: str = "mixdit"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise MixditError(f"Method must be {' or '.join(METHODS)}, not {self.method!r}")
        if self.finalists < 1:
            raise MixditError(f"Finalists must be at least 1, not {self.finalists}")
        get_engine(self.preset)
        if self.cycles_of != OWN:
            get_workload(self.cycles_of)


def run_search(
    config: SearchConfig,
    folder: Path,
    *,
    results: Path | None = None,
    processes: int = 1,
    dask: str | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> SearchReport:
    """Search, and leave `policy.json`, `plan.json`, `search.json` and `pareto.png`.

    What the folder holds of the same task is not measured again, so an interrupted search goes on
    where it was; at most the measurements in work are lost, one for each worker.

    Parameters
    ----------
    config : SearchConfig
        What to search for.
    folder : Path
        Calibration and measurements. Workers on other machines must see it by this path.
    results : Path, optional
        Folder for the four files; by default the same.
    processes : int
        Processes on this machine; 0 measures in this one.
    dask : str, optional
        Address of a Dask scheduler, instead of processes.
    progress : callable
        Told in a line what happens.

    Raises
    ------
    NotFiniteError
        When a layer's result has NaN or Inf while sampling; the message names it.
    MixditError
        When something does not fit, or the folder holds another task's measurements.
    """
    with workers(processes, dask) as executor:
        search = _Search(config, folder.absolute(), executor, progress)
        report = search.run()
    chosen = report.verdict.chosen
    plan = None if chosen is None else search.plan(chosen.policy)
    write_files(report, plan, results or folder)
    return report


class _Search:
    """A search under way."""

    def __init__(
        self,
        config: SearchConfig,
        folder: Path,
        executor: Executor,
        progress: Callable[[str], None],
    ) -> None:
        self.config, self.executor, self.progress = config, executor, progress
        self.subject = Subject(config.task, folder)
        model = self.subject.bundle.model
        if max(config.choices.heads) > model.config.heads:
            raise MixditError(
                f"The model has {model.config.heads} heads, not {max(config.choices.heads)}"
            )
        self.store = Store(folder, config.task, self.subject.fingerprint)
        progress(f"Calibrating {config.task.model}")
        self.calibration = self.subject.calibrate()
        self.space = Space.of(model, config.choices)

    def run(self) -> SearchReport:
        """Search."""
        alone, seeds = [], []
        if self.space.size > self.config.budget.trials:
            alone = self.sensitivities()
            seeds = good_points(self.space, self.config.budget, alone)
        trials = explore(self.space, self.config.budget, seeds, self.measure_points, self.progress)
        front = pareto(trials)
        verdict = self.verdict(front)
        return SearchReport(
            config=asdict(self.config),
            model=self.subject.fingerprint,
            space=self.space,
            alone=alone,
            trials=trials,
            front=front,
            verdict=verdict,
        )

    def sensitivities(self) -> list[list[tuple[float, float]]]:
        """Return cycles and distance of each rule of each group, nothing else being quantized."""
        self.progress("Sensitivity of each group to each of its rules")
        counts = [range(len(group.rules)) for group in self.space.groups]
        policies = [
            self.space.alone(group, rule) for group, rules in enumerate(counts) for rule in rules
        ]
        found = iter(self.measure(policies))
        return [[next(found) for _ in rules] for rules in counts]

    def measure_points(self, points: Sequence[Point]) -> list[tuple[float, float]]:
        """Return cycles and distance of points."""
        return self.measure([self.space.policy(point) for point in points])

    def measure(self, policies: Sequence[Policy]) -> list[tuple[float, float]]:
        """Return cycles and distance of policies."""
        cycles = [self.cycles(policy) for policy in policies]
        distances = measure_all(
            self.store,
            self.executor,
            one_step_distance,
            self.config.task,
            policies,
            self.progress,
        )
        return list(zip(cycles, distances, strict=True))

    def cycles(self, policy: Policy) -> float:
        """Return the cycles of what a policy quantizes."""
        config, preset = self.subject.bundle.model.config, self.config.preset
        if self.config.cycles_of == OWN:
            cycles = plan_cycles(self.plan(policy), config, preset)
        else:
            cycles = policy_cycles(policy, config, self.config.cycles_of, preset)
        if cycles is None:
            raise MixditError(f"Engine {preset} does not have all formats of the search")
        return cycles

    def plan(self, policy: Policy) -> Plan:
        """Resolve a policy for the model."""
        bundle = self.subject.bundle
        timesteps = bundle.schedule.timesteps
        return resolve(policy, self.calibration, bundle.model, timesteps=timesteps)

    def verdict(self, front: Sequence[Trial]) -> Verdict:
        """Sample with the best policies, and choose."""
        self.progress("Samples of the float model")
        task = self.config.task
        measure_all(self.store, self.executor, float_scores, task, [Policy()], self.progress)
        heads = self.subject.bundle.model.config.heads
        references = [uniform_policy("mx6"), paper_policy(PAPER_SHARE, -(-heads // 6))]
        known = [
            Candidate(name=policy.name, policy=policy, cycles=cycles, distance=distance)
            for policy, (cycles, distance) in zip(references, self.measure(references), strict=True)
        ]
        candidates = [
            Candidate(
                name=f"trial {trial.number}",
                policy=self.space.policy(trial.point, f"trial {trial.number}"),
                cycles=trial.cycles,
                distance=trial.distance,
            )
            for trial in thinned(front)
        ]
        return judge(known, candidates, self.config.bounds, self.config.finalists, self.score)

    def score(self, candidates: Sequence[Candidate]) -> list[Any]:
        """Return the scores of candidates' samples."""
        names = ", ".join(candidate.name for candidate in candidates)
        self.progress(f"Paired samples of {names}")
        policies = [with_stable_name(c.policy) for c in candidates]
        return measure_all(
            self.store, self.executor, paired_scores, self.config.task, policies, self.progress
        )


def with_stable_name(policy: Policy) -> Policy:
    """Return a policy whose folder of samples depends on its rules alone."""
    return replace(policy, name=digest_of(policy))
