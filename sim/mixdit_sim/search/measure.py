"""Quality of policies, measured by workers and kept in files: what is there is not done again."""

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, as_completed
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from mixdit_sw.errors import MixditError
from mixdit_sw.files import write_atomically
from mixdit_sw.models.named import named_dit
from mixdit_sw.policy.apply import apply_plan
from mixdit_sw.policy.calibrate import Calibration, CalibrationConfig, calibrate
from mixdit_sw.policy.description import Policy
from mixdit_sw.policy.json_form import from_plain, to_plain
from mixdit_sw.policy.select import resolve
from mixdit_sw.policy.targets import fingerprint
from mixdit_sw.quality.one_step import OneStep, OneStepConfig
from mixdit_sw.quality.sampling import StudyConfig, pick_device
from mixdit_sw.quality.score import Scores
from mixdit_sw.quality.study import Study

Measure = Callable[["Task", Policy, Path], Any]
"""What a worker does: `one_step_distance` or `paired_scores`."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is measured, and how.

    Attributes
    ----------
    model : str
        As `named_dit` takes it.
    calibration : CalibrationConfig
        Of the policies.
    one_step : OneStepConfig
        Of the quick measure.
    study : StudyConfig
        Of paired samples.
    device : str
        "cpu" or "cuda".
    """

    model: str
    device: str = "cpu"
    calibration: CalibrationConfig = field(default_factory=lambda: CalibrationConfig(hessians=True))
    one_step: OneStepConfig = field(default_factory=OneStepConfig)
    study: StudyConfig = field(default_factory=lambda: StudyConfig(images=100, steps=10))


CALIBRATION = "calibration.safetensors"


class Subject:
    """A model with its calibration, as a worker holds it."""

    def __init__(self, task: Task, folder: Path) -> None:
        self.task, self.folder = task, folder
        self.bundle = named_dit(task.model)
        self.bundle.model.to(pick_device(task.device))
        self.fingerprint = fingerprint(self.bundle.model)
        self._one_step: OneStep | None = None
        self._calibration: Calibration | None = None

    def calibrate(self) -> Calibration:
        """Return the calibration in the folder; it is made where there is none for this task."""
        path = self.folder / CALIBRATION
        if path.exists():
            found = Calibration.load(path)
            if found.config == self.task.calibration and found.model == self.fingerprint:
                return found
        made = calibrate(self.bundle.model, self.bundle.schedule, self.task.calibration)
        made.save(path)
        return made

    def calibration(self) -> Calibration:
        """Return the calibration that `calibrate` left in the folder.

        Raises
        ------
        MixditError
            When it is not there.
        """
        if self._calibration is None:
            path = self.folder / CALIBRATION
            if not path.exists():
                raise MixditError(f"There is no {path}: workers must see the folder of the search")
            self._calibration = Calibration.load(path)
        return self._calibration

    def one_step(self) -> OneStep:
        """Return the quick measure of this model."""
        if self._one_step is None:
            self._one_step = OneStep(self.bundle, self.task.one_step)
        return self._one_step


@lru_cache(maxsize=1)
def subject(task: Task, folder: Path) -> Subject:
    """Return the subject of a task, the same one for each call in a process."""
    return Subject(task, folder)


def one_step_distance(task: Task, policy: Policy, folder: Path) -> float:
    """Return `OneStep.distance` of a policy.

    Raises
    ------
    MixditError
        When the policy does not fit the model, or a layer's result has NaN or Inf.
    """
    chosen = subject(task, folder)
    quick, calibration = chosen.one_step(), chosen.calibration()
    model = chosen.bundle.model
    plan = resolve(policy, calibration, model, timesteps=chosen.bundle.schedule.timesteps)
    with apply_plan(model, plan, calibration):
        return quick.distance()


def paired_scores(task: Task, policy: Policy, folder: Path) -> dict[str, Any]:
    """Return the scores of a policy's samples against the float model's, as `Scores` in JSON.

    Raises
    ------
    MixditError
        When the policy does not fit the model, or a layer's result has NaN or Inf.
    """
    chosen = subject(task, folder)
    study = Study(chosen.bundle, task.study, folder / "study", task.device)
    return to_plain(study.run(policy, chosen.calibration()))


def float_scores(task: Task, policy: Policy, folder: Path) -> dict[str, Any]:
    """Return the float model's own scores; the policy is not looked at."""
    study = Study(subject(task, folder).bundle, task.study, folder / "study", task.device)
    return to_plain(study.score(study.floats()))


def digest_of(policy: Policy, **more: Any) -> str:
    """Return a short hash of a policy's rules and more; its name does not count."""
    rules = {**to_plain(policy), "name": "", **more}
    return hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()[:20]


class Store:
    """Results of measurements, a file for each; written whole or not at all.

    Tasks that differ in the numbers of images and seeds share a folder: their samples are parts of
    each other, and the scores of each have files of their own.

    Parameters
    ----------
    folder : Path
        Holds what was measured for one task.
    task : Task
        It.
    model : str
        Fingerprint of its model.

    Raises
    ------
    MixditError
        When the folder holds another task's.
    """

    def __init__(self, folder: Path, task: Task, model: str) -> None:
        self.folder = folder
        self._samples = {"seeds": task.study.seeds, "images": task.study.images}
        kept = {**asdict(task), "study": task.study.settings()}
        text = json.dumps({"task": kept, "model": model}, indent=1) + "\n"
        path = folder / "task.json"
        if not path.exists():
            write_atomically(path, lambda partial: partial.write_text(text))
        elif path.read_text() != text:
            raise MixditError(
                f"{folder} holds a search of another model or with other settings: "
                "use another folder"
            )

    def path(self, measure: Measure, policy: Policy) -> Path:
        """Return the file of a measurement; a policy's name does not count."""
        samples = {} if measure.__name__ == one_step_distance.__name__ else self._samples
        return self.folder / measure.__name__ / f"{digest_of(policy, **samples)}.json"

    def get(self, measure: Measure, policy: Policy) -> Any | None:
        """Return what was measured, or None.

        Raises
        ------
        MixditError
            When the file is damaged.
        """
        path = self.path(measure, policy)
        if not path.exists():
            return None
        try:
            return json.loads(path.read_text())["value"]
        except (ValueError, KeyError, TypeError):
            raise MixditError(f"{path} is damaged: remove it") from None

    def put(self, measure: Measure, policy: Policy, value: Any) -> None:
        """Keep what was measured."""
        text = json.dumps({"value": value, "policy": to_plain(policy)}, indent=1) + "\n"
        path = self.path(measure, policy)
        write_atomically(path, lambda partial: partial.write_text(text))


def measure_all(
    store: Store,
    executor: Executor,
    measure: Measure,
    task: Task,
    policies: Sequence[Policy],
    progress: Callable[[str], None] = lambda line: None,
) -> list[Any]:
    """Measure policies in parallel; each is kept as soon as it is done.

    Raises
    ------
    MixditError
        When one cannot be measured.
    """
    missing: dict[Path, Policy] = {}
    for policy in policies:
        if store.get(measure, policy) is None:
            missing.setdefault(store.path(measure, policy), policy)
    futures: dict[Future[Any], Policy] = {}
    try:
        for policy in missing.values():
            future = executor.submit(measure, task, policy, store.folder)
            futures[future] = policy
            if future.done():  # in this process, where all others are still to come
                store.put(measure, policy, future.result())
        for done, future in enumerate(as_completed(futures), 1):
            store.put(measure, futures[future], future.result())
            progress(f"{measure.__name__.replace('_', ' ')}: {done} of {len(futures)}")
    finally:
        for future in futures:
            future.cancel()
    return [store.get(measure, policy) for policy in policies]


def scores_of(value: Any) -> Scores:
    """Return the scores that `paired_scores` returned."""
    return from_plain(Scores, value, "scores")
