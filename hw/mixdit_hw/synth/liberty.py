"""Cells of a Liberty file: functions, capacitances and energies."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from mixdit_sw.errors import MixditError

_TOKEN = re.compile(r'"[^"]*"|[{}():;,]|[^\s{}():;,"]+')
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*|\\\n", re.S)
_LOAD = "total_output_net_capacitance"


@dataclass
class Group:
    """A group of a Liberty file.

    Attributes
    ----------
    kind, arguments
        As in `kind (arguments) { ... }`.
    attributes
        Values of simple attributes; lists of arguments of complex ones.
    groups
        Groups inside.
    """

    kind: str
    arguments: list[str]
    attributes: dict[str, list[str]] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)

    def all(self, *kinds: str) -> list[Group]:
        """Groups of some kinds, directly inside."""
        return [group for group in self.groups if group.kind in kinds]

    def text(self, name: str, default: str = "") -> str:
        """Value of an attribute."""
        return self.attributes.get(name, [default])[0]

    def number(self, name: str, default: float = 0.0) -> float:
        """Value of an attribute, as a number."""
        return float(self.text(name, str(default)))


@dataclass(frozen=True)
class Table:
    """Energy of a transition over load and slew; either axis may have a single value.

    Attributes
    ----------
    loads, slews
        Axes, in the library's units.
    values
        A row for each load.
    """

    loads: tuple[float, ...]
    slews: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]

    def at(self, load: float, slew: float) -> float:
        """Interpolate; beyond an axis its last value holds."""
        (i, u), (j, v) = _place(self.loads, load), _place(self.slews, slew)
        rows = self.values[i], self.values[min(i + 1, len(self.values) - 1)]
        low, high = ((1 - v) * row[j] + v * row[min(j + 1, len(row) - 1)] for row in rows)
        return (1 - u) * low + u * high


@dataclass(frozen=True)
class Energy:
    """Internal energy of a pin's transitions.

    Attributes
    ----------
    related
        Input pin whose slew counts: the pin itself for energies of an input.
    rise, fall
        Tables.
    """

    related: str
    rise: Table
    fall: Table


@dataclass(frozen=True)
class Pin:
    """A pin of a cell.

    Attributes
    ----------
    name, is_output
        Which one.
    capacitance
        Mean of rise and fall, in the library's unit.
    function
        Boolean function of an output, in Liberty's notation.
    energies
        Internal energies; more than one where they depend on the pin that causes a transition.
    """

    name: str
    is_output: bool
    capacitance: float
    function: str
    energies: tuple[Energy, ...]


@dataclass(frozen=True)
class Cell:
    """A cell.

    Attributes
    ----------
    name, pins
        Which one.
    leakage_nw
        Leakage power.
    storage
        Its `ff` or `latch` group, if it has one.
    """

    name: str
    pins: dict[str, Pin]
    leakage_nw: float
    storage: Group | None


class Library:
    """A Liberty file, as far as simulation and power need it.

    Raises
    ------
    MixditError
        If it is not in the units that are understood: ns, pF, V.
    """

    def __init__(self, text: str) -> None:
        self._root = parse(text)
        units = [re.sub(r'[\s"]', "", self._root.text(n)) for n in ("time_unit", "voltage_unit")]
        capacitance = "".join(self._root.attributes.get("capacitive_load_unit", [])).lower()
        if [u.lower() for u in units] != ["1ns", "1v"] or not re.fullmatch(
            r"1(\.0*)?pf", capacitance
        ):
            raise MixditError("Power needs a Liberty file in units of 1 ns, 1 V and 1 pF")

    @property
    def voltage(self) -> float:
        """Nominal supply, in V."""
        return self._root.number("nom_voltage")

    @cached_property
    def cells(self) -> dict[str, Cell]:
        """Cells by name."""
        unit = {"1nw": 1.0, "1pw": 1e-3, "1uw": 1e3}[
            self._root.text("leakage_power_unit", "1nW").lower()
        ]
        axes = {
            template.arguments[0]: (template.text("variable_1"), template.text("variable_2"))
            for template in self._root.all("power_lut_template", "lu_table_template")
        }
        return {cell.arguments[0]: _cell(cell, axes, unit) for cell in self._root.all("cell")}


@lru_cache(maxsize=4)
def read_library(text: str) -> Library:
    """Read a Liberty file's text."""
    return Library(text)


def parse(text: str) -> Group:
    """Parse a Liberty file's text into its outermost group."""
    tokens = iter(_TOKEN.findall(_COMMENT.sub(" ", text)))
    root = Group("", [])
    stack, words = [root], []
    for token in tokens:
        if token == "{":
            kind, *arguments = words
            group = Group(kind, [word.strip('"') for word in arguments])
            stack[-1].groups.append(group)
            stack.append(group)
            words = []
        elif token in ";}":
            if words:
                name, *values = words
                stack[-1].attributes[name] = [value.strip('"') for value in values]
            words = []
            if token == "}":
                stack.pop()
        elif token not in "():,":
            words.append(token)
    return root.groups[0]


def verilog_expression(function: str) -> str:
    """Turn a Liberty function into a Verilog expression: `(!((A B)+C))` to `(~((A&B)|C))`."""
    tokens = re.findall(r"[A-Za-z_]\w*(?:\[\d+\])?|[01]|[!'*&+|^()]", function)
    out: list[str] = []
    for token in tokens:
        starts = re.match(r"[\w(!]", token)
        if out and starts and re.match(r"[\w)]", out[-1][-1]):
            out.append("&")  # two operands side by side
        if token == "'":
            out.insert(_operand_start(out), "~")
        else:
            out.append({"!": "~", "*": "&", "+": "|"}.get(token, token))
    return "".join(out)


def _operand_start(out: list[str]) -> int:
    """Index of the first token of the operand that `out` ends with."""
    depth = 0
    for i in range(len(out) - 1, -1, -1):
        depth += (out[i] == ")") - (out[i] == "(")
        if depth == 0:
            return i
    return 0


def _cell(group: Group, axes: dict[str, tuple[str, str]], leakage_unit: float) -> Cell:
    storage = [*group.all("ff"), *group.all("latch"), None][0]
    pins = {pin.arguments[0]: _pin(pin, axes) for pin in group.all("pin")}
    name = group.arguments[0]
    return Cell(name, pins, group.number("cell_leakage_power") * leakage_unit, storage)


def _pin(group: Group, axes: dict[str, tuple[str, str]]) -> Pin:
    name = group.arguments[0]
    single = group.number("capacitance")
    sides = [group.number(f"{side}_capacitance", single) for side in ("rise", "fall")]
    energies = []
    for power in group.all("internal_power"):
        tables = {
            table.kind: _table(table, axes.get(table.arguments[0], ("", "")))
            for table in power.all("rise_power", "fall_power", "power")
        }
        both = tables.get("power")
        rise, fall = tables.get("rise_power", both), tables.get("fall_power", both)
        if rise and fall:
            energies.append(Energy(power.text("related_pin", name), rise, fall))
    return Pin(
        name=name,
        is_output=group.text("direction") == "output",
        capacitance=sum(sides) / 2,
        function=group.text("function"),
        energies=tuple(energies),
    )


def _table(group: Group, axes: tuple[str, str]) -> Table:
    """Read a table, loads first whatever the order of its template."""
    first, second = (
        _numbers(group.attributes.get(name, [])) or (0.0,) for name in ("index_1", "index_2")
    )
    flat = _numbers(group.attributes["values"])
    rows = tuple(tuple(flat[i * len(second) : (i + 1) * len(second)]) for i in range(len(first)))
    if axes[0] == _LOAD:
        return Table(first, second, rows)
    return Table(second, first, tuple(zip(*rows, strict=True)))


def _numbers(texts: list[str]) -> tuple[float, ...]:
    return tuple(float(x) for text in texts for x in re.split(r"[\s,]+", text.strip()) if x)


def _place(axis: tuple[float, ...], x: float) -> tuple[int, float]:
    """Index of the axis value below x, and the share of the way to the next one."""
    if len(axis) == 1 or x <= axis[0]:
        return 0, 0.0
    if x >= axis[-1]:
        return len(axis) - 1, 0.0
    i = bisect_right(axis, x) - 1
    return i, (x - axis[i]) / (axis[i + 1] - axis[i])
