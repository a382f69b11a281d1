import pytest

from mixdit_hw.synth import targets
from mixdit_hw.synth.targets import find_target
from mixdit_sw.errors import MixditError

LIBERTY = """library (toy) {
  cell (INV_X4) { area : 2.0; }
  cell (INV_X1) { area : 0.5; }
  cell ("NAND2_X2") { area : 1.5; }
  cell (NAND2_X1) { /* smallest */ area : 0.75; }
  cell (NAND20) { area : 0.1; }
}
"""


def test_liberty_file(tmp_path):
    file = tmp_path / "toy.lib"
    file.write_text(LIBERTY)
    target = find_target(str(file))
    assert (target.kind, target.nand2_area, target.driver_cell) == ("liberty", 0.75, "INV_X4")


def test_liberty_without_nand2(tmp_path):
    file = tmp_path / "toy.lib"
    file.write_text("library (toy) { cell (INV) { area : 1; } }")
    with pytest.raises(MixditError, match="no cell named like NAND2"):
        find_target(str(file))


def test_unknown_target():
    with pytest.raises(MixditError, match="'gf180' is none of generic, xc7, .*, nor a Liberty"):
        find_target("gf180")


def test_target_that_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.setattr(targets, "QFLOW", str(tmp_path / "{name}.lib"))
    with pytest.raises(MixditError, match="osu018 is not installed: install .*qflow-tech-osu018`"):
        find_target("osu018")


@pytest.mark.parametrize(("name", "kind"), [("generic", "generic"), ("ice40", "fpga")])
def test_targets_without_library(name, kind):
    target = find_target(name)
    assert (target.kind, target.liberty) == (kind, None)
