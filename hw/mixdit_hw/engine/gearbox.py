"""Bus words in, slices of stored blocks out: a shift register that is filled where it ends."""

from math import gcd

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.sharing import Shared


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
        """Say what each granule holds next: itself or one further back, or one of the word."""
        m = Module()
        parts = self._word // self._granule
        taken, left = Signal.like(self.level), Signal.like(self.level)
        shifts = {0: ~self.take}
        for number, size in enumerate(self._takes):
            chosen = Signal(name=f"take_{size}")
            m.d.comb += chosen.eq(self.take & (self.size == number))
            shifts[size // self._granule] = chosen
            with m.If(chosen):
                m.d.comb += taken.eq(size // self._granule)
        m.d.comb += left.eq(Mux(self.clear, 0, self.level - taken))
        m.d.sync += self.level.eq(left + Mux(self.put, parts, 0))
        stays, lands = Signal(len(shifts) * self._most), Signal(self._most)
        m.d.comb += [
            stays.eq(
                Cat(
                    (left > place) & chosen
                    for place in range(self._most)
                    for chosen in shifts.values()
                )
            ),
            lands.eq(Cat(self.put & (left == place) for place in range(self._most))),
        ]
        fronts = []
        for n in range(self._granule):
            lane = Shared(GearboxLane(self._most, parts, tuple(shifts)))
            m.submodules[f"lane_{n}"] = lane
            data = [self.data.word_select(part * self._granule + n, 8) for part in range(parts)]
            m.d.comb += [lane.data.eq(Cat(data)), lane.stays.eq(stays), lane.lands.eq(lands)]
            fronts.append(lane.held)
        most = max(self._takes) // self._granule
        m.d.comb += self.front.eq(
            Cat(front.word_select(place, 8) for place in range(most) for front in fronts)
        )
        return m


class GearboxLane(wiring.Component):
    """One byte of every granule of a gearbox. What is behind the level is cleared in each cycle.

    Members
    -------
    data : bits
        Its bytes of a word.
    stays : bits, one for each shift at each place
        The place takes the byte so much further back.
    lands : bits
        The word begins at this place.
    held : bits
        Its byte of each place.
    """

    def __init__(self, places: int, parts: int, shifts: tuple[int, ...]) -> None:
        self._places, self._parts, self._shifts = places, parts, shifts
        super().__init__(
            {
                "data": In(8 * parts),
                "stays": In(len(shifts) * places),
                "lands": In(places),
                "held": Out(8 * places),
            }
        )

    @property
    def module_name(self) -> str:
        """Name that encodes all parameters."""
        shifts = "_".join(map(str, self._shifts))
        return f"gearbox_lane_{self._places}_{self._parts}_{shifts}"

    def elaborate(self, platform: object) -> Module:
        """Choose what each place holds next; it needs no reset."""
        m = Module()
        held = Signal(8 * self._places, reset_less=True)
        following = [Const(0, 8)] * self._places
        for place in range(self._places):
            for i, shift in enumerate(self._shifts):
                if place + shift < self._places:
                    old = held.word_select(place + shift, 8)
                    following[place] |= Mux(self.stays[place * len(self._shifts) + i], old, 0)
            for part in range(self._parts):
                if landing(place, part) < self._places:
                    new = self.data.word_select(part, 8)
                    following[landing(place, part)] |= Mux(self.lands[place], new, 0)
        m.d.sync += held.eq(Cat(following))
        m.d.comb += self.held.eq(held)
        return m


def landing(place: int, part: int) -> int:
    """Return the granule in which a part of a word lands that is put at a place."""
    return place + part
