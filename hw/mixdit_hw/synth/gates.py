"""Verilog models of library cells, written out of the functions in their Liberty file."""

from __future__ import annotations

import re

from mixdit_sw.errors import MixditError

from .liberty import Cell, verilog_expression


def cell_model(cell: Cell) -> str:
    """Verilog module of a cell.

    Each output pin P has parameters `R_P` and `F_P`, its delays when it rises and falls. Storage
    starts at 0.

    Raises
    ------
    MixditError
        If an output has no function, or storage is of a kind that is not understood.
    """
    pins = cell.pins.values()
    inputs = [pin.name for pin in pins if not pin.is_output]
    outputs = [pin for pin in pins if pin.is_output]
    parameters = ", ".join(f"R_{p.name} = 1, F_{p.name} = 1" for p in outputs)
    lines = [
        f"module {cell.name} ({', '.join(p.name for p in pins)});",
        f"  parameter {parameters};",
        f"  input {', '.join(inputs)};",
        f"  output {', '.join(p.name for p in outputs)};",
    ]
    if cell.storage is not None:
        lines += _storage(cell)
    for pin in outputs:
        if not pin.function:
            raise MixditError(f"Cell {cell.name} has no function for pin {pin.name}")
        value = verilog_expression(pin.function)
        lines.append(f"  assign #(R_{pin.name}, F_{pin.name}) {pin.name} = {value};")
    return "\n".join([*lines, "endmodule", ""])


def _storage(cell: Cell) -> list[str]:
    """Registers of a flip-flop or latch, and what sets them."""
    group = cell.storage
    assert group is not None
    state, inverse = (group.arguments + [f"{group.arguments[0]}_n"])[:2]
    lines = [f"  reg {state} = 0;", f"  wire {inverse} = ~{state};"]
    if group.kind == "latch":
        data, enable = (verilog_expression(group.text(n)) for n in ("data_in", "enable"))
        if group.text("clear") or group.text("preset"):
            raise MixditError(f"Latch {cell.name} has a clear or a preset: it has no model")
        return [*lines, f"  always @* if ({enable}) {state} <= {data};"]
    clock = group.text("clocked_on").strip("() ")
    edge = "negedge" if clock.startswith("!") or clock.endswith("'") else "posedge"
    pin = re.sub(r"[!'() ]", "", clock)
    data = verilog_expression(group.text("next_state"))
    forces = [
        (verilog_expression(group.text(name)), value)
        for name, value in (("clear", "1'b0"), ("preset", "1'b1"))
        if group.text(name)
    ]
    if not forces:
        return [*lines, f"  always @({edge} {pin}) {state} <= {data};"]
    names = [f"force_{i}" for i in range(len(forces))]
    lines += [f"  wire {n} = {f};" for n, (f, _) in zip(names, forces, strict=True)]
    events = " or ".join([f"{edge} {pin}", *(f"posedge {n}" for n in names)])
    chain = "".join(
        f"if ({n}) {state} <= {value}; else " for n, (_, value) in zip(names, forces, strict=True)
    )
    return [*lines, f"  always @({events}) {chain}{state} <= {data};"]
