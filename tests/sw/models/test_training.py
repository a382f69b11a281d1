import json

import pytest
import torch

from mixdit_sw.errors import MixditError
from mixdit_sw.models import train
from mixdit_sw.models.ema import Ema
from mixdit_sw.models.load import load_dit
from mixdit_sw.models.schedule import Schedule
from mixdit_sw.models.training import (
    Cadence,
    TrainConfig,
    Trainer,
    draw_batch,
    held_out_loss,
    learning_rate,
    read_log,
    run,
)

SHORT = TrainConfig(steps=6, batch=8, warmup=2, lr=1e-3)
OFTEN = Cadence(log_steps=1, eval_steps=2, save_seconds=0)


class Interrupted(Exception):
    pass


def make_trainer(tiny_config, config=SHORT):
    return Trainer(tiny_config, Schedule(), config)


def interrupt_after(steps):
    def report(row):
        if row["step"] == steps:
            raise Interrupted

    return report


def test_training_lowers_the_loss(tiny_config, tiny_data):
    config = TrainConfig(steps=60, batch=16, warmup=5, lr=1e-2, ema_decay=0.9)
    trainer = make_trainer(tiny_config, config)
    before = held_out_loss(trainer.averaged_model(), trainer.schedule, tiny_data)
    for _ in range(config.steps):
        trainer.train_step(tiny_data)
    after = held_out_loss(trainer.averaged_model(), trainer.schedule, tiny_data)
    assert after < 0.8 * before


def test_resumed_run_equals_uninterrupted_run(tiny_config, tiny_data, tmp_path):
    whole = make_trainer(tiny_config)
    run(whole, tiny_data, tiny_data, tmp_path / "whole", OFTEN)
    first = make_trainer(tiny_config)
    with pytest.raises(Interrupted):
        run(first, tiny_data, tiny_data, tmp_path / "parts", OFTEN, interrupt_after(4))
    resumed = make_trainer(tiny_config)
    run(resumed, tiny_data, tiny_data, tmp_path / "parts", OFTEN)
    for name, value in whole.ema.state.items():
        assert torch.equal(value, resumed.ema.state[name]), name
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    logs = [read_log(tmp_path / part / "log.jsonl") for part in ("whole", "parts")]
    plain = [[(r["step"], r["loss"], r["eval_loss"]) for r in log] for log in logs]
    assert plain[0] == plain[1]
    assert [row[0] for row in plain[0]] == [1, 2, 3, 4, 5, 6]


def test_finished_run_is_not_continued(tiny_config, tiny_data, tmp_path):
    run(make_trainer(tiny_config), tiny_data, tiny_data, tmp_path, OFTEN)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    run(make_trainer(tiny_config), tiny_data, tiny_data, tmp_path, OFTEN)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_checkpoint_of_another_run_is_refused(tiny_config, tiny_data, tmp_path):
    run(make_trainer(tiny_config), tiny_data, tiny_data, tmp_path, OFTEN)
    other = make_trainer(tiny_config, TrainConfig(steps=7, batch=8, warmup=2))
    with pytest.raises(MixditError, match="was made with other settings"):
        run(other, tiny_data, tiny_data, tmp_path, OFTEN)


def test_damaged_checkpoint_is_refused(tiny_config, tiny_data, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"PK not a checkpoint")
    with pytest.raises(MixditError, match=r"checkpoint.pt cannot be read"):
        run(make_trainer(tiny_config), tiny_data, tiny_data, tmp_path, OFTEN)


def test_log_has_losses_rate_and_seconds(tiny_config, tiny_data, tmp_path):
    run(make_trainer(tiny_config), tiny_data, tiny_data, tmp_path, OFTEN)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["eval_loss"] is None for row in rows] == [True, False] * 3
    assert rows[0]["lr"] == pytest.approx(5e-4)
    assert rows[-1]["seconds"] >= rows[0]["seconds"]
    assert not list(tmp_path.glob("*.partial"))


def test_batches_depend_on_the_step_and_seed_only(tiny_config, tiny_data):
    def draw(step, seed=0):
        config = TrainConfig(batch=8, seed=seed)
        return draw_batch(tiny_data, config, Schedule(), tiny_config, step)

    assert all(torch.equal(a, b) for a, b in zip(draw(3), draw(3), strict=True))
    assert not torch.equal(draw(3)[0], draw(4)[0])
    assert not torch.equal(draw(3)[0], draw(3, seed=1)[0])


def test_a_share_of_labels_is_dropped(tiny_config, tiny_data):
    config = TrainConfig(batch=4000, label_dropout=0.1)
    labels = draw_batch(tiny_data, config, Schedule(), tiny_config, 0)[2]
    share = (labels == tiny_config.null_label).float().mean().item()
    assert 0.08 < share < 0.12


def test_timesteps_cover_the_range_evenly(tiny_config, tiny_data):
    config = TrainConfig(batch=10)
    t = draw_batch(tiny_data, config, Schedule(), tiny_config, 0)[1]
    assert (t // 100).tolist() == list(range(10))


def test_learning_rate_warms_up_and_decays():
    config = TrainConfig(steps=100, warmup=10, lr=1.0)
    assert learning_rate(config, 0) == pytest.approx(0.1)
    assert learning_rate(config, 10) == pytest.approx(1.0)
    assert learning_rate(config, 55) == pytest.approx(0.5)
    assert learning_rate(config, 99) < 1e-3


def test_average_follows_its_formula():
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    ema = Ema(model, decay=0.15)
    torch.nn.init.ones_(model.weight)
    ema.update(model)  # decay 1 / 10
    assert ema.state["weight"].item() == pytest.approx(0.9)
    ema.update(model)  # decay min(0.15, 2 / 11)
    assert ema.state["weight"].item() == pytest.approx(1 - 0.1 * 0.15)


def test_average_does_not_alias_the_model():
    model = torch.nn.Linear(1, 1)
    ema = Ema(model, decay=0.5)
    before = ema.state["weight"].clone()
    torch.nn.init.constant_(model.weight, 9.0)
    assert torch.equal(ema.state["weight"], before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps and batch must be positive, not 0, 32"),
        ({"label_dropout": 1.0}, "must be in .0, 1., not 1.0"),
    ],
)
def test_bad_hyperparameters_are_named(change, message):
    with pytest.raises(MixditError, match=message):
        TrainConfig(**change)


def test_command_names_the_package_of_missing_data(tmp_path, capsys):
    status = train.main(["--data", str(tmp_path), "--folder", str(tmp_path / "run")])
    error = capsys.readouterr().err
    assert status == 2
    assert error.count("\n") == 1
    assert "install the Debian package dataset-fashion-mnist" in error


def test_command_refuses_to_export_what_is_not_there(tmp_path, capsys):
    status = train.main(["--export-only", "--folder", str(tmp_path)])
    assert status == 2
    assert "checkpoint.pt does not exist" in capsys.readouterr().err


def test_export_writes_the_average_and_the_log(tiny_config, tiny_data, tmp_path):
    trainer = make_trainer(tiny_config)
    run(trainer, tiny_data, tiny_data, tmp_path, OFTEN)
    path = tmp_path / "out" / "model.safetensors"
    train.export(trainer, tmp_path, path)
    bundle = load_dit(path)
    assert bundle.model.config == tiny_config
    assert bundle.schedule == trainer.schedule
    assert bundle.facts["steps"] == 6
    assert bundle.facts["eval_loss"] == read_log(tmp_path / "log.jsonl")[-1]["eval_loss"]
    for name, value in bundle.model.state_dict().items():
        assert torch.equal(value, trainer.ema.state[name].half().float()), name
    assert read_log(path.with_suffix(".jsonl")) == read_log(tmp_path / "log.jsonl")
