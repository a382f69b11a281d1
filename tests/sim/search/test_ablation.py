"""The reduced form of the ablation: its command, a few policies, a few images."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def command(weights, tmp_path):
    return [
        *(sys.executable, "-W", "error", "-m", "bench.policies", "--folder", str(tmp_path / "out")),
        *("--models", str(weights), "--seeds", "2", "--images", "10", "--batch", "5"),
        *("--search-images", "5", "--key-images", "20", "--key-seeds", "3", "--steps", "2"),
        *("--quick-images", "4", "--workers", "0", "--trials", "6"),
        *("--finalists", "1", "--shares", "0", "0.1", "--heads", "0", "1"),
        *("--large", "dit-s-2-256", "paper"),
    ]


def test_table_of_a_small_model(command, weights, tmp_path):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "out" / "results.json").read_text())
    key = [row["policy"] for row in rows if row["images"] == 20]
    by_name = {row["policy"]: row for row in rows if row["images"] == 10}
    assert len(rows) == len(key) + len(by_name)
    assert list(by_name)[:4] == ["float", "mx6", "mx6, reordered", "r 1 %"]
    assert list(by_name)[-3].startswith("per model") and list(by_name)[-2].startswith("per layer")
    assert key == ["float", "mx6", *list(by_name)[-3:]]
    assert by_name["mx9"]["one_step"] < by_name["mx6"]["one_step"]
    assert by_name["mx9"]["cycles"] > by_name["paper, r 1 %, 1 of 6 heads"]["cycles"]
    assert by_name["mx6"]["cycles"] < by_name["r 1 %"]["cycles"]
    assert by_name["mx6"]["large_cycles"] < by_name["r 1 %"]["large_cycles"]
    assert by_name["fp16"]["cycles"] is None
    assert done.stdout.count("\n| ") == len(rows) + 2  # and two heads
    assert done.stdout.index("3 x 20 images") < done.stdout.index("2 x 10 images")
    assert "rank correlation" in done.stdout
    files = {file.name for file in (tmp_path / "out" / weights.name / "per_layer").iterdir()}
    assert files >= {"search.json", "pareto.png"}
