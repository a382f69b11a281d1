"""What a command runs through: from memory by way of buffers and array back to memory."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect

from mixdit_hw.array.array import MatrixArray
from mixdit_hw.engine.axi import axi_master
from mixdit_hw.engine.buffer import OperandBuffer
from mixdit_hw.engine.command import command_layout
from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.feed import Feed
from mixdit_hw.engine.fifo import Fifo, Slot
from mixdit_hw.engine.load_walker import LoadWalker
from mixdit_hw.engine.loader import Loader
from mixdit_hw.engine.output_buffer import OutputBuffer
from mixdit_hw.engine.quantize import Quantizer, group_layout
from mixdit_hw.engine.reader import Destination, Reader, request_layout, word_layout
from mixdit_hw.engine.source import Origin, Source
from mixdit_hw.engine.store import Packer, StoreWalker
from mixdit_hw.engine.writer import Writer, write_layout
from mixdit_hw.epilogue.epilogue import Epilogue
from mixdit_hw.pe.fp32 import STATE
from mixdit_hw.sharing import Shared
from mixdit_sw.engine.commands import Output

TILES_ON_WAY = 4
"""Tiles that have begun to leave the output buffer, but not ended to."""
TAG_SETS = 2
"""Commands whose tags wait for the store."""
LOAD_WORDS = 16
"""Bus words that wait for the loader, so that it and the bus need not pause together."""


class Core(wiring.Component):
    """Everything but controller and registers. Reset, it forgets all work.

    Members
    -------
    commands : stream of command_layout
        Checked commands, for all walkers at once.
    request, words : streams
        The controller's way to the reader, which has precedence.
    halt : 1
        Begin nothing on the bus, drop what comes.
    quiet, bus_idle : 1
        Nothing is being worked on; nothing is on the bus.
    read_error, write_error, format_error, length_error : 1
        With read_address, write_address and load_address, in bus words.
    beat, waits, drain_waits, store_waits, tile_end : 1
        The array takes a beat; has none to take; has one, but its drain is busy; but there is no
        room for the tile's results; has taken a tile's last.
    converts : 1
        The tile that leaves is stored as an operand.
    nan_blocks : int
        NaN blocks that are loaded in this cycle.
    axi_<n>
        Ports to memory.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        port = axi_master(config.address_bits, config.port_bytes)
        errors = [f"{name}_error" for name in ("read", "write", "format", "length")]
        events = ["beat", "waits", "drain_waits", "store_waits", "tile_end", "converts"]
        addresses = [f"{name}_address" for name in ("read", "write", "load")]
        super().__init__(
            {
                "commands": In(stream.Signature(command_layout(config))),
                "request": In(stream.Signature(request_layout(config))),
                "words": Out(stream.Signature(word_layout(config))),
                "halt": In(1),
                **{name: Out(1) for name in ["quiet", "bus_idle", *errors, *events]},
                **{name: Out(config.beat_bits) for name in addresses},
                "nan_blocks": Out(range(max(config.heights) + 1)),
                **{f"axi_{n}": Out(port) for n in range(config.ports)},
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Reader, operand path, array, result path, writer."""
        m = Module()
        config = self._config
        m.submodules.reader = reader = Reader(config)
        m.submodules.loader = loader = Loader(config)
        m.submodules.load_walker = load_walker = LoadWalker(config)
        m.submodules.feed = feed = Feed(config)
        m.submodules.array = array = MatrixArray(config.array)
        m.submodules.output = output = OutputBuffer(config)
        m.submodules.store_walker = store_walker = StoreWalker(config)
        m.submodules.packer = packer = Packer(config)
        m.submodules.quantizer = quantizer = Quantizer(config)
        m.submodules.writer = writer = Writer(config)
        waiting = self._hand_out(m, load_walker, feed, store_walker)
        for name, height in zip("ab", config.heights, strict=True):
            self._buffer(m, name, height, loader, feed)
        self._compute(m, feed, array, output)
        m.submodules.memory_source = source = Source(config)
        finished, extra = self._finish(m, output)
        self._read(m, reader, load_walker, loader, source, store_walker, extra)
        ways = {
            Origin.ARRAY: finished,
            Origin.MEMORY: source.words,
            Origin.TURNED: source.turned,
        }
        if not config.transposes:
            del ways[Origin.TURNED]
        on_way = self._store(m, output, ways, store_walker, packer, quantizer, writer)
        self._ports(m, reader, writer)
        m.d.comb += [
            self.bus_idle.eq(reader.idle & writer.idle),
            self.quiet.eq(
                load_walker.command.ready
                & feed.command.ready
                & store_walker.command.ready
                & ~waiting
                & ~on_way
                & self.bus_idle
            ),
            reader.stop.eq(self.halt),
            writer.stop.eq(self.halt),
            self.read_error.eq(reader.error),
            self.read_address.eq(reader.o.payload.address),
            self.write_error.eq(writer.error),
            self.write_address.eq(writer.error_address),
            self.format_error.eq(loader.bad_format | store_walker.bad_format),
            self.length_error.eq(loader.bad_length),
            # Tags of results may be bad before anything is loaded.
            self.load_address.eq(
                Mux(store_walker.bad_format, store_walker.tags_address, loader.address)
            ),
            self.nan_blocks.eq(loader.nan_blocks),
        ]
        return m

    def _hand_out(
        self, m: Module, load_walker: LoadWalker, feed: Feed, store_walker: StoreWalker
    ) -> Value:
        """Give each command to all walkers at once, conversions not to the feed.

        Returns whether one waits for a walker.
        """
        shape = command_layout(self._config)
        slots = []
        for name, walker in (("feed", feed), ("store", store_walker)):
            slot = Slot(shape)
            m.submodules[f"{name}_slot"] = slot
            connect(m, slot.o, walker.command)
            slots.append(slot)
        takers = [load_walker.command, *(slot.i for slot in slots)]
        hand_on = Signal()
        m.d.comb += [
            self.commands.ready.eq(Cat(taker.ready for taker in takers).all()),
            hand_on.eq(self.commands.valid & self.commands.ready),
        ]
        for taker in takers:
            m.d.comb += [taker.valid.eq(hand_on), taker.payload.eq(self.commands.payload)]
        m.d.comb += slots[0].i.valid.eq(hand_on & ~self.commands.payload.is_convert)
        return Cat(slot.o.valid for slot in slots).any()

    def _read(
        self,
        m: Module,
        reader: Reader,
        load_walker: LoadWalker,
        loader: Loader,
        source: Source,
        store_walker: StoreWalker,
        extra: Fifo | None,
    ) -> None:
        """Commands before operands in what is asked for; what comes goes where it belongs."""
        mine, theirs = self.request, load_walker.request
        with m.If(mine.valid):
            m.d.comb += [reader.request.valid.eq(1), reader.request.payload.eq(mine.payload)]
        with m.Else():
            m.d.comb += [
                reader.request.valid.eq(theirs.valid),
                reader.request.payload.eq(theirs.payload),
            ]
        m.d.comb += [
            mine.ready.eq(reader.request.ready),
            theirs.ready.eq(reader.request.ready & ~mine.valid),
            self.words.payload.eq(reader.o.payload),
        ]
        m.submodules.loads = loads = Fifo(word_layout(self._config), LOAD_WORDS)
        is_source = loads.o.payload.target.destination == Destination.SOURCE
        m.d.comb += [
            loads.i.payload.eq(reader.o.payload),
            loader.i.valid.eq(loads.o.valid & ~is_source),
            loader.i.payload.eq(loads.o.payload),
            source.i.valid.eq(loads.o.valid & is_source),
            source.i.payload.eq(loads.o.payload),
            loads.o.ready.eq(Mux(is_source, source.i.ready, loader.i.ready)),
            load_walker.table.payload.eq(reader.o.payload.data),
            load_walker.table_ends.eq(load_walker.table.valid & reader.o.payload.last),
        ]
        ways = [
            (Destination.COMMAND, self.words),
            (Destination.A, loads.i),
            (Destination.B, loads.i),
            (Destination.SOURCE, loads.i),
            (Destination.TABLE, load_walker.table),
        ]
        m.submodules.tags = tags = Fifo(len(store_walker.tags.payload), TAG_SETS)
        connect(m, tags.o, store_walker.tags)
        m.d.comb += tags.i.payload.eq(reader.o.payload.data)
        ways.append((Destination.TAGS, tags.i))
        if extra is not None:
            m.d.comb += extra.i.payload.eq(reader.o.payload.data)
            ways.append((Destination.EXTRA, extra.i))
        with m.Switch(reader.o.payload.target.destination):
            for destination, stream_ in ways:
                with m.Case(destination):
                    m.d.comb += [
                        stream_.valid.eq(reader.o.valid),
                        reader.o.ready.eq(stream_.ready),
                    ]

    def _buffer(self, m: Module, name: str, height: int, loader: Loader, feed: Feed) -> None:
        """Put an operand buffer between loader and feed."""
        m.submodules[f"buffer_{name}"] = buffer = Shared(OperandBuffer(height, self._config.words))
        writes, reads = getattr(loader, name), getattr(feed, name)
        m.d.comb += [
            buffer.write.eq(writes.write),
            buffer.word.eq(writes.word),
            writes.space.eq(buffer.space),
            reads.written.eq(buffer.written),
            reads.data.eq(buffer.data),
            *(
                getattr(buffer, member).eq(getattr(reads, member))
                for member in ("read", "at", "release", "until")
            ),
        ]

    def _compute(self, m: Module, feed: Feed, array: MatrixArray, output: OutputBuffer) -> None:
        """Feed the array; catch its results; say why it does not take a beat."""
        connect(m, feed.o, array.i)
        rows, cols = self._config.array.cluster_grid
        for r in range(rows):
            for c in range(cols):
                came, to = getattr(array, f"o_{r}_{c}"), getattr(output, f"i_{r}_{c}")
                m.d.comb += [to.valid.eq(came.valid), to.payload.eq(came.payload)]
        kept = feed.o.valid & ~feed.o.ready
        m.d.comb += [
            array.drain_ready.eq(output.drain_ready),
            output.tile_end.eq(feed.tile_end),
            self.tile_end.eq(feed.tile_end),
            self.beat.eq(feed.o.valid & feed.o.ready),
            self.waits.eq(feed.waits),
            self.drain_waits.eq(kept & output.drain_ready),
            self.store_waits.eq(kept & ~output.drain_ready),
        ]

    def _finish(self, m: Module, output: OutputBuffer) -> tuple[wiring.PureInterface, Fifo | None]:
        """Put the epilogue, if there is one, behind the output; return results and its queue."""
        config = self._config
        words = stream.Signature(data.ArrayLayout(STATE, config.shape.lanes)).create()
        if not config.steps:
            m.d.comb += [
                words.valid.eq(output.o.valid),
                words.payload.eq(output.o.payload.words),
                output.o.ready.eq(words.ready),
            ]
            return words, None
        m.submodules.extra = extra = Fifo(8 * config.bus_bytes, config.extra_words)
        m.submodules.epilogue = epilogue = Epilogue(config.epilogue)
        connect(m, output.o, epilogue.i)
        m.d.comb += [
            words.valid.eq(epilogue.o.valid),
            words.payload.eq(epilogue.o.payload),
            epilogue.o.ready.eq(words.ready),
            epilogue.extra.valid.eq(extra.o.valid),
            epilogue.extra.payload.as_value().eq(extra.o.payload),
            extra.o.ready.eq(epilogue.extra.ready),
        ]
        return words, extra

    def _store(
        self,
        m: Module,
        output: OutputBuffer,
        ways: dict[int, wiring.PureInterface],
        store_walker: StoreWalker,
        packer: Packer,
        quantizer: Quantizer,
        writer: Writer,
    ) -> Value:
        """Send each complete tile on its way; return whether one is on it."""
        config, tile = self._config, store_walker.tile
        kind = data.StructLayout({"output": 2, "origin": 2, "group": group_layout(config)})
        m.submodules.kinds = kinds = Fifo(kind, TILES_ON_WAY)
        m.submodules.writes = writes = Fifo(write_layout(config), TILES_ON_WAY)
        leaves, is_operand, on_way, is_computed = Signal(), Signal(), Signal(), Signal()
        finished = stream.Signature(data.ArrayLayout(STATE, config.shape.lanes)).create()
        with m.Switch(kinds.o.payload.origin):
            for origin, way in ways.items():
                with m.Case(origin):
                    m.d.comb += [
                        finished.valid.eq(way.valid & kinds.o.valid),
                        finished.payload.eq(way.payload),
                        way.ready.eq(finished.ready & kinds.o.valid),
                    ]
        m.d.comb += [
            is_computed.eq(tile.payload.origin == Origin.ARRAY),
            leaves.eq(
                (output.complete | ~is_computed) & tile.valid & kinds.i.ready & writes.i.ready
            ),
            tile.ready.eq(leaves),
            output.take.eq(leaves & is_computed),
            output.steps.eq(tile.payload.steps),
            kinds.i.valid.eq(leaves),
            kinds.i.payload.output.eq(tile.payload.output),
            kinds.i.payload.origin.eq(tile.payload.origin),
            kinds.i.payload.group.eq(tile.payload.group),
            writes.i.valid.eq(leaves & tile.payload.stored),
            writes.i.payload.eq(tile.payload.write),
            on_way.eq(~kinds.empty | ~writes.empty),
            is_operand.eq(kinds.o.payload.output == Output.OPERAND),
            self.converts.eq(kinds.o.valid & is_operand),
            packer.narrow.valid.eq(kinds.o.valid & ~is_operand),
            packer.narrow.payload.eq(kinds.o.payload.output == Output.BF16),
            quantizer.tile.valid.eq(kinds.o.valid & is_operand),
            quantizer.tile.payload.eq(kinds.o.payload.group),
            kinds.o.ready.eq(Mux(is_operand, quantizer.tile.ready, packer.narrow.ready)),
            packer.i.valid.eq(finished.valid & ~is_operand),
            packer.i.payload.eq(finished.payload),
            quantizer.i.valid.eq(finished.valid & is_operand),
            quantizer.i.payload.eq(finished.payload),
            finished.ready.eq(Mux(is_operand, quantizer.i.ready, packer.i.ready)),
            writer.i.valid.eq(Mux(writer.source, quantizer.o.valid, packer.o.valid)),
            writer.i.payload.eq(Mux(writer.source, quantizer.o.payload, packer.o.payload)),
            packer.o.ready.eq(writer.i.ready & ~writer.source),
            quantizer.o.ready.eq(writer.i.ready & writer.source),
        ]
        connect(m, writes.o, writer.request)
        return on_way

    def _ports(self, m: Module, reader: Reader, writer: Writer) -> None:
        """Join the read channels of the one and the write channels of the other."""
        for n in range(self._config.ports):
            port = getattr(self, f"axi_{n}")
            for name, member in port.signature.members.items():
                unit = reader if name[0] == "r" or name[:2] == "ar" else writer
                inner = getattr(getattr(unit, f"axi_{n}"), name)
                outer = getattr(port, name)
                is_out = member.flow is Out
                m.d.comb += outer.eq(inner) if is_out else inner.eq(outer)
