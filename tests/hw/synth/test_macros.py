"""Memories for timing: flip-flops at their pins."""

import pytest

from mixdit_hw.synth.flow import synthesize
from mixdit_hw.synth.macros import find_flip_flop, memories_of_flip_flops
from mixdit_hw.synth.timing import analyze_timing
from mixdit_sw.errors import MixditError

LIBRARY = """
library (toy) {
  cell (LATCH) { latch (IQ, IQN) { data_in : "D"; enable : "G"; } }
  cell (DFFR) {
    ff (IQ, IQN) { next_state : "D"; clocked_on : "CK"; clear : "!RN"; }
    pin (Q) { direction : output; function : "IQ"; }
  }
  cell (DFFN) {
    ff (IQ, IQN) { next_state : "D"; clocked_on : "!CK"; }
    pin (Q) { direction : output; function : "IQ"; }
  }
  cell (DFF) {
    ff (IQ, IQN) { next_state : "D"; clocked_on : "CK"; }
    pin (QN) { direction : output; function : "IQN"; }
    pin (Q) { direction : output; function : "IQ"; }
  }
}
"""
NETLIST = """\
module top(clk);
  mixdit_memory #(
    .ABITS(32'd2),
    .RD_PORTS(32'd1),
    .SIZE(32'd4),
    .WIDTH(32'd3),
    .WR_PORTS(32'd1)
  ) \\a.memory (
    .RD_CLK(clk)
  );
  mixdit_memory #(
    .ABITS(32'd3),
    .RD_PORTS(32'd1),
    .SIZE(32'd8),
    .WIDTH(32'd1),
    .WR_PORTS(32'd1)
  ) memory (
    .RD_CLK(clk)
  );
endmodule
"""
# Two memories of different size behind an inverter each: OpenSTA refused them as one module.
DESIGN = """\
module rams(clk, we, a, d, q, r);
  input clk, we;
  input [2:0] a;
  input [7:0] d;
  output reg [7:0] q;
  output r;
  reg [7:0] mem [7:0];
  reg small [3:0];
  reg [7:0] x;
  reg y;
  always @(posedge clk) begin
    if (we) mem[a] <= d;
    if (we) small[a[1:0]] <= d[0];
    x <= mem[a];
    y <= small[a[1:0]];
    q <= ~x;
  end
  assign r = y;
endmodule
"""


def test_the_plain_flip_flop_is_found():
    found = find_flip_flop(LIBRARY)
    assert (found.cell, found.data, found.clock, found.output) == ("DFF", "D", "CK", "Q")


def test_a_library_without_one_is_refused():
    with pytest.raises(MixditError, match="no plain flip-flop"):
        find_flip_flop("library (toy) { cell (NAND2) { area : 1; } }")


def test_each_size_becomes_a_module():
    text = memories_of_flip_flops(NETLIST, LIBRARY)
    assert "  mixdit_memory_4x3_1r1w \\a.memory (" in text
    assert "  mixdit_memory_8x1_1r1w memory (" in text
    module = text.split("module mixdit_memory_4x3_1r1w")[1].split("endmodule")[0]
    # Enable, address and data of either side; the enables of bits count once.
    assert module.count("DFF ") == (1 + 2 + 3) + (1 + 2 + 3)
    assert "DFF RD_DATA_2 (.CK(RD_CLK[0]), .Q(RD_DATA[2]));" in module
    assert "DFF WR_ADDR_1 (.CK(WR_CLK[0]), .D(WR_ADDR[1]));" in module


def test_a_netlist_without_memories_stays():
    assert memories_of_flip_flops("module top(); endmodule\n", "") == "module top(); endmodule\n"


def test_paths_from_a_memory_are_timed(timing_installed):
    report = synthesize(DESIGN, "rams", "osu018", memory_limit_bits=0)
    assert sorted(report.units[0].memories) == [(4, 1), (8, 8)]
    timing = analyze_timing(report.netlist, "rams", "osu018")
    path = timing.paths["register"]
    assert "RD_DATA" in path.start and path.stages == 1
