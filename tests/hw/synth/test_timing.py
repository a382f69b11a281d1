import pytest

from mixdit_hw import tools
from mixdit_hw.emit import emit_verilog
from mixdit_hw.synth.baselines import Int8Mac
from mixdit_hw.synth.flow import synthesize
from mixdit_hw.synth.registers import register_names
from mixdit_hw.synth.scripts import SynthOptions
from mixdit_hw.synth.timing import analyze_timing, parse_paths
from mixdit_sw.errors import MixditError

LOG = """\
== register
Startpoint: _1_ (rising edge-triggered flip-flop clocked by clock)
Endpoint: _3_ (rising edge-triggered flip-flop clocked by clock)
Path Group: clock
   0.0000    0.0000 ^ _1_/CLK (DFFPOSX1)
   0.2000    0.2000 ^ _1_/Q (DFFPOSX1)
   0.1000    0.3000 v m/_2_/Y (INVX1)
   0.0000    0.3000 v _3_/D (DFFPOSX1)
             0.3000   data arrival time
           999.6000   slack (MET)
== input
No paths found.
== end
"""


def test_paths_are_read():
    paths = parse_paths(LOG)
    assert list(paths) == ["register"]
    path = paths["register"]
    assert (path.start, path.end, path.stages) == ("_1_", "_3_", 1)
    assert path.delay_ns == pytest.approx(0.4)


def test_registers_are_named_by_what_they_hold():
    netlist = """\
module top(clk);
  pe \\pe[0] (
    .clk(clk)
  );
endmodule
module pe(clk);
  DFFPOSX1 _12_ (
    .CLK(clk),
    .Q(\\acc.sum [3])
  );
endmodule
"""
    name = register_names(netlist, "top")
    assert name("pe[0]/_12_") == "pe[0]/acc.sum"
    assert name("clk") == "clk"
    assert name("pe[0]/_13_") == "pe[0]/_13_"


def test_registers_of_parts_are_named():
    """Of a module and an instance whose names need escapes, as those of a top's parts do."""
    netlist = """\
module top(clk);
  \\top.core  core (
    .clk(clk)
  );
endmodule
module \\top.core (clk);
  DFFPOSX1 _12_ (
    .CLK(clk),
    .Q(held)
  );
endmodule
"""
    assert register_names(netlist, "top")("core/_12_") == "core/held"


def measure(recipe, **options):
    verilog = emit_verilog(Int8Mac(), "int8_mac")
    report = synthesize(verilog, "int8_mac", "osu018", SynthOptions(recipe=recipe, **options))
    return analyze_timing(report.netlist, "int8_mac", "osu018")


def test_int8_mac_through_two_units(timing_installed):
    timing = measure("reference", booth=True)
    assert timing.fmax_mhz == pytest.approx(1000 / timing.min_period_ns)
    assert 130 < timing.fmax_mhz < 190  # measured 157 MHz
    path = timing.paths["register"]
    assert path.start.startswith(("a", "b"))
    assert path.end.startswith("acc[")
    assert 20 < path.stages < 60
    assert {"input", "output"} <= set(timing.paths) <= {"register", "input", "output"}
    assert timing.log.is_file()


def test_recipes_are_ordered_by_speed(timing_installed):
    reference, sized, speed = (
        measure(recipe).fmax_mhz for recipe in ("reference", "sized", "speed")
    )
    assert reference < sized < speed


def test_reset_is_no_path(timing_installed):
    assert measure("reference").paths["input"].start != "rst"


def test_combinational_design_has_no_clock(timing_installed):
    text = "module t(a, b, o);\n  input a, b;\n  output o;\n  assign o = a ^ b;\nendmodule\n"
    report = synthesize(text, "t", "osu018")
    timing = analyze_timing(report.netlist, "t", "osu018")
    assert timing.fmax_mhz is None
    assert list(timing.paths) == ["through"]
    assert 0 < timing.paths["through"].delay_ns < 1


def test_missing_module_is_an_error(timing_installed, tmp_path, monkeypatch):
    monkeypatch.setenv(tools.BUILD_VARIABLE, str(tmp_path))
    netlist = tmp_path / "netlist.v"
    netlist.write_text("module t(a);\n  input a;\n  none x (.a(a));\nendmodule\n")
    with pytest.raises(MixditError, match="OpenSTA failed on module t: see .*sta.log"):
        analyze_timing(netlist, "t", "osu018")


def test_target_without_timing():
    with pytest.raises(MixditError, match="Target ice40 has no timing"):
        analyze_timing(None, "t", "ice40")


def test_missing_program(timing_installed, monkeypatch):
    monkeypatch.setattr(tools.shutil, "which", lambda name: None)
    with pytest.raises(MixditError, match="sta is not installed: install Debian's .*opensta"):
        analyze_timing(None, "t", "osu018")
