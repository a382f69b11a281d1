"""Processes and Dask workers that measure points."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import executor_calls
import pytest
from distributed import LocalCluster

from mixdit_hw import tools
from mixdit_sim.executors import dask_cluster, local_processes
from mixdit_sw.errors import MixditError


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Let the processes find the calls."""
    here = Path(executor_calls.__file__).parent
    monkeypatch.setenv("PYTHONPATH", f"{here}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


def test_calls_run_in_processes_of_their_own():
    with local_processes(1) as executor:
        first, second = (executor.submit(executor_calls.where, i).result() for i in range(2))
        assert first == second != os.getpid()
        with pytest.raises(MixditError, match="refused"):
            executor.submit(executor_calls.refuse, 0).result()


def test_process_that_dies_takes_only_its_own_call():
    with local_processes(2) as executor:
        calls = [executor.submit(executor_calls.end_or_double, i) for i in (1, -1, 2, 3)]
        with pytest.raises(MixditError, match="The process that measured it ended"):
            calls[1].result()
        assert [calls[i].result() for i in (0, 2, 3)] == [2, 4, 6]


INTERRUPTED_AT_ONCE = """
import os, signal
from mixdit_sim.executors import local_processes

if __name__ != "__main__":  # in a process that begins
    os.kill(os.getpid(), signal.SIGINT)
else:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # even in the background
    try:
        with local_processes(1) as executor:
            executor.submit(print, "ran").result()
    except Exception as error:
        print(error)
"""


def test_interrupt_while_a_process_begins(tmp_path):
    """It ends without a word, as soon as it can."""
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED_AT_ONCE)
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("The process that measured it ended")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("jobs", [0, -1])
def test_bad_jobs(jobs):
    with (
        pytest.raises(MixditError, match=f"Jobs must be a positive number, not {jobs}"),
        local_processes(jobs),
    ):
        pass


@contextmanager
def cluster_address(workers):
    with LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=False,
        protocol="tcp",
        dashboard_address=None,
    ) as cluster:
        yield cluster.scheduler_address


def test_dask_workers_by_address():
    with cluster_address(1) as address, dask_cluster(address) as executor:
        assert executor.submit(executor_calls.end_or_double, 4).result() == 8
        with pytest.raises(MixditError, match="refused"):
            executor.submit(executor_calls.refuse, 0).result()


def test_dask_without_workers():
    with (
        cluster_address(0) as address,
        pytest.raises(MixditError, match="The Dask scheduler at tcp://.* has no workers"),
        dask_cluster(address),
    ):
        pass


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://x", "tcp://127.0.0.1", ""])
def test_no_scheduler(address, monkeypatch):
    monkeypatch.setattr("mixdit_sim.executors.CONNECT_SECONDS", 1)
    with (
        pytest.raises(MixditError, match="No Dask scheduler answers at") as error,
        dask_cluster(address),
    ):
        pass
    assert "\n" not in str(error.value)


def test_dask_is_not_installed(monkeypatch):
    find = tools.importlib.util.find_spec
    monkeypatch.setattr(
        tools.importlib.util,
        "find_spec",
        lambda name: None if name == "distributed" else find(name),
    )
    with pytest.raises(MixditError, match=r"pip install 'mixdit\[sweep\]'"), dask_cluster("tcp:"):
        pass
