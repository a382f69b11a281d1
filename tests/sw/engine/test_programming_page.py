"""The tables of docs/programming.md are those of the code."""

import re
from pathlib import Path

from mixdit_sw.engine.commands import FIELDS, STEPS, Error, Opcode, Output
from mixdit_sw.engine.registers import IDENTITY, VERSION, Control, Register, Status

PAGE = (Path(__file__).parents[3] / "docs" / "programming.md").read_text()


def table(first):
    """Return the cells of the rows of the table whose header begins so."""
    lines = PAGE[PAGE.index(f"| {first} |") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def numbered(text):
    """Return the names of "0 END, bit 1 START, ..." by number."""
    return {name: int(n) for n, name in re.findall(r"\b(\d+) (\w+)", text)}


def test_fields():
    rows = table("word")
    found = {name.strip("`"): tuple(map(int, place)) for *place, name, _ in rows}
    assert found == {name: tuple(field) for name, field in FIELDS.items()}
    assert [row[3].strip("`") for row in rows] == list(FIELDS)


def test_values_of_fields():
    meaning = {row[3].strip("`"): row[4] for row in table("word")}
    assert numbered(meaning["opcode"]) == {code.name: code.value for code in Opcode}
    assert numbered(meaning["output"]) == {code.name: code.value for code in Output}
    assert numbered(meaning["steps"]) == {name: i for i, name in enumerate(STEPS)}


def test_registers():
    rows = table("offset")
    found = {name: int(offset, 16) for offset, name, _ in rows}
    assert found == {register.name: register.value for register in Register}
    meaning = {row[1]: row[2] for row in rows}
    for register, flags in (("CONTROL", Control), ("STATUS", Status)):
        bits = re.findall(r"bit (\d) ([A-Z]+)", meaning[register])
        assert {name: 1 << int(bit) for bit, name in bits} == {f.name: f.value for f in flags}
    assert f"0x{IDENTITY:08X}" in meaning["IDENTITY"]
    assert f"0x{VERSION:08X}" in meaning["VERSION"]


def test_errors():
    assert {row[1]: int(row[0]) for row in table("code")} == {e.name: e.value for e in Error}
