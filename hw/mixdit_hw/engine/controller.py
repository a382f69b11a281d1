"""Fetches commands, checks them, hands them to the walkers, and ends lists, well or not."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.engine.command import command_layout
from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.reader import Destination, request_layout, word_layout
from mixdit_sw.engine.commands import (
    ADDRESSES,
    COMMAND_WORDS,
    FIELDS,
    STEPS,
    Error,
    Opcode,
    Output,
    command_bytes,
)

COMMAND_BITS = 32 * COMMAND_WORDS
WORKING = ("FETCH", "RECEIVE", "CHECK", "HAND_ON", "FINISH")
"""States in which trouble of any unit ends the list."""


class Controller(wiring.Component):
    """Runs command lists.

    The next command is fetched as soon as one is handed on, so that its words come before the
    operands of the one before. Any error stops the engine: what is on the bus is completed, results
    are dropped, everything but registers is reset.

    Members
    -------
    start, stop, clear : 1
        From the registers.
    list_address : int
        Bytes.
    request, words : streams
        To and from the reader.
    commands : stream of command_layout
        To all walkers at once.
    quiet : 1
        No command is being worked on, and all its results are in memory.
    bus_idle : 1
        Nothing is on the bus.
    read_error, write_error, format_error, length_error : 1
        Of the other units, at read_address, write_address and load_address (in bus words).
    halt : 1
        Begin nothing on the bus.
    reset : 1
        Reset everything else.
    running, done, failed : 1
    error, error_address : Error, bytes
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        address = In(config.beat_bits)
        super().__init__(
            {
                **{name: In(1) for name in ("start", "stop", "clear")},
                "list_address": In(64),
                "request": Out(stream.Signature(request_layout(config))),
                "words": In(stream.Signature(word_layout(config))),
                "commands": Out(stream.Signature(command_layout(config))),
                **{name: In(1) for name in ("quiet", "bus_idle")},
                **{f"{name}_error": In(1) for name in ("read", "write", "format", "length")},
                **{f"{name}_address": address for name in ("read", "write", "load")},
                **{name: Out(1) for name in ("halt", "reset", "running", "done", "failed")},
                "error": Out(Error),
                "error_address": Out(config.address_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """A state for each part of a command's way, and three for a bad end."""
        m = Module()
        config = self._config
        raw = Signal(COMMAND_BITS)
        pointer, present = Signal(config.beat_bits), Signal(config.beat_bits)
        error, works, trouble = Signal(Error), Signal(), Signal()
        fields = {
            name: raw[32 * field.word + field.bit :][: field.width]
            for name, field in FIELDS.items()
        }
        found = self._check(m, raw, fields)
        shift = config.bus_bytes.bit_length() - 1
        is_end = fields["opcode"] == Opcode.END
        m.d.comb += [
            self.request.payload.address.eq(pointer),
            self.request.payload.beats.eq(-(-4 * COMMAND_WORDS // config.bus_bytes)),
            self.request.payload.target.destination.eq(Destination.COMMAND),
        ]
        self._command(m, fields)
        with m.FSM() as fsm:
            with m.State("IDLE"):
                with m.If(self.clear):
                    m.d.sync += [self.done.eq(0), self.failed.eq(0)]
                with m.If(self.start):
                    m.d.sync += [
                        pointer.eq(self.list_address >> shift),
                        present.eq(self.list_address >> shift),
                        self.done.eq(0),
                        self.failed.eq(0),
                        self.error.eq(Error.NONE),
                        self.error_address.eq(0),
                    ]
                    m.next = "FETCH"
                    for bad, code in self._bad_addresses(self.list_address):
                        with m.If(bad):
                            m.d.sync += error.eq(code)
                            m.next = "REJECT"
            with m.State("FETCH"):
                m.d.comb += self.request.valid.eq(1)
                with m.If(self.request.ready):
                    m.d.sync += [
                        present.eq(pointer),
                        pointer.eq(pointer + command_bytes(config.bus_bytes) // config.bus_bytes),
                    ]
                    m.next = "RECEIVE"
                with m.If(trouble):
                    m.next = "HALT"
            with m.State("RECEIVE"):
                m.d.comb += self.words.ready.eq(1)
                with m.If(self.words.valid):
                    m.d.sync += raw.eq(
                        Cat(raw, self.words.payload.data[:COMMAND_BITS])[-COMMAND_BITS:]
                    )
                    with m.If(self.words.payload.last):
                        m.next = "CHECK"
                with m.If(trouble):
                    m.next = "HALT"
            with m.State("CHECK"):
                m.d.sync += error.eq(found)
                m.next = "HAND_ON"
                with m.If(found != Error.NONE):
                    m.next = "REJECT"
                with m.Elif(is_end):
                    m.next = "FINISH"
                with m.If(trouble):
                    m.next = "HALT"
            with m.State("HAND_ON"):
                m.d.comb += self.commands.valid.eq(~fields["wait"] | self.quiet)
                with m.If(self.commands.valid & self.commands.ready):
                    m.next = "FETCH"
                with m.If(trouble):
                    m.next = "HALT"
            with m.State("FINISH"):
                with m.If(trouble):
                    m.next = "HALT"
                with m.Elif(self.quiet):
                    m.d.sync += self.done.eq(1)
                    m.next = "IDLE"
            with m.State("REJECT"):
                m.d.sync += [self.error.eq(error), self.error_address.eq(present << shift)]
                m.next = "HALT"
            with m.State("HALT"):
                m.d.comb += self.halt.eq(1)
                with m.If(self.bus_idle):
                    m.next = "RESET"
            with m.State("RESET"):
                m.d.comb += [self.halt.eq(1), self.reset.eq(1)]
                m.d.sync += self.failed.eq(1)
                m.next = "IDLE"
            m.d.comb += [
                self.running.eq(~fsm.ongoing("IDLE")),
                works.eq(Cat(fsm.ongoing(name) for name in WORKING).any()),
            ]
            # What its proof speaks of (mixdit_hw.formal.control).
            self._states = {name: fsm.ongoing(name) for name in tuple(fsm.encoding)}
        self._raw, self._pointer, self._present = raw, pointer, present
        with m.If(works):
            for bad, code, address in (
                (self.stop, Error.STOPPED, present),
                (self.length_error, Error.LENGTH, self.load_address),
                (self.format_error, Error.FORMAT, self.load_address),
                (self.write_error, Error.WRITE, self.write_address),
                (self.read_error, Error.READ, self.read_address),
            ):
                with m.If(bad):
                    m.d.comb += trouble.eq(1)
                    m.d.sync += [self.error.eq(code), self.error_address.eq(address << shift)]
        return m

    def _bad_addresses(self, address: Value) -> list[tuple[Value, Error]]:
        """Return what can be wrong with a byte address, the graver last."""
        config = self._config
        return [
            (address[config.address_bits :].any(), Error.RANGE),
            (address[: config.bus_bytes.bit_length() - 1].any(), Error.ALIGNMENT),
        ]

    def _command(self, m: Module, fields: dict[str, Value]) -> None:
        """Give the walkers the command's fields."""
        shift = self._config.bus_bytes.bit_length() - 1
        payload = self.commands.payload
        for name in payload.shape().members:
            if name == "is_convert":
                value = fields["opcode"] == Opcode.CONVERT
            else:
                value = fields[name][shift:] if name in ADDRESSES else fields[name]
            field = payload[name]
            m.d.comb += (field.as_value() if isinstance(field, data.View) else field).eq(value)

    def _bad_output(self, fields: dict[str, Value]) -> Value:
        """Return whether results cannot be stored as a command asks.

        An operand is stored group by group of K-blocks: a group's tiles follow each other, and the
        tags of all are one bus word.
        """
        shape = self._config.shape
        tiles = (shape.group_tiles - 1).bit_length()
        not_in_groups = Cat(
            ~fields["stationary_b"],
            fields["panel"][:tiles].any(),
            fields["col_tiles"][:tiles].any(),
            fields["col_tiles"] > shape.columns // shape.cols,
        ).any()
        output = fields["output"]
        return (output > Output.OPERAND) | ((output == Output.OPERAND) & not_in_groups)

    def _bad_conversion(self, fields: dict[str, Value]) -> Value:
        """Return whether a CONVERT's tiles cannot come from memory as it asks.

        They come row by row of tiles, and are stored as an operand.
        """
        rules = [
            fields["output"] != Output.OPERAND,
            fields["panel"] != fields["col_tiles"],
            fields["steps"].any(),
        ]
        if not self._config.transposes:
            rules.append(fields["transposed"])
        return Cat(rules).any()

    def _check(self, m: Module, raw: Signal, fields: dict[str, Value]) -> Signal:
        """Return what is wrong with a command."""
        config, found = self._config, Signal(Error)
        shape = config.shape
        used = sum(((1 << f.width) - 1) << (32 * f.word + f.bit) for f in FIELDS.values())
        unused = [raw[i] for i in range(COMMAND_BITS) if not used >> i & 1]
        missing = [fields["steps"][i] for i, name in enumerate(STEPS) if name not in config.steps]
        distances = [
            fields[name][config.beat_bits :]
            for name in FIELDS
            if name.startswith(("c_", "residual_")) and name not in ADDRESSES
        ]
        of_gemm = ["k_blocks", "a_words", "b_words", "a_beats", "b_beats"]
        too_small = Cat(~fields[name].any() for name in ("row_tiles", "col_tiles", "panel")).any()
        of_gemm_too_small = Cat(~fields[name].any() for name in of_gemm).any()
        of_convert = Cat(fields["transposed"], fields["source_bf16"]).any()
        is_gemm = fields["opcode"] == Opcode.GEMM
        stationary, streamed = Signal(16), Signal(16)
        is_b = fields["stationary_b"]
        held = Signal(2 * shape.a_words.bit_length())
        bits = shape.a_words.bit_length()
        m.d.comb += [
            stationary.eq(Mux(is_b, fields["b_words"], fields["a_words"])),
            streamed.eq(Mux(is_b, fields["a_words"], fields["b_words"])),
            held.eq(stationary[:bits] * fields["panel"][:bits]),
        ]
        depth = config.words
        too_much = (
            (stationary > depth) | (streamed > depth) | (fields["panel"] > depth) | (held > depth)
        )
        addresses = [fields[name] for name in ADDRESSES]
        rules = [(is_gemm & too_much, Error.CAPACITY)]
        for address in addresses:
            rules += self._bad_addresses(address)
        rules.sort(key=lambda rule: -rule[1])
        rules += [
            (too_small | (is_gemm & of_gemm_too_small), Error.SIZE),
            (Cat(*unused, *missing, *distances, self._bad_output(fields)).any(), Error.FIELD),
            (Mux(is_gemm, of_convert, self._bad_conversion(fields)), Error.FIELD),
        ]
        with m.If(is_gemm | (fields["opcode"] == Opcode.CONVERT)):
            for bad, code in rules:
                with m.If(bad):
                    m.d.comb += found.eq(code)
        with m.Elif(fields["opcode"] != Opcode.END):
            m.d.comb += found.eq(Error.OPCODE)
        return found
