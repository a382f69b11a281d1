"""Reads a counterexample's values from the trace that smtbmc writes."""

from pathlib import Path

from vcd.reader import TokenKind, tokenize

STEP_TIME = 10
"""Time of a cycle in smtbmc's traces."""


def read_trace(path: Path, top: str) -> dict[str, list[int]]:
    """Return the value in each cycle of each named signal of the top module; undefined bits are 0.

    Copies of a name, which a submodule's ports make, are left out.
    """
    scope: list[str] = []
    names: dict[str, str] = {}
    now: dict[str, int] = {}
    rows: list[dict[str, int]] = []
    with path.open("rb") as file:
        for token in tokenize(file):
            if token.kind is TokenKind.SCOPE:
                scope.append(token.scope.ident)
            elif token.kind is TokenKind.UPSCOPE:
                scope.pop()
            elif token.kind is TokenKind.VAR and scope == [top] and "$" not in token.var.reference:
                names.setdefault(token.var.id_code, token.var.reference)
            elif token.kind is TokenKind.CHANGE_TIME and token.data % STEP_TIME == 0 and now:
                rows.append(dict(now))
            elif token.kind in (TokenKind.CHANGE_SCALAR, TokenKind.CHANGE_VECTOR):
                change = token.data
                if change.id_code in names:
                    now[names[change.id_code]] = _number(change.value)
    return {name: [row.get(name, 0) for row in rows] for name in sorted(now)}


def _number(value: int | str) -> int:
    return (
        value if isinstance(value, int) else int("".join(c if c == "1" else "0" for c in value), 2)
    )
