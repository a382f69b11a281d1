"""A unit's area shared out among its parts, by what its gates compute."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .liberty import parse
from .targets import GENERIC_GE, Target

_INSTANCE = re.compile(r"^  (\\\S+|[A-Za-z$]\w*) +(\\\S+|\w+) +\(\n(.*?)\n  \);", re.S | re.M)
_PIN = re.compile(r"\.(\\\S+|\w+) ?\((.*?)\)(?:,\n|$)", re.S)
_NET = re.compile(r"\\\S+(?: ?\[\d+\])?|[A-Za-z_$][\w$]*(?: ?\[\d+\])?")
_ASSIGN = re.compile(r"^  assign (.*?) = (.*?);", re.M)
_COMMENT = re.compile(r"/\*.*?\*/")
GENERIC_OUTPUTS = frozenset({"Y", "Q"})


@dataclass(frozen=True)
class Rule:
    """Which gates are a part's.

    Attributes
    ----------
    part
        Its name.
    into
        Names of registers or pins of units inside: they and all gates whose values end in them.
    only_from
        Names of inputs: gates whose values depend on nothing else.
    """

    part: str
    into: str | None = None
    only_from: str | None = None


@dataclass
class _Gate:
    cell: str
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)


def shared_out(netlist: str, target: Target, rules: Sequence[Rule], rest: str) -> dict[str, float]:
    """Share the area of a unit's netlist out, in the target's unit.

    Each gate belongs to the first part whose rule it fits, or to the rest. Registers and the units
    inside end a path.

    Parameters
    ----------
    netlist
        Verilog of the mapped unit.
    target
        What it is mapped to, with areas.
    rules
        Parts.
    rest
        Name of what is left.
    """
    areas, outputs, held = _library(target)
    gates = _gates(netlist, outputs)
    drivers = {net: gate for gate in gates for net in gate.outputs}
    owner: dict[int, str] = {}
    for rule in rules:
        if rule.into is not None:
            found = _cone(gates, drivers, held, areas, rule.into)
        else:
            found = _depending_only(gates, drivers, held, rule.only_from or "")
        for gate in found:
            owner.setdefault(id(gate), rule.part)
    shares = dict.fromkeys([*(rule.part for rule in rules), rest], 0.0)
    for gate in gates:
        shares[owner.get(id(gate), rest)] += areas.get(gate.cell, 0.0)
    return shares


def _library(target: Target) -> tuple[dict[str, float], dict[str, frozenset[str]], set[str]]:
    """Area and output pins of each cell, and which cells are registers."""
    if target.liberty is None:
        outputs = dict.fromkeys(GENERIC_GE, GENERIC_OUTPUTS)
        return dict(GENERIC_GE), outputs, {name for name in GENERIC_GE if "DFF" in name}
    areas, outputs, held = {}, {}, set()
    for cell in parse(target.liberty).all("cell"):
        name = cell.arguments[0]
        areas[name] = cell.number("area")
        outputs[name] = frozenset(
            pin.arguments[0] for pin in cell.all("pin") if pin.text("direction") == "output"
        )
        if cell.all("ff", "latch"):
            held.add(name)
    return areas, outputs, held


def _gates(netlist: str, outputs: dict[str, frozenset[str]]) -> list[_Gate]:
    """Read a netlist's instances; of units inside, all pins are inputs and are called by them."""
    gates = []
    netlist = _COMMENT.sub("", netlist)
    for cell, name, pins in _INSTANCE.findall(netlist):
        gate = _Gate(cell.lstrip("\\"))
        for pin, value in _PIN.findall(pins):
            nets = [_plain(net) for net in _NET.findall(value)]
            if gate.cell not in outputs:
                gate.inputs += nets
                gate.outputs.append(f"{name}/{pin}".replace("\\", ""))
            elif pin in outputs[gate.cell]:
                gate.outputs += nets
            else:
                gate.inputs += nets
        gates.append(gate)
    for left, right in _ASSIGN.findall(netlist):
        gates.append(_Gate("", [_plain(right)], [_plain(left)]))
    return gates


def _plain(net: str) -> str:
    return net.replace("\\", "").replace(" ", "")


def _cone(
    gates: list[_Gate],
    drivers: dict[str, _Gate],
    held: set[str],
    areas: dict[str, float],
    pattern: str,
) -> Iterable[_Gate]:
    """Registers (or units inside) of these names, and the gates before them."""
    matches = re.compile(pattern).match
    ends = [
        gate
        for gate in gates
        if (gate.cell in held or gate.cell not in areas and gate.cell)
        and any(matches(net) for net in gate.outputs)
    ]
    found = {id(gate): gate for gate in ends}
    stack = list(ends)
    while stack:
        for net in stack.pop().inputs:
            gate = drivers.get(net)
            inside = gate is not None and gate.cell not in held
            if inside and (gate.cell in areas or not gate.cell) and id(gate) not in found:
                found[id(gate)] = gate
                stack.append(gate)
    return found.values()


def _depending_only(
    gates: list[_Gate],
    drivers: dict[str, _Gate],
    held: set[str],
    pattern: str,
) -> Iterable[_Gate]:
    """Gates that depend on nothing but inputs of these names, or on constants."""
    matches = re.compile(pattern).match
    users: dict[str, list[_Gate]] = defaultdict(list)
    others = []
    for gate in gates:
        for net in gate.inputs:
            users[net].append(gate)
            if net not in drivers and not matches(net):
                others.append(net)
        if gate.cell in held:
            others += gate.outputs
    touched: set[int] = set()
    while others:
        for gate in users[others.pop()]:
            if id(gate) not in touched:
                touched.add(id(gate))
                others += gate.outputs
    return [gate for gate in gates if id(gate) not in touched]
