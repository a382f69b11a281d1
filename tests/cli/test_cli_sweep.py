"""`mixdit sweep`."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from distributed import LocalCluster

TINY = ["--vary", "rows=2", "--vary", "cols=2", "--vary", "dot_register=false,true"]
FAST = ["--target", "generic", "--no-quality", "--jobs", "1"]
KEYS = {
    "name", "status", "reason", "parameters", "peak_macs_per_cycle", "fp32_converters",
    "mx_converters", "cycles", "utilization", "array_ge", "ge_per_mac", "ge", "memory_bits",
    "fmax_mhz", "netlist", "tool", "qsnr_db", "loss_db", "missing", "rate_per_area",
}  # fmt: skip


def test_two_points_and_resume(report, mixdit, tmp_path):
    out = tmp_path / "out"
    found = report("sweep", *TINY, *FAST, "--out", out)
    assert set(found) == {"settings", "rate_unit", "points", "pareto", "pareto_accumulator"}
    assert all(set(point) == KEYS for point in found["points"])
    assert [point["name"] for point in found["points"]] == [
        "dot_register=false",
        "dot_register=true",
    ]
    first, second = (point["ge_per_mac"] for point in found["points"])
    assert 400 < first < second < 600
    assert json.loads((out / "sweep.json").read_text()) == found
    kept = {file: file.stat().st_mtime_ns for file in (out / "points").iterdir()}
    again = mixdit("sweep", *TINY, *FAST, "--out", out)
    assert "2 of 2, dot_register=true: there already" in again.err
    assert f"{first:.1f}" in again.out and "MACs/cycle per MGE" in again.out
    assert "warning: no clock: timing needs a Liberty file" in again.err
    assert kept == {file: file.stat().st_mtime_ns for file in (out / "points").iterdir()}


def test_dask_gives_the_same(report, tmp_path):
    here = report("sweep", *TINY, *FAST, "--out", tmp_path / "here")
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None
    ) as cluster:
        address = cluster.scheduler_address
        there = report("sweep", *TINY, *FAST, "--out", tmp_path / "there", "--dask", address)
    assert there == here
    names = [{file.name for file in (tmp_path / x / "points").iterdir()} for x in ("here", "there")]
    assert names[0] == names[1]


def test_interrupted_in_a_process_of_its_own(tmp_path):
    """Ctrl-C leaves what is finished; no process stays; the next run goes on from there."""
    out = tmp_path / "out"
    # Also where a shell in the background has made all that it starts ignore Ctrl-C.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from mixdit_cli.main import main; main()"
    )
    command = [sys.executable, "-c", code, "sweep", *TINY, *FAST, "--out", str(out)]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(out.glob("points/*.json")) and time.monotonic() < deadline:
        assert run.poll() is None
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGINT)
    _, err = run.communicate(timeout=60)
    finished = list(out.glob("points/*.json"))
    assert "Traceback" not in err and finished
    if run.returncode != 0:  # else it was faster than the signal
        assert run.returncode == 130 and err.endswith("error: interrupted\n")
        assert not (out / "sweep.json").exists()
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0
    assert done.stderr.count("there already") == len(finished)


def test_failed_point(mixdit, tmp_path, monkeypatch):
    monkeypatch.setenv("MIXDIT_BUILD", str(tmp_path / "build"))
    # What its workers need cannot be written: a file is where the folder of results would be.
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "synth").write_text("")
    done = mixdit("sweep", *TINY[:4], *FAST, "--out", tmp_path / "out")
    assert done.status == 1
    assert "failed: default: " in done.err and "Traceback" not in done.err
    point = json.loads((tmp_path / "out" / "sweep.json").read_text())["points"][0]
    assert point["status"] == "failed" and "synth" in point["reason"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["none.toml"], "Cannot read none.toml"),
        (["--vary", "lanes=8"], "lanes must be 16, not 8"),
        (["--vary", "rows=0"], "rows must be a positive integer, not 0"),
        (["--vary", "rows"], "A dimension is given as name=value,value, not 'rows'"),
        (["--scope", "chip", *TINY], "Scope must be one of array, engine, not 'chip'"),
        (["--target", "xc7", *TINY], "A sweep needs gate equivalents, which xc7 has not"),
        (["--workload", "flux", *TINY], "Model must be one of"),
        (["--jobs", "0", *TINY], "Jobs must be a positive number, not 0"),
        (["--dask", "nowhere://x", *TINY], "No Dask scheduler answers at nowhere://x"),
        (["--json", ".", *TINY], "Cannot write .: it is a folder"),
    ],
)
def test_bad_option(options, message, refused, tmp_path):
    assert message in refused("sweep", "--out", tmp_path / "out", *options)
