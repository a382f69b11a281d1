"""Energy: counted by hand on circuits that are small enough, functions on a real unit."""

import random
import re
import shutil
import subprocess
from functools import partial

import numpy as np
import pytest
from unit_driver import run_unit

from mixdit_hw import tools
from mixdit_hw.config import get_preset
from mixdit_hw.emit import emit_verilog
from mixdit_hw.synth.activity import Toggles, count_toggles, with_delays
from mixdit_hw.synth.baselines import (
    FP8,
    FP16,
    DecomposedPe,
    FloatMac,
    IntMac,
    IntPipeline,
    LoopPipeline,
    MxUnit,
    Pipeline,
    RegisteredPe,
    variants,
)
from mixdit_hw.synth.baselines.workload import float_codes, stimulus
from mixdit_hw.synth.flow import synthesize
from mixdit_hw.synth.liberty import Library
from mixdit_hw.synth.netlist import parse_flat
from mixdit_hw.synth.power import OUTPUT_LOAD_PF, measure_energy, read_delays
from mixdit_hw.synth.scripts import SynthOptions
from mixdit_hw.synth.targets import find_target
from mixdit_hw.synth.timing import analyze_timing
from mixdit_sw.errors import MixditError

# q toggles every cycle; y pulses whenever q does, as its inputs arrive apart.
TOGGLE = """\
module t (clk, q, y);
  input clk;
  output q, y;
  wire clk, q, y, n, s, d;
  INVX1 i0 (.A(q), .Y(n));
  DFFPOSX1 r (.CLK(clk), .D(n), .Q(q));
  BUFX2 i1 (.A(q), .Y(s));
  BUFX2 i2 (.A(s), .Y(d));
  XOR2X1 x (.A(q), .B(d), .Y(y));
endmodule
"""

VCD = """\
$timescale 1ps $end
$scope module bench $end
$scope module unit $end
$var wire 1 ! clk $end
$var wire 4 " acc [3:0] $end
$var wire 1 # n $end
$upscope $end
$upscope $end
$enddefinitions $end
#0
$dumpvars
0!
b1000 "
x#
$end
#5
1!
b1 "
1#
#6
0#
#10
0!
bx "
#15
b11 "
"""


@pytest.fixture
def osu018():
    for program in ("sta", "iverilog"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    try:
        return Library(find_target("osu018").liberty)
    except MixditError as error:
        pytest.skip(str(error))


def activity(report):
    rows = (report.folder / "activity.csv").read_text().split()[1:]
    return {net: Toggles(int(r), int(f)) for net, r, f in (row.split(",") for row in rows)}


def test_toggles_are_counted():
    found = count_toggles(VCD.splitlines(keepends=True))
    assert (found["clk"].rises, found["clk"].falls) == (1, 1)
    assert (found["acc[3]"].rises, found["acc[3]"].falls) == (0, 1)
    assert (found["acc[0]"].rises, found["acc[0]"].falls) == (1, 0)  # 0 to 1; X to 1 is none
    assert found["n"].total == 1
    assert set(found) == {"clk", "n"} | {f"acc[{i}]" for i in range(4)}


def test_delays_are_read_and_inserted():
    sdf = """(CELL (CELLTYPE "NAND2X1") (INSTANCE u1) (DELAY (ABSOLUTE
    (IOPATH A Y (0.062::0.064) (0.054::0.054)) (IOPATH B Y (0.010::0.010) (0.070::0.070)))))"""
    delays = read_delays(sdf)
    assert delays == {("u1", "Y"): (64, 70)}
    text = "module t(a);\n  NAND2X1 u1 (\n    .A(a)\n  );\n  NAND2X1 u2 (\n  );\n"
    timed = with_delays(text, delays)
    assert "NAND2X1 #(.R_Y(64), .F_Y(70)) u1 (" in timed
    assert "NAND2X1 u2 (" in timed


def test_flat_netlist_is_read():
    text = "module t(a, q);\n  input [7:0] a;\n  output q;\n  wire n1;\n  assign q = n1;\n"
    text += "  NAND2X1 u1 (\n    .A(a[3]),\n    .B(1'h1),\n    .Y(n1)\n  );\nendmodule\n"
    netlist = parse_flat(text)
    assert (netlist.inputs, netlist.outputs) == ({"a": 8}, {"q": 1})
    assert netlist.aliases == {"q": "n1"}
    assert netlist.instances[0].nets == {"A": "a[3]", "B": "1'h1", "Y": "n1"}


def test_energy_counted_by_hand(osu018, tmp_path, monkeypatch):
    monkeypatch.setenv(tools.BUILD_VARIABLE, str(tmp_path))
    file = tmp_path / "toggle.v"
    file.write_text(TOGGLE)
    cycles, warm_up = 50, 10
    report = measure_energy(file, "t", "osu018", [{}] * (cycles + warm_up), 4.0, warm_up)
    assert (report.cycles, report.period_ns) == (cycles, 4.0)
    per_cycle = {net: t.total / cycles for net, t in activity(report).items()}
    netlist = parse_flat((report.netlist_folder / "flat.v").read_text())
    inverter, register = (
        next(i for i in netlist.instances if i.cell == cell) for cell in ("INVX1", "DFFPOSX1")
    )
    buffers = [i for i in netlist.instances if i.cell == "BUFX2"]
    assert per_cycle.pop("clk") == 2
    assert per_cycle.pop("y") == 2  # the glitch
    assert set(per_cycle) == {"q", inverter.nets["Y"], *(b.nets["Y"] for b in buffers)}
    assert set(per_cycle.values()) == {1}

    pins = {name: cell.pins for name, cell in osu018.cells.items()}
    of_q = pins["INVX1"]["A"], pins["BUFX2"]["A"], pins["XOR2X1"]["A"]
    once = [*of_q, pins["DFFPOSX1"]["D"], pins["BUFX2"]["A"], pins["XOR2X1"]["B"]]
    charge = sum(pin.capacitance for pin in once) + OUTPUT_LOAD_PF + 2 * OUTPUT_LOAD_PF
    assert report.switching == pytest.approx(charge * 1.8**2 / 2)
    assert report.clock == pytest.approx(2 * pins["DFFPOSX1"]["CLK"].capacitance * 1.8**2 / 2)
    leakage = sum(osu018.cells[i.cell].leakage_nw for i in netlist.instances)
    assert report.leakage == pytest.approx(leakage * 4e-6)

    slews = dict(
        (pin, (float(rise) + float(fall)) / 2)
        for pin, rise, fall in map(
            str.split, (report.netlist_folder / "slews.txt").read_text().split("\n")[:-1]
        )
    )
    flop = pins["DFFPOSX1"]
    load = sum(pin.capacitance for pin in of_q) + OUTPUT_LOAD_PF
    clock, data, out = (flop[name].energies[0] for name in ("CLK", "D", "Q"))
    expected = sum(clock.rise.at(0, 0.06) + clock.fall.at(0, 0.06) for _ in range(1))
    at_d = slews[f"{register.name}/D"]
    expected += (data.rise.at(0, at_d) + data.fall.at(0, at_d)) / 2
    expected += (out.rise.at(load, 0.06) + out.fall.at(load, 0.06)) / 2
    assert report.registers == pytest.approx(expected)
    assert report.total == pytest.approx(
        report.switching + report.internal + report.registers + report.clock + report.leakage
    )


def test_opensta_agrees_on_switching_and_doubles_the_inside(osu018, tmp_path, monkeypatch):
    """Why its own report is not used: see docs/baselines.md."""
    monkeypatch.setenv(tools.BUILD_VARIABLE, str(tmp_path))
    text = "module t (clk, q);\n  input clk;\n  output q;\n  wire n;\n"
    text += "  INVX1 i (.A(q), .Y(n));\n  DFFPOSX1 r (.CLK(clk), .D(n), .Q(q));\nendmodule\n"
    (tmp_path / "t.v").write_text(text)
    (tmp_path / "t.lib").write_text(find_target("osu018").liberty)
    (tmp_path / "t.tcl").write_text(
        "read_liberty t.lib\nread_verilog t.v\nlink_design t\n"
        "create_clock -name clock -period 4 [get_ports clk]\n"
        "set_input_transition 0.06 [get_ports clk]\n"
        f"set_load {OUTPUT_LOAD_PF} [all_outputs]\n"
        "foreach p [get_pins r/Q] { ::sta::set_power_pin_activity $p 1.0 0.5 }\n"
        "report_power -instances [get_cells r] -digits 9\nexit\n"
    )
    run = subprocess.run(
        ["sta", "-no_splash", "-exit", "t.tcl"], cwd=tmp_path, capture_output=True, text=True
    )
    row = next(line.split() for line in run.stdout.splitlines() if line.endswith(" r"))
    internal, switching = (float(x) * 4e3 for x in row[:2])  # W in 4 ns, in pJ
    load = osu018.cells["INVX1"].pins["A"].capacitance + OUTPUT_LOAD_PF
    assert switching == pytest.approx(load * 1.8**2 / 2, rel=1e-3)
    pins = osu018.cells["DFFPOSX1"].pins
    clock, out = pins["CLK"].energies[0], pins["Q"].energies[0]
    once = clock.rise.at(0, 0.06) + clock.fall.at(0, 0.06)
    once += (out.rise.at(load, 0.06) + out.fall.at(load, 0.06)) / 2
    assert 1.9 < internal / once < 2.1


def test_a_unit_works_at_its_clock(osu018, tmp_path, monkeypatch):
    """The simulated netlist gives the right sums at the period that OpenSTA allows."""
    unit = IntMac(8, IntPipeline(2))
    verilog = emit_verilog(unit, "mac")
    netlist = synthesize(verilog, "mac", "osu018", SynthOptions(recipe="sized", booth=True)).netlist
    period = analyze_timing(netlist, "mac", "osu018").min_period_ns
    rng = random.Random(0)
    work = [
        {"a": rng.randint(-128, 127), "b": rng.randint(-128, 127), "clear": int(i % 50 == 0)}
        for i in range(120)
    ]
    monkeypatch.setenv(tools.BUILD_VARIABLE, str(tmp_path))
    report = measure_energy(netlist, "mac", "osu018", work, 1.02 * period)
    lines = (report.folder / "results.hex").read_text().split()
    acc, expected = 0, []
    for cycle in work:
        acc = 0 if cycle["clear"] else acc + cycle["a"] * cycle["b"]
        expected.append(acc & 0xFFFFFFFF)
    # A result is seen at the edge that ends its cycle, one after it is in the accumulator.
    assert [int(word, 16) for word in lines[3:]] == expected[:-3]
    assert 40 < report.total < 120  # measured 70 pJ
    half = measure_energy(netlist, "mac", "osu018", [w | {"b": 1} for w in work], 1.02 * period)
    assert half.total < 0.7 * report.total
    with pytest.raises(AssertionError):
        fast = measure_energy(netlist, "mac", "osu018", work, 0.6 * period)
        wrong = (fast.folder / "results.hex").read_text().split()
        assert [int(word, 16) for word in wrong[3:]] == expected[:-3]


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("build", "mode", "output"),
    [
        (partial(FloatMac, FP16, LoopPipeline(4, 2)), "", "acc"),
        (partial(FloatMac, FP8, LoopPipeline(4, 3)), "", "acc"),
        (partial(DecomposedPe, LoopPipeline(4, 2)), "MX6", "acc"),
        (partial(MxUnit, "mx9", Pipeline(2)), "", "drain_out"),
        (partial(RegisteredPe, get_preset("small")), "mx6xmx6", "drain_out"),
    ],
    ids=["fp16", "fp8", "decomposed", "mx9", "pe"],
)
def test_gates_do_what_the_description_does(osu018, build, mode, output):
    """The netlist whose energy is counted gives the same bits, at its highest clock."""
    unit = build()
    name = unit.module_name
    work = stimulus(unit, mode, 300)
    netlist = synthesize(
        emit_verilog(unit, name), name, "osu018", SynthOptions(recipe="sized")
    ).netlist
    period = analyze_timing(netlist, name, "osu018").min_period_ns
    report = measure_energy(netlist, name, "osu018", work, 1.02 * period)
    found = (report.folder / "results.hex").read_text().split()
    expected = run_unit(build(), work, output, 0)
    settled = 16  # what a register without reset holds before the first sum does not matter
    assert len(set(expected)) > 2
    assert [int(word, 16) for word in found[settled:]] == expected[settled:]


def test_every_baseline_has_a_workload():
    for candidate in variants.candidates()[:-1]:
        unit = candidate.forms[-1][0]()
        unit._MustUse__used = True
        for mode in candidate.macs:
            cycles = stimulus(unit, mode, 40)
            assert len(cycles) == 40
            assert len({c["b"] for c in cycles}) > 3
            ports = set(unit.signature.members) - {"acc", "drain_out"}
            assert set(cycles[0]) == ports


def test_operands_are_rounded_to_nearest_even():
    rng = np.random.default_rng(0)
    x = rng.normal(size=1000) * 2.0 ** rng.integers(-3, 4, 1000)
    codes = float_codes(x, variants.FP16)
    assert (codes == x.astype(np.float16).view(np.uint16)).all()
    assert re.fullmatch("[01]+", f"{float_codes(np.array([-448.0]), variants.FP8)[0]:b}")
    assert float_codes(np.array([448.0, 1.0]), variants.FP8).tolist() == [0x7E, 0x38]


def test_targets_without_energies(tmp_path):
    with pytest.raises(MixditError, match="Target generic has no energies"):
        measure_energy(tmp_path / "none.v", "t", "generic", [{}], 1.0)
