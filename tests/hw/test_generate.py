import json
import re

import pytest
from hw_driver import tiny

from mixdit_hw.config import get_preset
from mixdit_hw.generate import TOPS, generate, verilog
from mixdit_hw.lint import lint
from mixdit_sw.errors import MixditError

VARIANTS = {
    "tiny": {},
    "fp32": {"accumulator": "fp32", "loop_latency": 2, "interleave": 2, "prepare_register": True},
    "clusters": {"rows": 4, "cols": 4, "dot_register": True},
    "mx6-only": {"formats": ("mx6",)},
}


def modules(text):
    return re.findall(r"^module \\?(\S+?) ?\(", text, re.M)


def ports(manifest):
    return {port["name"]: (port["direction"], port["width"]) for port in manifest["ports"]}


def test_manifest(tmp_path):
    config = get_preset("tiny")
    manifest = generate(config, "array", tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["array.v", "manifest.json"]
    assert json.loads((tmp_path / "manifest.json").read_text()) == manifest
    assert list(manifest) == [
        *("top", "verilog", "modules", "ports"),
        *("parameters", "peak_macs_per_cycle"),
    ]
    assert manifest["parameters"] == config.to_dict()
    assert manifest["peak_macs_per_cycle"] == config.peak_macs_per_cycle
    found = modules((tmp_path / "array.v").read_text())
    assert manifest["modules"] == found
    assert "array" in found


def test_ports_of_an_array(tmp_path):
    found = ports(generate(tiny(rows=4, cols=2), "array", tmp_path))
    assert found["clk"] == found["rst"] == found["drain_ready"] == found["i__valid"] == ("input", 1)
    assert found["i__ready"] == ("output", 1)
    # Two clusters of 2 x 2: a row of two results leaves each in a cycle.
    for cluster in ("o_0_0", "o_1_0"):
        assert found[f"{cluster}__valid"] == ("output", 1)
        assert found[f"{cluster}__payload"] == ("output", 64)
    assert len(found) == 10


@pytest.mark.parametrize("top", TOPS)
def test_same_bytes_twice(top, tmp_path):
    for name in ("first", "second"):
        generate(tiny(), top, tmp_path / name)
    first, second = tmp_path / "first", tmp_path / "second"
    for name in (f"{top}.v", "manifest.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert verilog(tiny(), top) == (first / f"{top}.v").read_text()


def test_configuration_changes_the_text():
    texts = {verilog(tiny(**changes), "array") for changes in VARIANTS.values()}
    assert len(texts) == len(VARIANTS)


def test_more_pes_are_no_more_modules():
    small, large = (verilog(tiny(rows=n, cols=n), "array") for n in (4, 8))
    assert sorted(modules(small)) == sorted(modules(large))


def test_unknown_top(tmp_path):
    with pytest.raises(
        MixditError,
        match=f"^Top must be one of {', '.join(TOPS)}, not",
    ):
        generate(tiny(), "engine-of-dreams", tmp_path / "rtl")
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MixditError, match="^Cannot write to .*file: "):
        generate(tiny(), "to_fp32", tmp_path / "file")


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_every_tool_reads_it_without_warnings(changes, tmp_path):
    generate(tiny(**changes), "array", tmp_path)
    found = lint(tmp_path / "array.v")
    assert {"verilator", "yosys"} <= set(found)
    assert not any(found.values()), found


def test_paper_preset_is_small_and_has_every_module_once(tmp_path):
    manifest = generate(get_preset("paper"), "array", tmp_path)
    text = (tmp_path / "array.v").read_text()
    assert len(text) < 2e6
    names = modules(text)
    assert len(names) == len(set(names)) == len(manifest["modules"])
    # What differs between two modules is more than their name.
    bodies = re.findall(r"^module \S+?( ?\(.*?^endmodule)", text, re.M | re.S)
    assert len(bodies) == len(set(bodies)) == len(names)
