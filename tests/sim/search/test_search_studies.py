"""A whole search on a small model."""

import json
from pathlib import Path

import pytest
from matplotlib import image

from mixdit_sim.search import run as run_module
from mixdit_sim.search.explore import Budget
from mixdit_sim.search.front import pareto
from mixdit_sim.search.judge import Bounds
from mixdit_sim.search.run import SearchConfig, run_search
from mixdit_sim.search.space import Choices
from mixdit_sw.errors import MixditError
from mixdit_sw.models.load import load_dit
from mixdit_sw.policy.description import Policy
from mixdit_sw.policy.json_form import load_json
from mixdit_sw.policy.plan import Plan
from mixdit_sw.quality.study import Study

KEYS = {
    "scope", "config", "model", "groups", "rules", "sensitivities", "trials", "pareto", "judged",
    "chosen", "reason",
}  # fmt: skip


@pytest.fixture
def config(task):
    return SearchConfig(
        task=task,
        choices=Choices(per="layer", shares=(0.0, 0.2, 1.0), heads=(0, 1)),
        budget=Budget(trials=12, generation=4),
        # What counts here is that all goes its way, not how good the images are.
        bounds=Bounds(fid_change=1000),
        finalists=2,
        preset="tiny",
    )


def test_it_finds_what_compiler_and_harness_take(config, task, tmp_path):
    told = []
    report = run_search(config, tmp_path / "out", processes=0, progress=told.append)
    assert report.passed and report.front == pareto(report.trials)
    assert len(report.trials) == 12
    saved = json.loads((tmp_path / "out" / "search.json").read_text())
    assert set(saved) == KEYS
    assert saved == json.loads(json.dumps(report.to_dict()))
    assert [len(rules) for rules in saved["sensitivities"]] == [len(r) for r in saved["rules"]]
    policy = load_json(tmp_path / "out" / "policy.json", Policy)
    assert policy == report.verdict.chosen.policy
    plan = Plan.load(tmp_path / "out" / "plan.json")
    assert plan.policy == policy and plan.model == report.model
    study = Study(load_dit(Path(task.model)), task.study, tmp_path / "study", "cpu")
    scores = study.run(policy, study.calibration(task.calibration))
    assert scores == report.verdict.chosen.scores
    pixels = image.imread(tmp_path / "out" / "pareto.png")
    assert pixels.shape[0] > 300 and pixels.std() > 0.1
    assert any("of 12" in line for line in told)


def test_an_interrupted_search_ends_as_if_it_had_not_been(config, tmp_path, monkeypatch):
    whole = run_search(config, tmp_path / "whole", processes=0)
    real, left = run_module.one_step_distance, [40]

    def interrupted(task, policy, folder):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(task, policy, folder)

    interrupted.__name__ = real.__name__
    monkeypatch.setattr(run_module, "one_step_distance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_search(config, tmp_path / "part", processes=0)
    assert len(list((tmp_path / "part" / real.__name__).iterdir())) == 40
    left[0] = 1000
    resumed = run_search(config, tmp_path / "part", processes=0)
    done = len(list((tmp_path / "whole" / real.__name__).iterdir()))
    assert 1000 - left[0] == done - 40
    assert resumed == whole
    for name in ("search.json", "policy.json", "plan.json"):
        assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_cycles_of_a_public_model(config, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        run_module, "policy_cycles", lambda *args: asked.append(args[2:]) or 100.0 + len(asked)
    )
    values = {**vars(config), "cycles_of": "dit-s-2-256", "budget": Budget(trials=2)}
    run_search(SearchConfig(**values), tmp_path, processes=0)
    assert set(asked) == {("dit-s-2-256", "tiny")}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"method": "qdit"}, "Method must be mixdit, not 'qdit'"),
        ({"finalists": 0}, "Finalists must be at least 1"),
        ({"preset": "huge"}, "Engine must be one of"),
        ({"cycles_of": "flux"}, "Model must be one of"),
        ({"choices": Choices(heads=(0, 3))}, "The model has 2 heads, not 3"),
        ({"preset": "paper", "choices": Choices()}, "2 heads, not 3"),
    ],
)
def test_bad_search(values, message, config, tmp_path):
    with pytest.raises(MixditError, match=message):
        run_search(SearchConfig(**{**vars(config), **values}), tmp_path / "out", processes=0)
    assert not (tmp_path / "out").exists()
