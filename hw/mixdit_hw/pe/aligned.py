"""The `aligned<f>` accumulator (docs/numerics.md): a significand in a stepped window."""

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.pe.adder import add
from mixdit_sw.gemm.kinds import Aligned


def state_layout(kind: Aligned, exponent_bits: int) -> data.StructLayout:
    """Layout of the state: significand s, window exponent X + 1 in steps, NaN flag.

    `exponent_bits` is the width of a product's exponent; X needs a guard bit, since the window may
    rise above the highest block, and counts steps of `kind.step_bits`.
    """
    step_log2 = kind.step_bits.bit_length() - 1
    return data.StructLayout(
        {
            "significand": signed(kind.significand_bits),
            "window": signed(weight_bits(exponent_bits) - step_log2),
            "nan": 1,
        }
    )


def weight_bits(exponent_bits: int) -> int:
    """Width of the exponent of a significand's least bit, q * X."""
    return exponent_bits + 1


def prepared_layout(kind: Aligned, block_bits: int, exponent_bits: int) -> data.StructLayout:
    """Layout of a prepared block: D * 2**(y mod q + q), floor(y / q), validity."""
    step_log2 = kind.step_bits.bit_length() - 1
    return data.StructLayout(
        {
            "shifted": signed(block_bits + 2 * kind.step_bits - 1),
            "window": signed(exponent_bits - step_log2),
            "used": 1,
            "nan": 1,
            "first": 1,
        }
    )


class AlignedPrepare(wiring.Component):
    """The part of a step that does not depend on the state. Combinational.

    Members
    -------
    block : signed(block_bits)
        The block's exact integer D.
    exponent : signed(exponent_bits)
        Its weight, y.
    valid, first, nan : 1
        There is a block; it starts a new sum; it is NaN.
    prepared : prepared_layout
        For the step.
    """

    def __init__(self, kind: Aligned, block_bits: int, exponent_bits: int) -> None:
        self._step_bits = kind.step_bits
        super().__init__(
            {
                "block": In(signed(block_bits)),
                "exponent": In(signed(exponent_bits)),
                "valid": In(1),
                "first": In(1),
                "nan": In(1),
                "prepared": Out(prepared_layout(kind, block_bits, exponent_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Split the exponent, shift by its low part."""
        m = Module()
        fine_bits = self._step_bits.bit_length() - 1
        m.d.comb += [
            self.prepared.shifted.eq(self.block << self.exponent[:fine_bits] << self._step_bits),
            self.prepared.window.eq(self.exponent[fine_bits:].as_signed()),
            self.prepared.used.eq(self.valid & self.block.any()),
            self.prepared.nan.eq(self.nan & self.valid),
            self.prepared.first.eq(self.first & self.valid),
        ]
        return m


class AlignedStep(wiring.Component):
    """state, prepared block -> next state. Combinational.

    Where D = 0 or there is no block, the value of the state is kept and moved as far up its window
    as it goes: the rule gives the same results from either form.

    Members
    -------
    state, next : state_layout
        Accumulator before and after.
    prepared : prepared_layout
        The block.
    """

    def __init__(self, kind: Aligned, block_bits: int, exponent_bits: int) -> None:
        self._kind = kind
        self.module_name = f"step_{kind}_d{block_bits}_e{exponent_bits}"
        super().__init__(
            {
                "state": In(state_layout(kind, exponent_bits)),
                "prepared": In(prepared_layout(kind, block_bits, exponent_bits)),
                "next": Out(state_layout(kind, exponent_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Find the two shifts, apply them, add."""
        m = Module()
        f, q = self._kind.significand_bits, self._kind.step_bits
        s, block = self.state.significand, self.prepared
        rise = Signal(signed(len(self.state.window) + 1))
        m.d.comb += rise.eq(self.state.window - block.window)
        fits = Signal((f - 2) // q + 2)
        m.d.comb += [fits[k].eq(_all_alike(s[f - 2 - q * k :])) for k in range(1, len(fits) - 1)]
        # Without a block nothing moves right.
        m.d.comb += fits[0].eq(_all_alike(s[f - 2 :]) | ~block.used)
        empty = Signal()
        m.d.comb += empty.eq(block.first | ~s.any())

        moves = self._moves(m, rise, fits, empty)
        drops = self._drops(m, rise, fits, empty)
        kept, added = Signal(signed(f)), Signal(signed(f))
        kept_half, added_half = Signal(), Signal()
        cut = Signal()
        m.d.comb += [
            Cat(kept_half, kept).eq(_select(moves, s, q, f)),
            Cat(added_half, added).eq(_select(drops, block.shifted, q, f)),
            cut.eq(block.used & ~drops[0]),
        ]
        lowest = Signal.like(self.state.window, name="lowest")
        m.d.comb += [
            lowest.eq(self.state.window - _lift(fits)),
            self.next.significand.eq(add(m, kept, added, added_half | (kept_half & ~cut))),
            self.next.window.eq(Mux(drops[0], block.window, lowest)),
            self.next.nan.eq((self.state.nan & ~block.first) | block.nan),
        ]
        return m

    def _moves(self, m: Module, rise: Signal, fits: Signal, empty: Signal) -> dict[int, Signal]:
        """Return one-hot selects of the significand's move: min(n, rise) steps to the left."""
        top = len(fits) - 2
        bottom = (self._kind.significand_bits - 1) // self._kind.step_bits
        reach = {k: Signal(name=f"reach_{k + bottom}") for k in range(-bottom, top + 1)}
        for k in reach:
            above = ~self.prepared.used | (rise >= k)
            m.d.comb += reach[k].eq(above & fits[k] if k >= 0 else above)
        moves = {k: Signal(name=f"move_{k + bottom}") for k in reach}
        for k in moves:
            stop = reach[k + 1] if k < top else Const(0, 1)
            m.d.comb += moves[k].eq(reach[k] & ~stop & ~empty)
        return moves

    def _drops(self, m: Module, rise: Signal, fits: Signal, empty: Signal) -> dict[int, Signal]:
        """Return one-hot selects of the block's move: min(0, n - rise); none when all is lost."""
        q, top, used = self._kind.step_bits, len(fits) - 2, self.prepared.used
        count = (len(self.prepared.shifted) - 1) // q
        left = [Const(1, 1), *(fits[k] for k in range(top + 1)), Const(0, 1)]
        exact = {k: left[k + 1] & ~left[k + 2] for k in range(-1, top + 1)}
        drops = {-j: Signal(name=f"drop_{j}") for j in range(count + 1)}
        within = Cat(exact[k] & (rise <= k) for k in exact).any()
        m.d.comb += drops[0].eq(used & (empty | within))
        for j in range(1, count + 1):
            equal = Cat(exact[k] & (rise == k + j) for k in exact).any()
            m.d.comb += drops[-j].eq(used & ~empty & equal)
        return drops


def _lift(fits: Signal) -> Value:
    """Return n, the steps that the significand can move left; -1 where it must move right."""
    shape = Shape.cast(range(-1, len(fits)))
    n = Const(-1, shape)
    for k in range(len(fits) - 1):
        n = Mux(fits[k], Const(k, shape), n)
    return n


def _all_alike(bits: Value) -> Value:
    return bits.all() | ~bits.any()


def _select(moves: dict[int, Signal], x: Value, q: int, f: int) -> Value:
    """Return the f bits, and below them the first bit cut off, of x moved by the selected steps."""
    total = Const(0, f + 1)
    for k, selected in moves.items():
        total = total | (_move(x, q * k, f + 1) & selected.replicate(f + 1))
    return total


def _move(x: Value, up: int, width: int) -> Value:
    """Return `width` bits of x * 2 * 2**up, with x's sign above where it has fewer."""
    up += 1
    bits = Cat(Const(0, up), x) if up >= 0 else x[min(-up, len(x) - 1) :]
    return Cat(bits, x[-1].replicate(max(0, width - len(bits))))[:width]
