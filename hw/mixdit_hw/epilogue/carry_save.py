"""Product of two unsigned numbers as two numbers to be added: a tree of carry-save adders."""

from amaranth.hdl import Module, Mux, Signal, Value


def partial_products(a: Value, b: Value) -> list[Value]:
    """Return the rows whose sum is a * b: a at each weight of b, or 0."""
    return [Mux(bit, a, 0) << weight for weight, bit in enumerate(b)]


def compress(m: Module, rows: list[Value], width: int) -> tuple[Value, Value]:
    """Return two numbers of `width` bits whose sum is that of the rows, modulo 2**width."""
    level = 0
    while len(rows) > 2:
        whole = len(rows) // 3 * 3
        reduced = []
        for k in range(0, whole, 3):
            reduced += _add_three(m, *rows[k : k + 3], width, f"{level}_{k}")
        rows, level = reduced + rows[whole:], level + 1
    return rows[0], rows[1]


def _add_three(m: Module, x: Value, y: Value, z: Value, width: int, name: str) -> list[Value]:
    """Return the sum and the carries of a full adder for each bit."""
    total = Signal(width, name=f"sum_{name}")
    carries = Signal(width, name=f"carries_{name}")
    m.d.comb += [
        total.eq(x ^ y ^ z),
        carries.eq(((x & y) | (z & (x ^ y))) << 1),
    ]
    return [total, carries]
