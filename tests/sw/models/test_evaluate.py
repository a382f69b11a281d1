import json

import pytest
import torch

from mixdit_sw.models import evaluate

PNG = b"\x89PNG\r\n\x1a\n"


def test_labels_cycle_through_the_classes():
    assert evaluate.even_labels(5, 3).tolist() == [0, 1, 2, 0, 1]


def test_command_scores_samples_and_draws(tmp_path, capsys):
    arguments = ["--count", "10", "--steps", "2", "--images", str(tmp_path)]
    assert evaluate.main(arguments) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["count"] == 10
    assert result["accuracy"] == pytest.approx(sum(result["accuracy_by_class"]) / 10)
    assert (tmp_path / "model_samples.png").read_bytes().startswith(PNG)
    assert (tmp_path / "training.png").read_bytes().startswith(PNG)


def test_command_reports_missing_weights_in_one_line(tmp_path, capsys):
    assert evaluate.main(["--weights", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_command_reports_bad_settings(capsys):
    assert evaluate.main(["--steps", "1"]) == 2
    assert "sampler steps" in capsys.readouterr().err


def test_few_images_fill_part_of_the_grid(tmp_path):
    evaluate.draw_grid(torch.zeros(3, 1, 28, 28), tmp_path / "grid.png")
    assert (tmp_path / "grid.png").read_bytes().startswith(PNG)
