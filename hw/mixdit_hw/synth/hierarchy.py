"""Verilog text cut into units: modules that are synthesized once each, however often used."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from mixdit_sw.errors import MixditError

_MODULE = re.compile(r"^[ \t]*module\s+(\\\S+\s|\w+)(.*?)^[ \t]*endmodule\b", re.S | re.M)
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/|\(\*\s.*?\*\)", re.S)
_MEMORY = re.compile(r"^[ \t]*reg\s*(?:\[(\d+):0\])?\s*(?:\\\S+|\w+)\s*\[(\d+):(\d+)\]", re.M)
_PORT = re.compile(r"^[ \t]*(?:input|output|inout)\b[^;]*;", re.M)
_INDEXED_NAME = re.compile(r"\\(\S*\[\S*) ")


@dataclass(frozen=True)
class Unit:
    """A module with everything that is flattened into it.

    Attributes
    ----------
    name
        Module name.
    source
        Verilog of the module and its parts, with empty shells for the units it uses.
    children
        How often it instantiates which other unit.
    """

    name: str
    source: str
    children: Counter[str]

    @property
    def largest_memory_bits(self) -> int:
        """Size of its largest memory, 0 if it has none."""
        return max(
            (
                (int(high or 0) + 1) * (abs(int(first) - int(last)) + 1)
                for high, first, last in _MEMORY.findall(self.source)
            ),
            default=0,
        )


def split_units(
    verilog: str, top: str, *, flatten: bool = False, open_top: bool = False
) -> list[Unit]:
    """Cut a design into units.

    Amaranth names a submodule `parent.child`; such modules are parts and are flattened into the
    unit that uses them. All other modules (the shared ones, and those of hand-written Verilog) are
    units, except those instantiated with parameters.

    Parameters
    ----------
    verilog
        Text of all modules.
    top
        Name of the top module.
    flatten
        Make one unit of everything.
    open_top
        Make units also of the top's own parts, however deep.

    Returns
    -------
    list of Unit
        Reachable units, the top first, every unit before those it uses.

    Raises
    ------
    MixditError
        If the top module is not in the text.
    """
    texts = _modules(verilog)
    if top not in texts:
        known = ", ".join(sorted(texts)[:8]) or "none"
        raise MixditError(f"Top module {top!r} is not in the Verilog; it has {known}")
    uses = {name: _instances(text, texts) for name, text in texts.items()}
    opened = f"{top}." if open_top else ""
    parts = {
        child
        for used in uses.values()
        for child, parametrized in used
        if flatten or parametrized or ("." in child and not (opened and child.startswith(opened)))
    } - {top}
    units: dict[str, Unit] = {}
    for name in _in_order(top, uses):
        if name not in parts:
            units[name] = _unit(name, texts, uses, parts)
    return list(units.values())


def instance_counts(units: list[Unit]) -> Counter[str]:
    """How often each unit occurs in the first one."""
    counts = Counter({units[0].name: 1})
    for unit in units:
        for child, number in unit.children.items():
            counts[child] += counts[unit.name] * number
    return counts


def without_indexed_names(verilog: str) -> str:
    """Rename what has brackets in its name.

    Amaranth calls element 0 of an array `a` also `a[0]`. Yosys's ABC9, which maps for FPGAs, takes
    that for bit 0 of `a` and fails.
    """
    return _INDEXED_NAME.sub(lambda m: "\\" + re.sub(r"[][]", "_", m[1]) + " ", verilog)


def _modules(verilog: str) -> dict[str, str]:
    verilog = _COMMENT.sub("", verilog)
    return {m[1].strip().lstrip("\\"): m[0].strip() + "\n" for m in _MODULE.finditer(verilog)}


def _instances(text: str, known: dict[str, str]) -> Counter[tuple[str, bool]]:
    """Count (module, with parameters) of the instances in a module."""
    body = text.split(";", 1)[1] if ";" in text else ""
    found: Counter[tuple[str, bool]] = Counter()
    for match in re.finditer(r"^[ \t]*(\\\S+|\w+)\s+(?:#|(?:\\\S+\s|\w+)\s*\()", body, re.M):
        name = match[1].lstrip("\\")
        if name in known:
            found[name, match[0].endswith("#")] += 1
    return found


def _in_order(top: str, uses: dict[str, Counter[tuple[str, bool]]]) -> list[str]:
    """Reachable modules, users before used."""
    done: list[str] = []

    def visit(name: str) -> None:
        if name not in done:
            for child, _ in uses[name]:
                visit(child)
            done.append(name)

    visit(top)
    return done[::-1]


def _unit(
    name: str,
    texts: dict[str, str],
    uses: dict[str, Counter[tuple[str, bool]]],
    parts: set[str],
) -> Unit:
    members: Counter[str] = Counter({name: 1})
    children: Counter[str] = Counter()
    inside = [m for m in _in_order(name, uses) if m == name or m in parts]
    for member in inside:
        for (child, _), number in uses[member].items():
            if child in parts:
                members[child] += members[member] * number
            else:
                children[child] += members[member] * number
    source = "".join(texts[m] for m in inside if members[m])
    shells = "".join(_shell(texts[child]) for child in sorted(children))
    return Unit(name, source + shells, children)


def _shell(text: str) -> str:
    """Ports of a module only."""
    header, body = text.split(";", 1)
    ports = "\n".join(_PORT.findall(body))
    return f"(* blackbox *)\n{header};\n{ports}\nendmodule\n"
