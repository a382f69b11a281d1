"""The `aligned<f>` step equals its rule (docs/numerics.md), and its sum never overflows."""

from collections.abc import Callable, Iterable

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.formal.properties import assume, check, implies
from mixdit_hw.pe.aligned import AlignedPrepare, AlignedStep, exponent_offset, state_layout
from mixdit_sw.gemm.kinds import GUARDED_BITS, LIFT_BITS, Aligned


class AlignedProof(wiring.Component):
    """Prepare and step together, from any state whose window has not run away, for any block.

    Windows are stored `g // q` steps high and exponents `g mod q` low; the rule is in the terms of
    docs/numerics.md, so both offsets are put back here.

    Members
    -------
    state, next : state_layout
        Before and after.
    block, exponent, valid, first, nan
        A block as `AlignedPrepare` takes it.
    significand, window
        What the rule demands of `next`.
    """

    def __init__(self, kind: Aligned, block_bits: int, exponent_bits: int) -> None:
        self._kind = kind
        self._block_bits, self._exponent_bits = block_bits, exponent_bits
        layout = state_layout(kind, exponent_bits)
        super().__init__(
            {
                "state": In(layout),
                "block": In(signed(block_bits)),
                "exponent": In(signed(exponent_bits)),
                "valid": In(1),
                "first": In(1),
                "nan": In(1),
                "next": Out(layout),
                "significand": Out(signed(kind.significand_bits + 2)),
                "window": Out(signed(exponent_bits + 4)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Wire the units; state the properties."""
        m = Module()
        kind, parameters = self._kind, (self._kind, self._block_bits, self._exponent_bits)
        m.submodules.prepare = prepare = AlignedPrepare(*parameters)
        m.submodules.step = step = AlignedStep(*parameters)
        for name in ("block", "exponent", "valid", "first", "nan"):
            m.d.comb += getattr(prepare, name).eq(getattr(self, name))
        m.d.comb += [
            step.state.eq(self.state),
            step.prepared.eq(prepare.prepared),
            self.next.eq(step.next),
        ]
        f, q = kind.significand_bits, kind.step_bits
        top = (f - 2) // q
        highest = (1 << (self._exponent_bits - 1)) // q
        # An invariant: a window, as low as it can get, is at most `top` steps below all blocks.
        least = -highest - LIFT_BITS // q - top
        assume(m, self._is_low(self.state, least))
        # Windows may rise to the last that can be written but one; that takes more blocks than fit
        # in any tile, since a step up needs a sum 2**q times as large.
        assume(m, self.state.window < (1 << (len(self.state.window) - 1)) - 1)

        used = self.valid & (self.block != 0)
        s = Signal(signed(f), name="s")
        m.d.comb += s.eq(Mux(self.first & self.valid, 0, self.state.significand))
        self._rule(m, s)
        n = step.next
        check(m, "no_overflow", fits(self.significand, f))
        check(m, "sum_at_most", self.significand <= (1 << (f - 1)) - 2)
        check(m, "significand", implies(used, n.significand == self.significand))
        check(m, "window", implies(used, n.window == self.window))
        check(m, "invariant", self._is_low(n, least))
        check(
            m,
            "nan",
            n.nan == Mux(self.valid, self.nan | (self.state.nan & ~self.first), self.state.nan),
        )

        # Without a block the value stays: s * 2**(q * X), in whatever window.
        up = Signal(signed(len(self.state.window) + 1))
        m.d.comb += up.eq(self.state.window - n.window)
        same = any_of((up == k) & (n.significand == s << (q * k)) for k in range(top + 1))
        check(m, "value_stays", implies(~used, same | ((s == 0) & (n.significand == 0))))
        return m

    def _is_low(self, state: data.View, least: int) -> Value:
        s = state.significand
        return (s == 0) | (state.window - self._room(s) >= least)

    def _room(self, s: Value) -> Value:
        """Return n: the steps by which s can move left and leave a bit for a sum."""
        f, q = self._kind.significand_bits, self._kind.step_bits
        rooms = range(-1, (f - 2) // q + 1)
        return largest(rooms, lambda n: fits_scaled(s, q * n, 1 << (f - 2)))

    def _rule(self, m: Module, s: Value) -> None:
        """Write the rule for a block that is not 0, in wide integers."""
        kind, f, q = self._kind, self._kind.significand_bits, self._kind.step_bits
        g, offset = kind.guard_bits, exponent_offset(kind)
        d, limit = self.block, 1 << (GUARDED_BITS - 1)
        # exponent = y - g mod q, so y - g = q * steps + fine - q * (g // q); stored windows do
        # without the last term.
        fine_bits = q.bit_length() - 1
        assert offset == g % q
        fine, steps = self.exponent[:fine_bits], self.exponent[fine_bits:].as_signed()

        lifts = range(-kind.wide_steps(self._block_bits), LIFT_BITS // q + 1)
        lift = Signal(signed(8), name="lift")
        wide = Signal(signed(f + 1), name="wide_block")
        m.d.comb += lift.eq(largest(lifts, lambda n: fits_scaled(d, q * n, limit)))
        shifted = choose(lift, lifts, lambda n: scaled(d, g + q * n))
        m.d.comb += wide.eq(shifted << fine)
        y = Signal(signed(len(self.window)), name="y")
        m.d.comb += y.eq(steps - lift)
        check(m, "block_fits", fits(wide, f - 1))

        room = Signal(signed(8), name="room")
        low = Signal.like(y, name="low")
        window = Signal.like(y, name="to_window")
        m.d.comb += [
            room.eq(self._room(s)),
            low.eq(self.state.window - room),
            window.eq(Mux((s == 0) | (y > low), y, low)),
        ]
        up_s, up_d = (Signal.like(y, name=n) for n in ("up_s", "up_d"))
        m.d.comb += [
            up_s.eq(Mux(s == 0, 0, self.state.window - window)),
            up_d.eq(y - window),
        ]
        check(m, "block_never_moves_left", up_d <= 0)
        moves = range(-(f // q + 1), (f - 2) // q + 1)
        kept = Signal(signed(f + 1), name="kept")
        added = Signal(signed(f + 1), name="added")
        floored = up_d < 0
        m.d.comb += [
            kept.eq(
                choose(
                    clamp(up_s, moves),
                    moves,
                    lambda k: Mux(floored, floor(s, q * k), round_up(s, q * k)),
                )
            ),
            added.eq(choose(clamp(up_d, moves), moves, lambda k: round_up(wide, q * k))),
            self.significand.eq(kept + added),
            self.window.eq(window),
        ]


def fits(x: Value, bits: int) -> Value:
    """Return whether a signed integer fits so many bits."""
    return (x >= -(1 << (bits - 1))) & (x < (1 << (bits - 1)))


def fits_scaled(x: Value, up: int, limit: int) -> Value:
    """Return whether -limit <= x * 2**up < limit."""
    if up < 0:
        return (x >= -limit << -up) & (x < limit << -up)
    return (x << up >= -limit) & (x << up < limit)


def scaled(x: Value, up: int) -> Value:
    """Return x * 2**up, which is an integer wherever it is used."""
    return x << up if up >= 0 else x >> -up


def floor(x: Value, up: int) -> Value:
    """Return x * 2**up, floored."""
    return scaled(x, up)


def round_up(x: Value, up: int) -> Value:
    """Return x * 2**up, rounded half up."""
    return scaled(x, up) if up >= 0 else (x + (1 << (-up - 1))) >> -up


def largest(range_: range, holds: Callable[[int], Value]) -> Value:
    """Return the largest number for which a condition is true; the first of them if for none."""
    found: Value = Const(range_[0], signed(8))
    for n in range_[1:]:
        found = Mux(holds(n), Const(n, signed(8)), found)
    return found


def clamp(x: Value, range_: range) -> Value:
    """Return x, or the first number of the range if x is below it."""
    return Mux(x < range_[0], range_[0], x)


def choose(x: Value, range_: range, value: Callable[[int], Value]) -> Value:
    """Return value(x) for an x of the range; 0 for another."""
    result: Value = Const(0, 1)
    for n in range_:
        result = Mux(x == n, value(n), result)
    return result


def any_of(conditions: Iterable[Value]) -> Value:
    """Return whether one of them is true."""
    result: Value = Const(0, 1)
    for condition in conditions:
        result = result | condition
    return result
