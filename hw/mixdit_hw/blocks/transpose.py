"""Transposition of 16 x 16 tiles of words, for blocks along columns (docs/converter.md)."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from mixdit_sw.formats import LANES

HALVES = 2
"""Tiles in memory: one fills while the other leaves."""


class Transpose(wiring.Component):
    """Rows of a 16 x 16 tile in, its columns out: one a cycle on both sides, sustained.

    Word (r, c) lies in bank (r + c) mod 16 at address r, so that a row and a column each meet every
    bank once. A tile's first column can leave the cycle after its last row has come.

    Members
    -------
    i : stream of 16 words
        Rows 0..15 of a tile, then those of the next.
    o : stream of 16 words
        Columns 0..15 of a tile.
    """

    def __init__(self, width: int = 32) -> None:
        self._width = width
        row = stream.Signature(data.ArrayLayout(width, LANES))
        super().__init__({"i": In(row), "o": Out(row)})

    @property
    def module_name(self) -> str:
        """Name that encodes all parameters."""
        return f"transpose_{self._width}"

    def elaborate(self, platform: object) -> Module:
        """Write rows rotated by their number, read columns back along the diagonals."""
        m = Module()
        place = range(HALVES * LANES)
        write, read = Signal(place), Signal(place)
        full = Signal(HALVES)
        row, column = write[:-1], read[:-1]
        into, out_of = write[-1], read[-1]

        advance, issue, done = Signal(), Signal(), Signal()
        shown, is_shown = Signal(range(LANES)), Signal()
        m.d.comb += [
            self.i.ready.eq(~full.bit_select(into, 1)),
            done.eq(self.i.valid & self.i.ready),
            advance.eq(~is_shown | self.o.ready),
            issue.eq(full.bit_select(out_of, 1)),
            self.o.valid.eq(is_shown),
        ]
        with m.If(done):
            m.d.sync += write.eq(write + 1)
            with m.If(row == LANES - 1):
                m.d.sync += full.bit_select(into, 1).eq(1)
        with m.If(advance):
            m.d.sync += [is_shown.eq(issue), shown.eq(column)]
        with m.If(advance & issue):
            m.d.sync += read.eq(read + 1)
            with m.If(column == LANES - 1):
                m.d.sync += full.bit_select(out_of, 1).eq(0)

        rotated = _rotate_up(self.i.payload.as_value(), row, self._width)
        banks = []
        for n in range(LANES):
            bank = Memory(shape=self._width, depth=len(place), init=[])
            m.submodules[f"bank_{n}"] = bank
            to, fro = bank.write_port(), bank.read_port()
            diagonal = Signal(ceil_log2(LANES), name=f"diagonal_{n}")
            m.d.comb += [
                to.addr.eq(write),
                to.data.eq(rotated.word_select(n, self._width)),
                to.en.eq(done),
                diagonal.eq(n - column),
                fro.addr.eq(Cat(diagonal, out_of)),
                fro.en.eq(advance),
            ]
            banks.append(fro.data)
        back = Signal(ceil_log2(LANES))
        m.d.comb += back.eq(-shown)
        m.d.comb += self.o.payload.as_value().eq(_rotate_up(Cat(banks), back, self._width))
        return m


def _rotate_up(words: Value, places: Value, width: int) -> Value:
    """Return 16 words, the word at n moved to (n + places) mod 16."""
    for level in range(ceil_log2(LANES)):
        words = Mux(places[level], words.rotate_left(width << level), words)
    return words
