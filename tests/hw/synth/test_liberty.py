"""Cells read from a Liberty text, and the Verilog models made of them."""

import shutil
import subprocess

import pytest

from mixdit_hw.synth.gates import cell_model
from mixdit_hw.synth.liberty import Library, Table, verilog_expression
from mixdit_hw.synth.targets import find_target
from mixdit_sw.errors import MixditError

TOY = """
library (toy) { /* a comment; with { braces */
  time_unit : "1ns"; voltage_unit : "1V"; leakage_power_unit : "1nW";
  capacitive_load_unit (1,pf);
  nom_voltage : 2;
  power_lut_template (energy) {
    variable_1 : input_transition_time; variable_2 : total_output_net_capacitance;
    index_1 ("1, 3"); index_2 ("1, 2");
  }
  cell (NAND2X1) {
    area : 1; cell_leakage_power : 0.5;
    pin (A) { direction : input; capacitance : 9; rise_capacitance : 1; fall_capacitance : 3; }
    pin (B) { direction : input; capacitance : 4; }
    pin (Y) {
      direction : output; function : "(!(A B))";
      internal_power () {
        related_pin : "A";
        rise_power (energy) {
          index_1 ("0.1, 0.3"); index_2 ("1, 2, 4");
          values ( \\
            "10, 20, 40", \\
            "30, 40, 60");
        }
        fall_power (scalar) { values ("7"); }
      }
    }
  }
}
"""


def test_functions():
    assert verilog_expression("(!((A B)+(C D)))") == "(~((A&B)|(C&D)))"
    assert verilog_expression("(A B)'+C'") == "~(A&B)|~C"
    assert verilog_expression("A ^ !B * C") == "A^~B&C"
    assert verilog_expression("S A + S' B") == "S&A|~S&B"


def test_toy_library():
    library = Library(TOY)
    assert library.voltage == 2
    cell = library.cells["NAND2X1"]
    assert cell.leakage_nw == 0.5
    assert (cell.pins["A"].capacitance, cell.pins["B"].capacitance) == (2, 4)
    (energy,) = cell.pins["Y"].energies
    assert energy.related == "A"
    # Axes come as the template says: slew first here.
    assert energy.rise == Table((1, 2, 4), (0.1, 0.3), ((10, 30), (20, 40), (40, 60)))
    assert energy.fall.at(123, 4) == 7


def test_tables_interpolate_and_end():
    table = Table((1, 3), (0, 10), ((0, 10), (20, 50)))
    assert table.at(1, 0) == 0
    assert table.at(2, 0) == 10
    assert table.at(2, 5) == pytest.approx(20)
    assert table.at(99, 99) == 50
    assert table.at(-1, -1) == 0


def test_units_are_checked():
    with pytest.raises(MixditError, match="units of 1 ns, 1 V and 1 pF"):
        Library(TOY.replace("(1,pf)", "(1,ff)"))


def osu018():
    try:
        return Library(find_target("osu018").liberty)
    except MixditError as error:
        pytest.skip(str(error))


def evaluate(cell, tmp_path, bench):
    """What a bench prints about a cell's model."""
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus (Debian's iverilog) is not installed")
    file = tmp_path / "model.v"
    file.write_text(f"{cell_model(cell)}\nmodule bench;\n{bench}\nendmodule\n")
    binary = tmp_path / "model.vvp"
    subprocess.run(["iverilog", "-o", binary, file], check=True)
    result = subprocess.run(["vvp", "-n", binary], check=True, capture_output=True, text=True)
    return result.stdout.split()


@pytest.mark.parametrize(
    ("name", "pins", "rule"),
    [
        ("AOI22X1", "ABCD", lambda a, b, c, d: not (a and b or c and d)),
        ("OAI21X1", "ABC", lambda a, b, c: not ((a or b) and c)),
        ("MUX2X1", "ABS", lambda a, b, s: not (a if s else b)),
        ("XNOR2X1", "AB", lambda a, b: a == b),
    ],
)
def test_models_of_gates(tmp_path, name, pins, rule):
    count = 1 << len(pins)
    ports = ", ".join(f".{pin}(x[{i}])" for i, pin in enumerate(pins))
    bench = f"""reg [{len(pins)}:0] x; wire y; {name} u({ports}, .Y(y));
    initial for (x = 0; x < {count}; x = x + 1) begin #10; $write("%b ", y); end"""
    found = evaluate(osu018().cells[name], tmp_path, bench)
    bits = [[n >> i & 1 for i in range(len(pins))] for n in range(count)]
    assert found == [str(int(rule(*x))) for x in bits]


def test_models_of_storage(tmp_path):
    bench = """reg c = 0, d = 1; wire q; DFFPOSX1 u(.CLK(c), .D(d), .Q(q));
    initial begin #5 $write("%b ", q); c = 1; #5 $write("%b ", q); d = 0; c = 0;
    #5 $write("%b ", q); c = 1; #5 $write("%b ", q); end"""
    assert evaluate(osu018().cells["DFFPOSX1"], tmp_path, bench) == ["0", "1", "1", "0"]
    bench = """reg c = 0, d = 1, r = 1, s = 1; wire q;
    DFFSR u(.CLK(c), .D(d), .R(r), .S(s), .Q(q));
    initial begin #5 s = 0; #5 $write("%b ", q); s = 1; r = 0; #5 $write("%b ", q);
    c = 1; #5 $write("%b ", q); r = 1; c = 0; #5 c = 1; #5 $write("%b ", q); end"""
    assert evaluate(osu018().cells["DFFSR"], tmp_path, bench) == ["1", "0", "0", "1"]


def test_cell_without_function():
    library = Library(TOY.replace('function : "(!(A B))";', ""))
    with pytest.raises(MixditError, match="Cell NAND2X1 has no function for pin Y"):
        cell_model(library.cells["NAND2X1"])
