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
        """Shift by what is taken; or the new word in at the end."""
        m = Module()
        unit = 8 * self._granule
        held = Signal(unit * self._most)
        taken, left = Signal.like(self.level), Signal.like(self.level)
        rest, put = Signal(len(held)), Signal(len(held))
        m.d.comb += [rest.eq(held), self.front.eq(held)]
        with m.If(self.take), m.Switch(self.size):
            for number, size in enumerate(self._takes):
                with m.Case(number):
                    granules = size // self._granule
                    m.d.comb += [rest.eq(held[unit * granules :]), taken.eq(granules)]
        m.d.comb += left.eq(Mux(self.clear, 0, self.level - taken))
        with m.Switch(left):
            for place in range(self._most - self._word // self._granule + 1):
                with m.Case(place):
                    m.d.comb += put.eq(Cat(Const(0, unit * place), self.data))
        m.d.sync += [
            held.eq(Mux(self.clear, 0, rest) | Mux(self.put, put, 0)),
            self.level.eq(left + Mux(self.put, self._word // self._granule, 0)),
        ]
        return m
