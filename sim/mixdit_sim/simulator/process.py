"""Processes of the flow: their environment, their log, and their end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mixdit_hw.tools import (
    BUILD_VARIABLE,
    build_root,
    require_package,
    require_program,
    verilator_environment,
)

# Optimizing harder takes minutes for large designs and gains little.
OPTIMIZATION = "OPT_FAST=-O1"
# Settings that would change cocotb's runner behind the caller's back.
_FOREIGN = ("WAVES", "GUI", "PYTEST_CURRENT_TEST", "SIM_CMD_PREFIX", "SIM_CMD_SUFFIX")


def tool_environment(simulator: str) -> dict[str, str]:
    """Environment in which a simulator builds and runs.

    Raises
    ------
    MixditError
        If something it needs is not installed.
    """
    require_package("cocotb_tools")
    if simulator == "verilator":
        for program in ("g++", "make"):
            require_program(program)
        environment = verilator_environment()
        environment["MAKEFLAGS"] += f" {OPTIMIZATION} PYTHON3={sys.executable}"
        environment["OBJCACHE"] = f"{sys.executable} -S {Path(__file__).with_name('objcache.py')}"
        environment[BUILD_VARIABLE] = str(build_root())
    else:
        for program in ("iverilog", "vvp"):
            require_program(program)
        environment = dict(os.environ)
    for name in _FOREIGN:
        environment.pop(name, None)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    return environment


def run_worker(
    task: str,
    job: Mapping[str, Any],
    folder: Path,
    environment: Mapping[str, str],
    timeout_s: float | None = None,
) -> int | None:
    """Run a task of the worker, with its output in `TASK.log`.

    Returns
    -------
    int or None
        Exit status; None if it was ended because its time was over.
    """
    description = folder / f"{task}.json"
    description.write_text(json.dumps(job, indent=2))
    command = [sys.executable, "-m", f"{__package__}.worker", task, str(description)]
    with (folder / f"{task}.log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:  # with the simulator or the compilers that it started
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
