"""The `aligned<f>` accumulator (docs/numerics.md): a significand in a stepped window."""

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.pe.adder import add
from mixdit_sw.gemm.kinds import GUARDED_BITS, Aligned


def state_layout(kind: Aligned, exponent_bits: int) -> data.StructLayout:
    """Layout of the state: significand s, window exponent X + g // q in steps, NaN flag.

    `exponent_bits` is the width of a product's exponent; X needs a guard bit, since the window may
    rise above the highest block, and counts steps of `kind.step_bits`.
    """
    return data.StructLayout(
        {
            "significand": signed(kind.significand_bits),
            "window": signed(weight_bits(exponent_bits) - _step_log2(kind)),
            "nan": 1,
        }
    )


def weight_bits(exponent_bits: int) -> int:
    """Width of the exponent of a significand's least bit, q * X."""
    return exponent_bits + 1


def exponent_offset(kind: Aligned) -> int:
    """What is subtracted from a block's exponent before it comes here, so that whole steps remain.

    It is g mod q; the rest of the guard bits g is in the offset of the windows.
    """
    return kind.guard_bits % kind.step_bits


def prepared_layout(kind: Aligned, block_bits: int, exponent_bits: int) -> data.StructLayout:
    """Layout of a prepared block: D', its window Y + l + g // q, its lift l, flags.

    Bit i of `lift` says that l is above its least value by more than i.
    """
    return data.StructLayout(
        {
            "shifted": signed(kind.significand_bits - 1),
            "window": signed(exponent_bits - _step_log2(kind)),
            "lift": kind.max_lift + kind.wide_steps(block_bits),
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
        Its weight y, less `exponent_offset`.
    valid, first, nan : 1
        There is a block; it starts a new sum; it is NaN.
    prepared : prepared_layout
        For the step.
    """

    def __init__(self, kind: Aligned, block_bits: int, exponent_bits: int) -> None:
        self._kind = kind
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
        """Split the exponent; shift by its low part, by the guard bits and by the block's lift."""
        m = Module()
        kind, q = self._kind, self._kind.step_bits
        least = -kind.wide_steps(len(self.block))
        fine_bits = _step_log2(kind)
        lift = self.prepared.lift
        for i in range(len(lift)):
            kept = min(GUARDED_BITS - 1 - q * (least + i + 1), len(self.block) - 1)
            m.d.comb += lift[i].eq(_all_alike(self.block[kept:]))
        fine = Signal(signed(len(self.block) + q - 1))
        m.d.comb += fine.eq(self.block << self.exponent[:fine_bits])
        shifted = fine << (kind.guard_bits + q * least)
        for i in range(len(lift)):
            shifted = Mux(lift[i], fine << (kind.guard_bits + q * (least + i + 1)), shifted)
        m.d.comb += [
            self.prepared.shifted.eq(shifted),
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
        self._least_lift = -kind.wide_steps(block_bits)
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
        fits = Signal((f - 2) // q + 2)
        m.d.comb += [fits[k].eq(_all_alike(s[f - 2 - q * k :])) for k in range(1, len(fits) - 1)]
        # Without a block nothing moves right.
        m.d.comb += fits[0].eq(_all_alike(s[f - 2 :]) | ~block.used)
        empty = Signal()
        m.d.comb += empty.eq(block.first | ~s.any())

        rises = self._rises(m, len(fits) - 2)
        moves = self._moves(m, rises, fits, empty)
        drops = self._drops(m, rises, fits, empty)
        kept, added = Signal(signed(f)), Signal(signed(f))
        kept_half, added_half = Signal(), Signal()
        cut = Signal()
        m.d.comb += [
            Cat(kept_half, kept).eq(_select(moves, s, q, f)),
            Cat(added_half, added).eq(_select(drops, block.shifted, q, f)),
            cut.eq(block.used & ~drops[0]),
        ]
        lowest, lifted = (Signal.like(self.state.window, name=n) for n in ("lowest", "lifted"))
        m.d.comb += [
            lowest.eq(self.state.window - _room(fits)),
            lifted.eq(block.window - self._least_lift - sum(block.lift)),
            self.next.significand.eq(
                add(m, kept, added, added_half | (kept_half & ~cut), platform)
            ),
            self.next.window.eq(Mux(drops[0], lifted, lowest)),
            self.next.nan.eq((self.state.nan & ~block.first) | block.nan),
        ]
        return m

    def _rises(self, m: Module, top: int) -> dict[int, Signal]:
        """Return whether X - Y is at least k, for all k that matter."""
        rise = Signal(signed(len(self.state.window) + 1))
        m.d.comb += rise.eq(self.state.window - self.prepared.window)
        lift, least = self.prepared.lift, self._least_lift
        bottom = self._max_fall
        ks = range(-bottom, top + self._max_drop + 2)
        # X - Y is the difference plus the lift, which is known later: compare first.
        above = {
            k: Signal(name=f"above_{i}") for i, k in enumerate(range(ks[0] - len(lift), ks[-1] + 1))
        }
        m.d.comb += [above[k].eq(rise >= k - least) for k in above]
        rises = {k: Signal(name=f"rise_{k + bottom}") for k in ks}
        for k in rises:
            lifted = (lift[i] & above[k - i - 1] for i in range(len(lift)))
            m.d.comb += rises[k].eq(above[k] | Cat(lifted).any())
        return rises

    @property
    def _max_fall(self) -> int:
        """Steps by which the significand can move right before all of it is lost."""
        return (self._kind.significand_bits - 1) // self._kind.step_bits

    @property
    def _max_drop(self) -> int:
        """Steps by which a block can move right before all of it is lost."""
        return (len(self.prepared.shifted) - 1) // self._kind.step_bits

    def _moves(
        self, m: Module, rises: dict[int, Signal], fits: Signal, empty: Signal
    ) -> dict[int, Signal]:
        """Return one-hot selects of the significand's move: min(n, X - Y) steps to the left."""
        top = len(fits) - 2
        bottom = self._max_fall
        reach = {k: Signal(name=f"reach_{k + bottom}") for k in range(-bottom, top + 1)}
        for k in reach:
            above = ~self.prepared.used | rises[k]
            m.d.comb += reach[k].eq(above & fits[k] if k >= 0 else above)
        moves = {k: Signal(name=f"move_{k + bottom}") for k in reach}
        for k in moves:
            stop = reach[k + 1] if k < top else Const(0, 1)
            m.d.comb += moves[k].eq(reach[k] & ~stop & ~empty)
        return moves

    def _drops(
        self, m: Module, rises: dict[int, Signal], fits: Signal, empty: Signal
    ) -> dict[int, Signal]:
        """Return one-hot selects of the block's move: min(0, n - X + Y); none when all is lost."""
        top, used = len(fits) - 2, self.prepared.used
        left = [Const(1, 1), *(fits[k] for k in range(top + 1)), Const(0, 1)]
        room = {k: left[k + 1] & ~left[k + 2] for k in range(-1, top + 1)}
        beyond = {j: Signal(name=f"beyond_{j}") for j in range(1, self._max_drop + 2)}
        for j in beyond:
            m.d.comb += beyond[j].eq(Cat(room[k] & rises[k + j] for k in room).any() & ~empty)
        drops = {-j: Signal(name=f"drop_{j}") for j in range(self._max_drop + 1)}
        m.d.comb += drops[0].eq(used & ~beyond[1])
        for j in range(1, len(drops)):
            m.d.comb += drops[-j].eq(used & beyond[j] & ~beyond[j + 1])
        return drops


def _step_log2(kind: Aligned) -> int:
    return kind.step_bits.bit_length() - 1


def _room(fits: Signal) -> Value:
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
