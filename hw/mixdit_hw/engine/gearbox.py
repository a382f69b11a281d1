"""Bus words in, slices of stored blocks out: a shift register that is filled where it ends."""

from math import gcd

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


def granule(word_bytes: int, takes: tuple[int, ...]) -> int:
    """Return the bytes in which a gearbox counts: the largest divisor of its word and its takes."""
    return gcd(word_bytes, *takes)


class Gearbox(wiring.Component):
    """Holds bytes between a bus and its user, who takes them in a few known sizes.

    Everything is counted in granules of `granule` bytes.
    A cycle may take and put; what is put comes behind what is left.

    Members
    -------
    put, data : 1, word
        Put a word in. Only while fewer granules than a largest take are left.
    take, size : 1, number of one of `takes`
        Take as many granules from the front.
    clear : 1
        Drop what is left; what is put comes first.
    level : int
        Granules inside.
    front : bits
        The first bytes, as many as the largest take.
    """

    def __init__(self, word_bytes: int, takes: tuple[int, ...]) -> None:
        self._word, self._takes = word_bytes, takes
        self._granule = granule(word_bytes, takes)
        self._most = max(takes) // self._granule - 1 + word_bytes // self._granule
        super().__init__(
            {
                "put": In(1),
                "data": In(8 * word_bytes),
                "take": In(1),
                "size": In(range(max(len(takes), 2))),
                "clear": In(1),
                "level": Out(range(self._most + 1)),
                "front": Out(8 * max(takes)),
            }
        )

    @property
    def module_name(self) -> str:
        """Name that encodes all parameters."""
        return f"gearbox_{self._word}_{'_'.join(map(str, self._takes))}"

    def elaborate(self, platform: object) -> Module:
        """Choose what each granule holds next: itself or one further back, or one of the word.

        What lies behind the level is cleared with every step, so it needs no reset.
        """
        m = Module()
        unit, parts = 8 * self._granule, self._word // self._granule
        held = Signal(unit * self._most, reset_less=True)
        taken, left = Signal.like(self.level), Signal.like(self.level)
        m.d.comb += self.front.eq(held)
        shifts = {0: ~self.take}
        for number, size in enumerate(self._takes):
            chosen = Signal(name=f"take_{size}")
            m.d.comb += chosen.eq(self.take & (self.size == number))
            shifts[size // self._granule] = chosen
            with m.If(chosen):
                m.d.comb += taken.eq(size // self._granule)
        m.d.comb += left.eq(Mux(self.clear, 0, self.level - taken))
        stays, lands = Signal(self._most), Signal(self._most)
        m.d.comb += [
            stays.eq(Cat(left > place for place in range(self._most))),
            lands.eq(Cat(self.put & (left == place) for place in range(self._most))),
        ]
        following = [Const(0, unit)] * self._most
        for place in range(self._most):
            for shift, chosen in shifts.items():
                if place + shift < self._most:
                    old = held.word_select(place + shift, unit)
                    following[place] |= Mux(stays[place] & chosen, old, 0)
            for part in range(parts):
                if landing(place, part) < self._most:
                    new = self.data.word_select(part, unit)
                    following[landing(place, part)] |= Mux(lands[place], new, 0)
        m.d.sync += [
            held.eq(Cat(following)),
            self.level.eq(left + Mux(self.put, parts, 0)),
        ]
        return m


def landing(place: int, part: int) -> int:
    """Return the granule in which a part of a word lands that is put at a place."""
    return place + part
