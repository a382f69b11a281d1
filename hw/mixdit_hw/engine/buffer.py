"""Operand buffer: a ring of digit words, written by the loader, read and released by the feed."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from mixdit_hw.packet import PACKET
from mixdit_sw.formats import MAX_DIGITS


def word_layout(height: int) -> data.StructLayout:
    """Layout of a word: a digit of one K-block of a tile's rows.

    `digits` is the number of the block's words, `last` marks those of a tile's last block.
    """
    return data.StructLayout(
        {
            "packets": data.ArrayLayout(PACKET, height),
            "digits": range(MAX_DIGITS + 1),
            "last": 1,
        }
    )


def place_layout(depth: int) -> data.StructLayout:
    """Layout of a place in a ring: its address, and a running count that tells laps apart."""
    return data.StructLayout({"address": range(depth), "count": depth.bit_length() + 1})


class OperandBuffer(wiring.Component):
    """Memory with one write and one read port, and the places up to which it is in use.

    Members
    -------
    write : 1, with `word`
        Append a word; only while `space`.
    space : 1
        There is room for a word.
    written : place
        Behind the last word.
    read, at : 1, place
        Read the word at a place; it is at `data` from the next cycle on.
    release, until : 1, place
        Words before this place are not needed any more.
    """

    def __init__(self, height: int, depth: int) -> None:
        self._height, self._depth = height, depth
        place = place_layout(depth)
        super().__init__(
            {
                "write": In(1),
                "word": In(word_layout(height)),
                "space": Out(1),
                "written": Out(place),
                "read": In(1),
                "at": In(place),
                "data": Out(word_layout(height)),
                "release": In(1),
                "until": In(place),
            }
        )

    @property
    def module_name(self) -> str:
        """Name that encodes all parameters."""
        return f"operand_buffer_{self._height}_{self._depth}"

    def elaborate(self, platform: object) -> Module:
        """Keep the places."""
        m = Module()
        memory = Memory(shape=word_layout(self._height), depth=self._depth, init=[])
        m.submodules.memory = memory
        to, fro = memory.write_port(), memory.read_port()
        freed = Signal.like(self.written.count)
        used = Signal.like(self.written.count)
        m.d.comb += [
            to.en.eq(self.write),
            to.addr.eq(self.written.address),
            to.data.eq(self.word),
            fro.en.eq(self.read),
            fro.addr.eq(self.at.address),
            self.data.eq(fro.data),
            used.eq(self.written.count - freed),
            self.space.eq(used < self._depth),
        ]
        with m.If(self.write):
            m.d.sync += [
                self.written.count.eq(self.written.count + 1),
                self.written.address.eq(
                    Mux(self.written.address == self._depth - 1, 0, self.written.address + 1)
                ),
            ]
        with m.If(self.release):
            m.d.sync += freed.eq(self.until.count)
        return m
