"""Rows of words in another order of channels, by a table (docs/converter.md)."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from mixdit_sw.formats import LANES

BANK_BITS = ceil_log2(LANES)


class Gather(wiring.Component):
    """Rows in their own order in, in the table's order out; 16 words a beat on both sides.

    Word i of a row lies in bank i mod 16, and two rows in memory, one filling while the other
    leaves. An output beat whose words lie in different banks takes a cycle; where banks collide,
    each serves one word a cycle: a beat takes as many cycles as the busiest bank has words of it.

    Members
    -------
    beats : range(1, max_beats + 1)
        Beats of a row, K / 16. It and the table change only while no row is inside.
    table : stream of {beat, indices}
        Which word of the row comes to each place of an output beat. Always ready.
    i, o : stream of 16 words
        Rows, and rows in the new order.
    """

    def __init__(self, max_beats: int, width: int = 32) -> None:
        self._max_beats, self._width = max_beats, width
        row = stream.Signature(data.ArrayLayout(width, LANES))
        indices = data.ArrayLayout(ceil_log2(max_beats) + BANK_BITS, LANES)
        entry = data.StructLayout({"beat": range(max_beats), "indices": indices})
        super().__init__(
            {
                "beats": In(range(max_beats + 1)),
                "table": In(stream.Signature(entry, always_ready=True)),
                "i": In(row),
                "o": Out(row),
            }
        )

    @property
    def module_name(self) -> str:
        """Name that encodes all parameters."""
        return f"gather_{self._max_beats}_{self._width}"

    def elaborate(self, platform: object) -> Module:
        """Fill; look the table up; serve what the banks can; collect a beat."""
        m = Module()
        self._advance = Signal()
        m.d.comb += self._advance.eq(~self.o.valid | self.o.ready)
        self._full = Signal(2)
        self._fills, self._empties = Signal(2), Signal(2)
        m.d.sync += self._full.eq((self._full & ~self._empties) | self._fills)
        write_at, filled = self._fill(m)
        asked, half, want, indices = self._ask(m)
        served, addresses = self._serve(m, asked, want, indices)
        banks = self._read(m, write_at, filled, addresses, half)
        self._collect(m, asked, served, want, indices, banks)
        return m

    def _fill(self, m: Module) -> tuple[Value, Signal]:
        """Count input beats; return where one goes and whether there is one.

        A half takes the next row in the cycle in which its last words are read.
        """
        beat, half, done, last = Signal(range(self._max_beats)), Signal(), Signal(), Signal()
        taken = self._full & ~self._empties
        m.d.comb += [
            self.i.ready.eq(~taken.bit_select(half, 1)),
            done.eq(self.i.valid & self.i.ready),
            last.eq(done & (beat == self.beats - 1)),
            self._fills.bit_select(half, 1).eq(last),
        ]
        with m.If(done):
            m.d.sync += [beat.eq(Mux(last, 0, beat + 1)), half.eq(half ^ last)]
        return Cat(beat, half), done

    def _ask(self, m: Module) -> tuple:
        """Walk through the table: return a beat's half, lanes still wanted, and indices.

        The table is read a beat ahead, while the banks serve the one before.
        """
        table = Memory(shape=self.table.payload.indices.shape(), depth=self._max_beats, init=[])
        m.submodules.table_memory = table
        to, fro = table.write_port(), table.read_port()
        m.d.comb += [
            to.addr.eq(self.table.payload.beat),
            to.data.eq(self.table.payload.indices),
            to.en.eq(self.table.valid),
        ]
        beat, half = Signal(range(self._max_beats)), Signal()
        self._rest = Signal(LANES)
        asked, of_half, want = Signal(), Signal(), Signal(LANES)
        take = Signal()
        m.d.comb += [
            take.eq(self._advance & (~asked | ~self._rest.any())),
            fro.addr.eq(beat),
            fro.en.eq(take),
        ]
        is_there, is_last, last = Signal(), Signal(), Signal()
        m.d.comb += [
            is_there.eq((self._full | self._fills).bit_select(half, 1)),
            is_last.eq(beat == self.beats - 1),
            self._empties.bit_select(of_half, 1).eq(
                self._advance & asked & last & ~self._rest.any()
            ),
        ]
        with m.If(take):
            m.d.sync += [
                asked.eq(is_there),
                of_half.eq(half),
                last.eq(is_last),
                want.eq(~Const(0, LANES)),
            ]
            with m.If(is_there):
                m.d.sync += [beat.eq(Mux(is_last, 0, beat + 1)), half.eq(half ^ is_last)]
        with m.Elif(self._advance):
            m.d.sync += want.eq(self._rest)
        return asked, of_half, want, [fro.data[lane] for lane in range(LANES)]

    def _serve(
        self, m: Module, asked: Signal, want: Signal, indices: list[Value]
    ) -> tuple[Signal, list[Value]]:
        """Give each bank the first lane that wants it; return the lanes served, bank addresses."""
        served = Signal(LANES)
        granted: list[list[Value]] = []
        addresses = []
        for n in range(LANES):
            wants = [want[lane] & (indices[lane][:BANK_BITS] == n) for lane in range(LANES)]
            first = Signal(LANES, name=f"first_{n}")
            m.d.comb += first.eq(_lowest(Cat(wants)))
            granted.append([first[lane] for lane in range(LANES)])
            address: Value = Const(0, len(indices[0]) - BANK_BITS)
            for lane in range(LANES):
                high = indices[lane][BANK_BITS:]
                address = address | (high & first[lane].replicate(len(high)))
            addresses.append(address)
        for lane in range(LANES):
            m.d.comb += served[lane].eq(Cat(bank[lane] for bank in granted).any())
        m.d.comb += self._rest.eq(Mux(asked, want & ~served, 0))
        return served, addresses

    def _read(
        self, m: Module, write_at: Value, filled: Signal, addresses: list[Value], half: Signal
    ) -> list[Value]:
        """Read the banks; return their words, a cycle later."""
        words = []
        for n in range(LANES):
            bank = Memory(shape=self._width, depth=2 << ceil_log2(self._max_beats), init=[])
            m.submodules[f"bank_{n}"] = bank
            to, fro = bank.write_port(), bank.read_port()
            m.d.comb += [
                to.addr.eq(write_at),
                to.data.eq(self.i.payload[n]),
                to.en.eq(filled),
                fro.addr.eq(Cat(addresses[n], half)),
                fro.en.eq(self._advance),
            ]
            words.append(fro.data)
        return words

    def _collect(
        self,
        m: Module,
        asked: Signal,
        served: Signal,
        want: Signal,
        indices: list[Value],
        banks: list[Value],
    ) -> None:
        """Put words from the banks in their lanes; a beat is there when none is missing."""
        coming, complete = Signal(LANES), Signal()
        from_bank = [Signal(BANK_BITS, name=f"from_bank_{lane}") for lane in range(LANES)]
        with m.If(self._advance):
            m.d.sync += [
                coming.eq(Mux(asked, served & want, 0)),
                complete.eq(asked & ~self._rest.any()),
                self.o.valid.eq(complete),
            ]
            for lane in range(LANES):
                m.d.sync += from_bank[lane].eq(indices[lane][:BANK_BITS])
                with m.If(coming[lane]):
                    word = Cat(banks).word_select(from_bank[lane], self._width)
                    m.d.sync += self.o.payload[lane].eq(word)


def _lowest(bits: Value) -> Value:
    """Return the lowest 1 of some bits alone."""
    return bits & (~bits + 1)
