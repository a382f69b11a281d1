"""Transposition of square tiles of words, for blocks along columns (docs/converter.md)."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from mixdit_sw.formats import LANES

HALVES = 2
"""Tiles in memory: one fills while the other leaves."""


class Transpose(wiring.Component):
    """Rows of a tile in, one a cycle; its columns out, one or more a cycle; sustained.

    A bank holds every word whose place in its column is the same but for a turn: word (r, c) is at
    address c div `columns` of bank ((r + c div `columns`) mod `size`, c mod `columns`), so that a
    row, and the columns that leave together, each meet every bank at most once. A tile's first
    columns can leave the cycle after its last row has come.

    Parameters
    ----------
    size : int
        Rows and columns of a tile, a power of two.
    columns : int
        Columns that leave in a cycle; fewer than `size`, and a power of two.
    width : int
        Bits of a word.

    Members
    -------
    i : stream of size words
        Rows of a tile, then those of the next.
    o : stream of columns * size words
        Columns of a tile, the first in the lowest words.
    """

    def __init__(self, size: int = LANES, columns: int = 1, width: int = 32) -> None:
        self._size, self._columns, self._width = size, columns, width
        super().__init__(
            {
                "i": In(stream.Signature(data.ArrayLayout(width, size))),
                "o": Out(stream.Signature(data.ArrayLayout(width, size * columns))),
            }
        )

    @property
    def module_name(self) -> str:
        """Name that encodes all parameters."""
        return f"transpose_{self._size}_{self._columns}_{self._width}"

    def elaborate(self, platform: object) -> Module:
        """Write rows turned by their number; read an address of all banks, and turn it back."""
        m = Module()
        size, beats = self._size, self._size // self._columns
        row, beat = Signal(range(size)), Signal(range(beats))
        into, out_of, full = Signal(), Signal(), Signal(HALVES)
        advance, issue, put = Signal(), Signal(), Signal()
        shown = Signal(range(beats))
        m.d.comb += [
            self.i.ready.eq(~full.bit_select(into, 1)),
            put.eq(self.i.valid & self.i.ready),
            advance.eq(~self.o.valid | self.o.ready),
            issue.eq(full.bit_select(out_of, 1)),
        ]
        with m.If(put):
            m.d.sync += row.eq(row + 1)
            with m.If(row == size - 1):
                m.d.sync += [full.bit_select(into, 1).eq(1), into.eq(~into)]
        with m.If(advance):
            m.d.sync += [self.o.valid.eq(issue), shown.eq(beat)]
        with m.If(advance & issue):
            m.d.sync += beat.eq(beat + 1)
            with m.If(beat == beats - 1):
                m.d.sync += [full.bit_select(out_of, 1).eq(0), out_of.eq(~out_of)]

        word = self._columns * self._width
        came = Cat(self.i.payload.as_value(), Const(0, (size - beats) * word))
        turned = _rotate_up(m, "turned", came, row, word)
        banks = []
        for n in range(size):
            bank = Memory(shape=word, depth=HALVES * beats, init=[])
            m.submodules[f"bank_{n}"] = bank
            to, fro = bank.write_port(), bank.read_port()
            place = Signal(range(size), name=f"place_{n}")
            m.d.comb += [
                place.eq(n - row),
                to.addr.eq(Cat(place[: len(beat)], into)),
                to.data.eq(turned.word_select(n, word)),
                to.en.eq(put & (place < beats)),
                fro.addr.eq(Cat(beat, out_of)),
                fro.en.eq(advance),
            ]
            banks.append(fro.data)
        back = Signal(range(size))
        m.d.comb += back.eq(-shown)
        groups = _rotate_up(m, "groups", Cat(banks), back, word)
        for column in range(self._columns):
            for n in range(size):
                place_out = self.o.payload[column * size + n]
                part = groups[(n * self._columns + column) * self._width :]
                m.d.comb += place_out.eq(part[: self._width])
        return m


def _rotate_up(m: Module, name: str, words: Value, places: Value, width: int) -> Value:
    """Return words of so many bits, the word at n moved to n + places, modulo their number."""
    for level in range(ceil_log2(len(words) // width)):
        # A signal for each level: as one expression it would double with each.
        moved = Signal(len(words), name=f"{name}_{level}")
        m.d.comb += moved.eq(Mux(places[level], words.rotate_left(width << level), words))
        words = moved
    return words
