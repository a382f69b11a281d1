"""The controller reports of a command what docs/programming.md says, and hands on what it says."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring

from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.controller import WORKING, Controller
from mixdit_hw.formal.control import assume_commands, command_beats
from mixdit_hw.formal.inside import surround
from mixdit_hw.formal.properties import check, cover, implies
from mixdit_sw.engine.commands import COMMAND_WORDS, FIELDS, STEPS, Error

END, GEMM, CONVERT = 1, 2, 3
OPERAND = 2
SIZES = ("row_tiles", "col_tiles", "panel", "k_blocks", "a_words", "b_words", "a_beats", "b_beats")
OF_CONVERT = SIZES[:3]
DISTANCES = ("c_row_beats", "c_col_beats", "residual_row_beats", "residual_col_beats")


def lowest(rules: dict[Error, Value]) -> Value:
    """Return the lowest code whose condition is true, or NONE."""
    found: Value = Const(Error.NONE, 4)
    for code in sorted(rules, reverse=True):
        found = Mux(rules[code], code, found)
    return found


def address_rules(addresses: list[Value], config: EngineConfig) -> dict[Error, Value]:
    """Return what can be wrong with byte addresses."""
    low = config.bus_bytes.bit_length() - 1
    return {
        Error.ALIGNMENT: Cat(address[:low] for address in addresses).any(),
        Error.RANGE: Cat(address[config.address_bits :] for address in addresses).any(),
    }


def command_error(raw: Value, config: EngineConfig) -> Value:
    """Return the code of what is wrong with a command, given as its 1024 bits."""
    field = {
        name: raw[32 * place.word + place.bit :][: place.width] for name, place in FIELDS.items()
    }
    used = sum(((1 << f.width) - 1) << 32 * f.word + f.bit for f in FIELDS.values())
    outside = [raw[i] for i in range(32 * COMMAND_WORDS) if not used >> i & 1]
    unbuilt = [field["steps"][i] for i, name in enumerate(STEPS) if name not in config.steps]
    far = [field[name] >= 1 << config.beat_bits for name in DISTANCES if config.beat_bits < 32]
    addresses = [field[name] for name in FIELDS if name.endswith("_address")]
    is_gemm, is_convert = (field["opcode"] == opcode for opcode in (GEMM, CONVERT))
    own = Mux(is_gemm, field["transposed"] | field["source_bf16"], _bad_conversion(field, config))
    sizes = [Cat(field[name] == 0 for name in names).any() for names in (SIZES, OF_CONVERT)]
    rules = {
        Error.FIELD: Cat(*outside, *unbuilt, *far, _bad_output(field, config), own).any(),
        Error.SIZE: Mux(is_gemm, *sizes),
        **address_rules(addresses, config),
        Error.CAPACITY: is_gemm & _too_much(field, config),
    }
    others = Mux(field["opcode"] == END, Error.NONE, Error.OPCODE)
    return Mux(is_gemm | is_convert, lowest(rules), others)


def _bad_conversion(field: dict[str, Value], config: EngineConfig) -> Value:
    """Return whether a CONVERT is not as it must be, its tiles apart."""
    apart = (field["output"] != OPERAND) | (field["panel"] != field["col_tiles"])
    unbuilt = field["transposed"] & (not config.transposes)
    return apart | (field["steps"] != 0) | unbuilt


def _bad_output(field: dict[str, Value], config: EngineConfig) -> Value:
    """Return whether results cannot be stored as asked."""
    shape = config.shape
    tiles = shape.group_tiles
    blocks = (field["col_tiles"] * shape.cols) >> 4
    apart = (
        (field["stationary_b"] == 0)
        | (field["panel"] % tiles != 0)
        | (field["col_tiles"] % tiles != 0)
        | (blocks > shape.section)
    )
    return (field["output"] == 3) | ((field["output"] == OPERAND) & apart)


def _too_much(field: dict[str, Value], config: EngineConfig) -> Value:
    """Return whether the buffers do not hold what a command wants to be held."""
    a, b, panel, depth = field["a_words"], field["b_words"], field["panel"], config.words
    stationary = Mux(field["stationary_b"], b, a)
    # So many words at most, if the panel has so many tiles.
    product = [
        (panel == tiles) & (stationary > depth // tiles)
        for tiles in range(1, depth + 1)
        if tiles == 1 or depth // tiles != depth
    ]
    return (a > depth) | (b > depth) | (panel > depth) | Cat(product).any()


class RulesProof(wiring.Component):
    """A controller with free neighbours and lists.

    Its words are kept beside it, so that what it does is compared with what it was given.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._dut = Controller(config)
        self._shift = config.bus_bytes.bit_length() - 1
        super().__init__(self._dut.signature)

    def elaborate(self, platform: object) -> Module:
        """Follow addresses, words, and errors."""
        m = Module()
        dut = self._dut
        surround(m, self, dut)
        self._was = {name: Signal(name=f"was_{name}") for name in dut._states}
        self._trouble, self._code = Signal(), Signal(4)
        m.d.sync += [self._was[name].eq(dut._states[name]) for name in dut._states]
        asked = self._addresses(m)
        given = self._words(m)
        self._unit_errors(m, asked)
        self._rules(m, given, asked)
        self._hands_on(m, given)
        return m

    def _addresses(self, m: Module) -> Signal:
        """Check where commands are fetched; return the address of the one asked for last."""
        config = self._config
        asked, following = Signal(config.beat_bits), Signal(config.beat_bits)
        request = self.request
        starts = self._dut._states["IDLE"] & self.start
        with m.If(starts):
            first = self.list_address >> self._shift
            m.d.sync += [asked.eq(first), following.eq(first)]
        with m.Elif(request.valid & request.ready):
            pitch = max(4 * COMMAND_WORDS, config.bus_bytes) // config.bus_bytes
            m.d.sync += [asked.eq(following), following.eq(following + pitch)]
        check(m, "pointer", self._dut._pointer == following)
        check(m, "present", self._dut._present == asked)
        here = (request.payload.address == following) & (
            request.payload.beats == command_beats(config)
        )
        check(m, "asks_for_the_next", implies(request.valid, here))
        return asked

    def _words(self, m: Module) -> Signal:
        """Keep the words of a command; check that the controller has them in order."""
        states, raw = self._dut._states, self._dut._raw
        beats = command_beats(self._config)
        bits = 32 * COMMAND_WORDS
        width = bits // beats
        number = assume_commands(m, self.words, beats)
        words = [Signal(width, name=f"word_{n}") for n in range(beats)]
        for n, word in enumerate(words):
            with m.If(self.words.valid & self.words.ready & (number == n)):
                m.d.sync += word.eq(self.words.payload.data[:width])
        for n in range(1, beats):
            there = raw[bits - n * width :] == Cat(words[:n])
            check(m, f"words_{n}", implies(states["RECEIVE"] & (number == n), there))
        given = Signal(bits)
        m.d.comb += given.eq(Cat(words))
        complete = Cat(states[name] for name in ("CHECK", "HAND_ON", "FINISH")).any()
        check(m, "command", implies(complete, raw == given))
        return given

    def _unit_errors(self, m: Module, asked: Signal) -> None:
        """Check that the gravest error of a cycle is reported, with its address, and stays."""
        load = self.load_address
        found = {
            Error.READ: (self.read_error, self.read_address),
            Error.WRITE: (self.write_error, self.write_address),
            Error.FORMAT: (self.format_error, load),
            Error.LENGTH: (self.length_error, load),
            Error.STOPPED: (self.stop, asked),
        }
        works = Cat(self._dut._states[name] for name in WORKING).any()
        where, now = Signal(self._config.beat_bits), Signal(self._config.beat_bits)
        code = lowest({error: bad for error, (bad, _) in found.items()})
        with m.Switch(code):
            for error, (_, address) in found.items():
                with m.Case(error):
                    m.d.comb += now.eq(address)
        m.d.sync += [
            self._trouble.eq(works & (code != Error.NONE)),
            self._code.eq(code),
            where.eq(now),
        ]
        said = (self.error == self._code) & (self.error_address == where << self._shift)
        check(m, "unit_error", implies(self._trouble, self._dut._states["HALT"] & said))
        ended, code_before = Signal(), Signal(4)
        address = Signal.like(self.error_address, name="address_before")
        states = self._dut._states
        stays = states["HALT"] | states["RESET"] | (states["IDLE"] & ~self.start)
        m.d.sync += [
            ended.eq(stays),
            code_before.eq(self.error),
            address.eq(self.error_address),
        ]
        same = (self.error == code_before) & (self.error_address == address)
        check(m, "first_error_stays", implies(ended, same))

    def _rules(self, m: Module, given: Signal, asked: Signal) -> None:
        """Check what becomes of a list's address and of a command."""
        config, states, was = self._config, self._dut._states, self._was
        code, started = Signal(4), Signal()
        own = lowest(address_rules([self.list_address], config))
        m.d.sync += started.eq(self.start)
        with m.If(states["CHECK"]):
            m.d.sync += code.eq(command_error(given, config))
        with m.Elif(states["IDLE"]):
            m.d.sync += code.eq(own)
        checked = was["CHECK"] & ~self._trouble
        bad = code != Error.NONE
        is_end = given[:8] == END
        way = Mux(bad, states["REJECT"], Mux(is_end, states["FINISH"], states["HAND_ON"]))
        check(m, "command_is_judged", implies(checked, way))
        way = Mux(bad, states["REJECT"], states["FETCH"])
        check(m, "list_address_is_judged", implies(was["IDLE"] & started, way))
        said = (self.error == code) & (self.error_address == asked << self._shift)
        check(m, "reported", implies(was["REJECT"], said))
        for error in (Error.OPCODE, Error.FIELD, Error.SIZE, *list(Error)[4:7]):
            reported = was["REJECT"] & (self.error == error)
            cover(m, f"error_{error}", reported)

    def _hands_on(self, m: Module, given: Signal) -> None:
        """Check that only what is right is handed on, as it was given."""
        states, payload = self._dut._states, self.commands.payload
        is_convert = given[:8] == CONVERT
        right = (given[:8] == GEMM) | is_convert
        right = right & (command_error(given, self._config) == Error.NONE)
        check(m, "right_command", implies(states["HAND_ON"], right))
        check(m, "end", implies(states["FINISH"], given[:8] == END))
        offered = self.commands.valid
        check(m, "is_convert", implies(offered, payload.is_convert == is_convert))
        for name in [name for name in payload.shape().members if name in FIELDS]:
            place = FIELDS[name]
            field = given[32 * place.word + place.bit :][: place.width]
            mine = Value.cast(payload[name])
            if name.endswith("_address"):
                mine = mine << self._shift
            check(m, f"field_{name}", implies(offered, mine == field))
        wait = given[9]
        may = states["HAND_ON"] & (~wait | self.quiet)
        check(m, "waits_for_quiet", offered == may)
