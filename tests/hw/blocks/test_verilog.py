"""The units as Verilog: every tool reads it without a warning."""

import pytest

from mixdit_hw.blocks.converter import MxConverter
from mixdit_hw.blocks.transpose import Transpose
from mixdit_hw.blocks.unpacker import Unpacker
from mixdit_hw.emit import write_verilog
from mixdit_hw.lint import lint
from mixdit_sw.formats import MX4, MX6, MX9

UNITS = {
    "converter": lambda: MxConverter((MX9, MX6, MX4)),
    "converter_of_one_format": lambda: MxConverter((MX6,)),
    "unpacker": lambda: Unpacker((MX9, MX6, MX4)),
    "transpose": Transpose,
}


@pytest.mark.parametrize("name", UNITS)
def test_every_tool_reads_it(name, tmp_path):
    write_verilog(UNITS[name](), name, tmp_path, {})
    found = lint(tmp_path / f"{name}.v")
    assert {"verilator", "yosys"} <= set(found)
    assert not any(found.values()), found
