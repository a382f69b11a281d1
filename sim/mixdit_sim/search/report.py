"""What a search leaves behind."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixdit_sim.search.front import Trial
from mixdit_sim.search.judge import Candidate, Verdict
from mixdit_sim.search.space import Space
from mixdit_sw.errors import MixditError
from mixdit_sw.files import write_atomically
from mixdit_sw.policy.json_form import save_json, to_plain
from mixdit_sw.policy.plan import Plan

POLICY, PLAN, REPORT, PICTURE = "policy.json", "plan.json", "search.json", "pareto.png"


@dataclass(frozen=True, kw_only=True)
class SearchReport:
    """A finished search.

    Attributes
    ----------
    config : dict
        `SearchConfig` as plain values.
    model : str
        Fingerprint of the model.
    space : Space
        What was searched.
    alone : list
        Cycles and distance of each rule of each group; empty where all of a space was tried.
    trials, front : list of Trial
        All, and those that no other one beats.
    verdict : Verdict
        What was judged by samples, and the choice.
    """

    config: dict[str, Any]
    model: str
    space: Space
    alone: list[list[tuple[float, float]]]
    trials: list[Trial]
    front: list[Trial]
    verdict: Verdict

    @property
    def passed(self) -> bool:
        """A policy meets the bounds."""
        return self.verdict.chosen is not None

    def to_dict(self) -> dict[str, Any]:
        """Return the report, as written to JSON."""
        chosen = self.verdict.chosen
        return {
            "scope": "engine",
            "config": to_plain(self.config),
            "model": self.model,
            "groups": [list(group.layers) for group in self.space.groups],
            "rules": [to_plain(list(group.rules)) for group in self.space.groups],
            "sensitivities": to_plain(self.alone),
            "trials": to_plain(self.trials),
            "pareto": [trial.number for trial in self.front],
            "judged": [_row(candidate) for candidate in self.verdict.judged],
            "chosen": None if chosen is None else {**_row(chosen), "policy_file": POLICY},
            "reason": self.verdict.reason,
        }


def _row(candidate: Candidate) -> dict[str, Any]:
    return to_plain(candidate)


def write_files(report: SearchReport, plan: Plan | None, folder: Path) -> None:
    """Write policy and plan of the choice, the report, and its picture."""
    from mixdit_sim.search.picture import draw_front

    chosen = report.verdict.chosen
    for name in (POLICY, PLAN):
        (folder / name).unlink(missing_ok=True)
    if chosen is not None and plan is not None:
        save_json(folder / POLICY, chosen.policy)
        plan.save(folder / PLAN)
    draw_front(report, folder / PICTURE)
    text = json.dumps(report.to_dict(), indent=1) + "\n"
    write_atomically(folder / REPORT, lambda partial: partial.write_text(text))


def read_model(folder: Path) -> str:
    """Return the name of the model of a finished search.

    Raises
    ------
    MixditError
        When the folder holds none.
    """
    try:
        values = json.loads((folder / REPORT).read_text())
        if values["chosen"] is None:
            raise MixditError(f"The search in {folder} has chosen no policy: {values['reason']}")
        return str(values["config"]["task"]["model"])
    except (OSError, ValueError, KeyError, TypeError):
        raise MixditError(f"{folder} holds no finished search") from None
