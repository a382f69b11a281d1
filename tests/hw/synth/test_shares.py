"""Shares of a unit's area, on a netlist that is small enough to count."""

import pytest

from mixdit_hw.synth.flow import synthesize
from mixdit_hw.synth.shares import Rule, shared_out
from mixdit_hw.synth.targets import GENERIC_GE, find_target

NETLIST = r"""
module unit(clk, a, b, o, \p.q );
  input clk;
  input [1:0] a;
  input b;
  output o;
  \$_AND_  _1_ (
    .A(a[0]),
    .B(a[1]),
    .Y(\both.x )
  );
  \$_XOR_  _2_ (
    .A(\both.x ),
    .B(b),
    .Y(next)
  );
  \$_DFF_P_  _3_ (
    .C(clk),
    .D(alias),
    .Q(\held.r [3])
  );
  \$_NOT_  _4_ (
    .A(\held.r [3]),
    .Y(o)
  );
  adder \inner.add  (
    .x({ b, o }),
    .y(free)
  );
  assign alias = next;
endmodule
"""
FLOP, AND, XOR, NOT = (GENERIC_GE[f"$_{name}_"] for name in ("DFF_P", "AND", "XOR", "NOT"))


def shares(*rules):
    found = shared_out(NETLIST, find_target("generic"), rules, "rest")
    assert sum(found.values()) == FLOP + AND + XOR + NOT
    return found


def test_a_register_has_the_gates_before_it():
    assert shares(Rule("held", into=r"held\.r")) == {"held": FLOP + AND + XOR, "rest": NOT}


def test_a_unit_inside_has_the_gates_before_its_pins():
    assert shares(Rule("add", into=r"inner\.add")) == {"add": NOT, "rest": FLOP + AND + XOR}


def test_gates_of_some_inputs_only():
    assert shares(Rule("a", only_from=r"a\[")) == {"a": AND, "rest": FLOP + XOR + NOT}
    assert shares(Rule("ab", only_from=r"[ab]")) == {"ab": AND + XOR, "rest": FLOP + NOT}


def test_the_first_rule_wins():
    found = shares(Rule("a", only_from=r"a\["), Rule("held", into="held"))
    assert found == {"a": AND, "held": FLOP + XOR, "rest": NOT}


def test_names_that_nothing_has():
    assert shares(Rule("none", into="nothing")) == {"none": 0, "rest": FLOP + AND + XOR + NOT}


@pytest.mark.parametrize("target", ["generic", "osu018"])
def test_shares_of_a_real_netlist_add_up(target, request):
    """A product of a and b, and a sum with c, each behind a register."""
    text = """\
module unit(clk, a, b, c, p, s);
  input clk;
  input [3:0] a, b;
  input [7:0] c;
  output reg [7:0] p, s;
  always @(posedge clk) begin
    p <= a * b;
    s <= p + c;
  end
endmodule
"""
    try:
        find_target(target)
    except ValueError as error:
        pytest.skip(str(error))
    report = synthesize(text, "unit", target)
    netlist = (report.units[0].folder / "netlist.v").read_text()
    rules = (Rule("product", into=r"p\["), Rule("sum", into=r"s\["))
    found = shared_out(netlist, find_target(target), rules, "rest")
    assert sum(found.values()) == pytest.approx(report.area, rel=1e-9)
    assert found["rest"] == 0
    assert found["product"] > found["sum"] > 0
    only = shared_out(netlist, find_target(target), (Rule("gates", only_from=r"[ab]\["),), "rest")
    flop = found["product"] - only["gates"]
    assert flop > 0
