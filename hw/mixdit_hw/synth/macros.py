"""Memories that synthesis has left out, made of flip-flops at their pins for timing."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mixdit_sw.errors import MixditError

from .liberty import parse

_MACRO = re.compile(r"^  mixdit_memory #\((.*?)\n  \) ", re.S | re.M)
_VALUE = re.compile(r"\.(\w+)\(32'd(\d+)\)")
_PINS = ("RD_CLK", "RD_EN", "RD_ADDR", "RD_DATA", "WR_CLK", "WR_EN", "WR_ADDR", "WR_DATA")


@dataclass(frozen=True)
class FlipFlop:
    """A library's plain flip-flop for the rising edge: its name and pins."""

    cell: str
    data: str
    clock: str
    output: str


def find_flip_flop(liberty: str) -> FlipFlop:
    """Find the first plain flip-flop of a Liberty file.

    Raises
    ------
    MixditError
        If there is none.
    """
    for cell in parse(liberty).all("cell"):
        for storage in cell.all("ff"):
            data, clock = (storage.text(name).strip() for name in ("next_state", "clocked_on"))
            outputs = [
                pin.arguments[0]
                for pin in cell.all("pin")
                if pin.text("function").strip() == storage.arguments[0]
            ]
            plain = not storage.text("clear") and not storage.text("preset")
            if plain and outputs and data.isidentifier() and clock.isidentifier():
                return FlipFlop(cell.arguments[0], data, clock, outputs[0])
    raise MixditError("The Liberty file has no plain flip-flop for the rising edge")


def memories_of_flip_flops(netlist: str, liberty: str) -> str:
    """Replace memories by modules that have a flip-flop at each pin.

    Paths end at their inputs and begin at the data that they give, as at a register: the time of a
    memory's access is a flip-flop's. Of the write enables, which a netlist has for each bit, only
    a port's first is a load: a memory that is written as a whole has one.
    """
    kinds: dict[str, dict[str, int]] = {}

    def plain(match: re.Match[str]) -> str:
        sizes = {name: int(value) for name, value in _VALUE.findall(match[1])}
        ports = f"{sizes['RD_PORTS']}r{sizes['WR_PORTS']}w"
        name = f"mixdit_memory_{sizes['SIZE']}x{sizes['WIDTH']}_{ports}"
        kinds[name] = sizes
        return f"  {name} "

    netlist = _MACRO.sub(plain, netlist)
    if not kinds:
        return netlist
    flip_flop = find_flip_flop(liberty)
    return "".join([netlist, *(_module(name, kinds[name], flip_flop) for name in kinds)])


def _module(name: str, sizes: dict[str, int], flip_flop: FlipFlop) -> str:
    reads, writes, width = sizes["RD_PORTS"], sizes["WR_PORTS"], sizes["WIDTH"]
    counts = dict(
        zip(
            _PINS,
            (reads, reads, reads * sizes["ABITS"], reads * width)
            + (writes, writes * width, writes * sizes["ABITS"], writes * width),
            strict=True,
        )
    )
    lines = [f"module {name} ({', '.join(_PINS)});"]
    for pin, count in counts.items():
        direction = "output" if pin == "RD_DATA" else "input"
        lines.append(f"  {direction} [{count - 1}:0] {pin};")
    f = flip_flop
    for pin, count in counts.items():
        side = pin[:2]
        if pin.endswith("CLK"):
            continue
        for i in range(0, count, width if pin == "WR_EN" else 1):
            clock = f".{f.clock}({side}_CLK[{i * counts[f'{side}_CLK'] // count}])"
            end = f.output if pin == "RD_DATA" else f.data
            lines.append(f"  {f.cell} {pin}_{i} ({clock}, .{end}({pin}[{i}]));")
    return "\n".join([*lines, "endmodule", ""])
