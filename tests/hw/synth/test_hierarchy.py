import pytest

from mixdit_hw.synth.hierarchy import instance_counts, split_units
from mixdit_sw.errors import MixditError

DESIGN = """\
// module ghost(a); endmodule
module top(a, o);
  input [3:0] a;
  output o;
  wire [1:0] w;
  row row_0 (.a(a), .o(w[0]));
  row row_1 (
    .a(a), .o(w[1])
  );
  \\top.join joiner (.a(w), .o(o));
endmodule

module \\top.join (a, o);
  input [1:0] a;
  output o;
  cell_a c (.a(a), .o(o));
endmodule

/* module ghost(a); endmodule */
module row(a, o);
  input [3:0] a;
  output o;
  wire x, y;
  cell_a \\cell.0 (.a(a[1:0]), .o(x));
  cell_a cell_1(.a(a[3:2]), .o(y));
  assign o = x ^ y;
endmodule

module cell_a(a, o);
  input [1:0] a;
  output o;
  assign o = ^a;
endmodule
"""


def test_shared_modules_are_units_and_parts_are_not():
    units = split_units(DESIGN, "top")
    assert [unit.name for unit in units] == ["top", "row", "cell_a"]
    top, row, cell = units
    assert dict(top.children) == {"row": 2, "cell_a": 1}
    assert dict(row.children) == {"cell_a": 2}
    assert "top.join" in top.source
    assert "assign o = x" not in top.source
    assert cell.source.count("module") == 2


def test_an_open_top_has_its_parts_as_units():
    units = split_units(DESIGN, "top", open_top=True)
    assert [unit.name for unit in units] == ["top", "top.join", "row", "cell_a"]
    assert dict(units[0].children) == {"row": 2, "top.join": 1}
    assert instance_counts(units)["cell_a"] == 5
    assert [unit.name for unit in split_units(DESIGN, "row", open_top=True)] == ["row", "cell_a"]


def test_instances_are_counted_through_the_hierarchy():
    assert instance_counts(split_units(DESIGN, "top")) == {"top": 1, "row": 2, "cell_a": 5}


def test_shells_have_the_ports():
    row = split_units(DESIGN, "row")[0]
    shell = row.source.split("(* blackbox *)")[1]
    assert "module cell_a(a, o);" in shell
    assert "input [1:0] a;" in shell
    assert "assign" not in shell


def test_flatten_leaves_one_unit():
    units = split_units(DESIGN, "top", flatten=True)
    assert [unit.name for unit in units] == ["top"]
    assert "blackbox" not in units[0].source


def test_instances_with_parameters_are_parts():
    text = "module t(o);\n  output o;\n  p #(.A(1)) x (.o(o));\nendmodule\nmodule p(o);\n"
    text += "  parameter A = 0;\n  output o;\n  assign o = A;\nendmodule\n"
    assert [unit.name for unit in split_units(text, "t")] == ["t"]


def test_missing_top_lists_what_there_is():
    with pytest.raises(MixditError, match="'none' is not in the Verilog; it has cell_a, row, top"):
        split_units(DESIGN, "none")
