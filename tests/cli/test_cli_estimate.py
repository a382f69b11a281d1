"""`mixdit estimate`."""

import pytest

from mixdit_sim.workloads import WORKLOADS, Matmul, Policy, Workload

KEYS = {
    "scope", "model", "preset", "clock_ghz", "high_share", "high_heads", "macs", "cycles",
    "array_cycles", "score_traffic_cycles", "ms_per_step", "array_ms_per_step", "utilization",
    "array_utilization", "stalls", "breakdown", "kinds", "as_simulated_ms", "speedup",
}  # fmt: skip


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """A model of one small layer."""
    matmuls = (
        Matmul("proj", "linear", 128, 128, 256, layers=3),
        Matmul("QK", "qk", 128, 128, 64, count=4, layers=3),
        Matmul("AV", "av", 128, 64, 128, count=4, layers=3),
    )
    monkeypatch.setitem(WORKLOADS, "toy", Workload("toy", 2, matmuls, 0, Policy(0.05, 1)))


def test_keys_and_sums(report):
    found = report("estimate", "--model", "toy")
    assert set(found) == KEYS
    assert (found["scope"], found["preset"], found["high_heads"]) == ("engine", "paper", 1)
    assert [row["name"] for row in found["breakdown"]] == ["proj", "QK", "AV"]
    for rows in (found["breakdown"], found["kinds"]):
        assert sum(row["cycles"] for row in rows) == found["cycles"]
        assert sum(row["work"] for row in rows) / found["cycles"] == found["utilization"]
    assert found["cycles"] == found["array_cycles"] + found["score_traffic_cycles"]
    assert found["ms_per_step"] == found["cycles"] / 1e6
    assert found["as_simulated_ms"] is found["speedup"] is None


def test_clock_and_policy(report):
    slow = report("estimate", "--model", "toy", "--clock-ghz", "0.5")
    assert slow["ms_per_step"] == slow["cycles"] / 0.5e6
    wide = report("estimate", "--model", "toy", "--high-heads", "2", "--high-share", "0.5")
    assert (wide["high_share"], wide["high_heads"]) == (0.5, 2)
    assert wide["array_cycles"] > slow["array_cycles"]


def test_other_engine(report, mixdit):
    assert report("estimate", "--model", "toy", "--preset", "small")["preset"] == "small"
    shown = mixdit("estimate", "--model", "toy", "--preset", "paper").out
    assert "score traffic" in shown and "ms per step at 1 GHz" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "flux"], "Model must be one of dit-s-2-256"),
        (["--model", "toy", "--preset", "large"], "Engine must be one of"),
        (["--model", "toy", "--clock-ghz", "0"], "Clock must be a positive number"),
        (["--model", "toy", "--clock-ghz", "nan"], "Clock must be a positive number"),
        (["--model", "toy", "--high-share", "2"], "High share must be 0..1, not 2.0"),
        (["--model", "toy", "--high-heads", "3"], "High heads must be 0..2, not 3"),
    ],
)
def test_bad_option(options, message, refused):
    assert message in refused("estimate", *options)
