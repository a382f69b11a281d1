"""One build or test of cocotb's runner, in a process of its own.

The runner takes its settings from the environment, and ends the process on errors: here neither
touches the program that asked for it.
"""

import json
import sys
from pathlib import Path
from typing import Any

from cocotb_tools.runner import get_runner

TIMESCALE = ("1ns", "1ps")


def build(job: dict[str, Any]) -> None:
    """Compile a design."""
    get_runner(job["simulator"]).build(
        sources=[Path(job["verilog"])],
        hdl_toplevel=job["top"],
        build_dir=job["build_dir"],
        build_args=job["build_args"],
        timescale=TIMESCALE,
        waves=job["waves"],
        always=True,
    )


def test(job: dict[str, Any]) -> None:
    """Run a test module on a compiled design."""
    get_runner(job["simulator"]).test(
        test_module=job["test_module"],
        hdl_toplevel=job["top"],
        hdl_toplevel_lang="verilog",
        testcase=job["testcase"],
        seed=job["seed"],
        build_dir=job["build_dir"],
        test_dir=job["test_dir"],
        results_xml=job["results"],
        test_args=job["test_args"],
        plusargs=job["plusargs"],
        timescale=TIMESCALE,
        waves=job["waves"],
    )


if __name__ == "__main__":
    {"build": build, "test": test}[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text()))
