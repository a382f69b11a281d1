"""Measurements are kept: what is there is not done again, and what is not fails by name."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mixdit_sim.search import measure
from mixdit_sim.search.measure import (
    Store,
    Subject,
    measure_all,
    one_step_distance,
    paired_scores,
    scores_of,
)
from mixdit_sim.search.workers import Inline, workers
from mixdit_sw.errors import MixditError
from mixdit_sw.models.load import load_dit, save_dit
from mixdit_sw.policy.description import LinearRule, Policy, uniform_policy
from mixdit_sw.quality.guard import NotFiniteError

POLICIES = [uniform_policy("mx4"), uniform_policy("mx6"), uniform_policy("mx9")]


@pytest.fixture
def store(task, tmp_path):
    subject = Subject(task, tmp_path / "search")
    subject.calibrate()
    return Store(tmp_path / "search", task, subject.fingerprint)


def run(store, task, policies=POLICIES, what=one_step_distance):
    return measure_all(store, Inline(), what, task, policies)


def test_more_bits_are_nearer(store, task):
    quick = run(store, task)
    assert quick[0] > quick[1] > quick[2] > 0
    samples = [scores_of(x).pixel_distance.mean for x in run(store, task, what=paired_scores)]
    assert samples[0] > samples[1] > samples[2] > 0


def test_an_interruption_loses_what_was_in_work(store, task, monkeypatch):
    done = []

    def third_is_interrupted(task, policy, folder):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(policy)
        return one_step_distance(task, policy, folder)

    third_is_interrupted.__name__ = "one_step_distance"
    with pytest.raises(KeyboardInterrupt):
        run(store, task, what=third_is_interrupted)
    assert done == POLICIES[:2]

    def only_the_third(task, policy, folder):
        assert policy == POLICIES[2]
        return one_step_distance(task, policy, folder)

    only_the_third.__name__ = "one_step_distance"
    resumed = run(store, task, what=only_the_third)
    again = Store(store.folder.parent / "other", task, "")
    Subject(task, again.folder).calibrate()
    assert resumed == run(again, task)


def test_names_do_not_count(store, task):
    run(store, task, [Policy(name="a")])
    assert store.get(one_step_distance, Policy(name="b")) is not None
    assert store.get(one_step_distance, Policy(linear=LinearRule(high_share=0.1))) is None


def test_nan_stops_with_the_name_of_the_layer(task, tmp_path):
    bundle = load_dit(Path(task.model))
    bundle.model.blocks[1].mlp.fc1.bias[3] = torch.nan
    path = tmp_path / "nan.safetensors"
    torch_finite = torch.Tensor.isfinite
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "isfinite", lambda x: torch.ones_like(x, dtype=torch.bool))
        save_dit(path, bundle.model, bundle.schedule, {})
    assert torch.Tensor.isfinite is torch_finite
    broken = measure.Task(**{**vars(task), "model": str(path)})
    subject = Subject(broken, tmp_path / "nan")
    with pytest.raises(NotFiniteError, match=r"blocks\.1\.mlp\.fc1 has NaN"):
        subject.one_step()


def test_a_folder_holds_one_task(store, task, tmp_path):
    with pytest.raises(MixditError, match="another model or with other settings: use another"):
        Store(store.folder, measure.Task(model="shipped"), "")
    Store(store.folder, task, json.loads((store.folder / "task.json").read_text())["model"])


def test_other_numbers_of_images_share_the_folder(store, task):
    (few,) = run(store, task, POLICIES[:1], paired_scores)
    more = replace(task, study=replace(task.study, images=8))
    larger = Store(
        store.folder, more, json.loads((store.folder / "task.json").read_text())["model"]
    )
    (many,) = run(larger, more, POLICIES[:1], paired_scores)
    assert many != few
    assert run(store, task, POLICIES[:1], paired_scores) == [few]
    assert larger.path(one_step_distance, POLICIES[0]) == store.path(one_step_distance, POLICIES[0])
    seeds = replace(task, study=replace(task.study, seeds=(0, 2)))
    other = Store(
        store.folder, seeds, json.loads((store.folder / "task.json").read_text())["model"]
    )
    assert other.get(paired_scores, POLICIES[0]) is None


@pytest.mark.parametrize("content", ["", "{}", "[1", "3"])
def test_a_damaged_file(content, store, task):
    run(store, task, POLICIES[:1])
    path = store.path(one_step_distance, POLICIES[0])
    path.write_text(content)
    with pytest.raises(MixditError, match="is damaged: remove it"):
        run(store, task)


def test_workers_must_see_the_folder(task, tmp_path):
    with pytest.raises(MixditError, match="workers must see the folder of the search"):
        one_step_distance(task, Policy(), tmp_path / "elsewhere")


def test_processes_measure_the_same(store, task):
    here = run(store, task)
    other = Store(store.folder.parent / "processes", task, "")
    Subject(task, other.folder).calibrate()
    with workers(1) as executor:
        there = measure_all(other, executor, one_step_distance, task, POLICIES)
    assert there == here


def test_a_dask_cluster_measures_the_same(store, task):
    distributed = pytest.importorskip("distributed")
    here = run(store, task)
    other = Store(store.folder.parent / "dask", task, "")
    Subject(task, other.folder).calibrate()
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        workers(0, cluster.scheduler_address) as executor,
    ):
        there = measure_all(other, executor, one_step_distance, task, POLICIES)
    assert there == here


def test_a_cluster_without_workers():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=None) as cluster,
        pytest.raises(MixditError, match="has no workers"),
        workers(0, cluster.scheduler_address),
    ):
        pass


def test_no_workers():
    with pytest.raises(MixditError, match="Workers must be at least 0, not -1"), workers(-1):
        pass


def test_no_scheduler(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("mixdit_sim.executors.CONNECT_SECONDS", 0.2)
    with (
        pytest.raises(MixditError, match="No Dask scheduler answers at tcp://127.0.0.1:1"),
        workers(0, "tcp://127.0.0.1:1"),
    ):
        pass
