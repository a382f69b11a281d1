"""The controller never hangs, ends each list in one of two ways, and takes no start in between."""

from amaranth.hdl import Cat, Module, Mux, ResetSignal, Signal, Value
from amaranth.lib import wiring

from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.controller import WORKING, Controller
from mixdit_hw.formal.inside import open_unit
from mixdit_hw.formal.properties import assume, check, cover, implies, never_reset
from mixdit_sw.engine.commands import COMMAND_WORDS, Error


def command_beats(config: EngineConfig) -> int:
    """Bus words that hold a command."""
    return -(-4 * COMMAND_WORDS // config.bus_bytes)


def bound(config: EngineConfig) -> int:
    """Cycles in which nobody keeps it waiting, from one command, or the start, to the next.

    Fetch, the command's words, check; then hand on, or reject, halt and reset.
    """
    return 1 + command_beats(config) + 1 + 3


class ControlProof(wiring.Component):
    """A controller whose neighbours, errors and reset are free; the last word of a command says so.

    A neighbour keeps it waiting while it does not take a request or a command, does not give a
    word, is not quiet where a command or the end waits for that, or while the bus is not idle at a
    bad end.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._dut = Controller(config)
        super().__init__(self._dut.signature)

    def elaborate(self, platform: object) -> Module:
        """State what is true in each cycle and from one to the next."""
        m = Module()
        m.submodules.dut = dut = self._dut
        open_unit(dut)
        wiring.connect(m, wiring.flipped(self), dut)
        beats = command_beats(self._config)
        number = assume_commands(m, self.words, beats)
        works = Cat(dut._states[name] for name in WORKING).any()
        bad = Cat(self.stop, *(getattr(self, f"{n}_error") for n in ERRORS)).any()
        was_running, was_reset = Signal(), Signal(reset_less=True)
        trouble, reset, idle_bus, halted = Signal(), Signal(), Signal(), Signal()
        m.d.sync += [
            was_reset.eq(ResetSignal()),
            was_running.eq(self.running),
            trouble.eq(works & bad),
            reset.eq(self.reset),
            idle_bus.eq(self.bus_idle),
            halted.eq(self.halt & ~self.reset),
        ]
        ended = was_running & ~self.running
        asks = Cat(self.request.valid, self.words.ready, self.commands.valid).any()
        any_output = self.running | self.halt | self.reset | asks | self.done | self.failed
        no_error = self.error == Error.NONE
        for name, condition in {
            "reset_ends_it": implies(was_reset, ~any_output),
            "asks_only_when_running": implies(asks | self.halt, self.running),
            "halt_asks_nothing": implies(self.halt, ~asks & ~works),
            "halt_has_a_reason": implies(self.halt, ~no_error),
            "halt_until_reset": implies(halted, self.halt),
            "reset_when_idle": implies(self.reset, self.halt & halted & idle_bus),
            "trouble_halts": implies(trouble, self.halt),
            "reset_fails": implies(reset, self.failed & ~self.running),
            "ends_in_one_way": implies(ended, self.done ^ self.failed),
            "fails_by_reset_only": implies(ended & self.failed, reset),
            "no_end_while_running": implies(self.running, ~self.done & ~self.failed),
            "good_without_error": implies((self.running & ~self.halt) | self.done, no_error),
            "bad_with_error": implies(self.failed, ~no_error),
        }.items():
            check(m, name, condition)
        self._check_end(m, beats - number)
        cover(m, "rejected", ended & self.failed & (self.error == Error.OPCODE))
        cover(m, "done", ended & self.done)
        return m

    def _check_end(self, m: Module, missing: Value) -> None:
        """Check that within `bound` cycles without waiting it is idle, or at the next command.

        With words missing to the command, there is a longest way to the end from each state.
        """
        states = self._dut._states
        waits = (
            (self.request.valid & ~self.request.ready)
            | (self.words.ready & ~self.words.valid)
            | (self.commands.valid & ~self.commands.ready)
            | (states["HAND_ON"] & ~self.commands.valid & ~self.quiet)
            | (states["FINISH"] & ~self.quiet)
            | (states["HALT"] & ~self.bus_idle)
        )
        most = bound(self._config)
        steps, left = Signal(range(most + 2)), Signal(range(most + 1))
        way = {"RESET": 1, "HALT": 2, "REJECT": 3, "FINISH": 3, "HAND_ON": 3, "CHECK": 4}
        way |= {"RECEIVE": 4 + missing, "FETCH": most}
        for name, cycles in way.items():
            with m.If(states[name]):
                m.d.comb += left.eq(cycles)
        handed_on = self.commands.valid & self.commands.ready
        m.d.sync += steps.eq(Mux(self.running & ~handed_on, steps + ~waits, 0))
        check(m, "known_state", Cat(states.values()).any())
        check(m, "ends", implies(self.running, steps + left <= most))
        cover(m, "takes_long", self.running & (steps == most - 1))


ERRORS = ("read", "write", "format", "length")


class StartProof(wiring.Component):
    """Two controllers, one of which sees starts while it runs: they never differ."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._duts = Controller(config), Controller(config)
        super().__init__(self._duts[0].signature)

    def elaborate(self, platform: object) -> Module:
        """Compare all their registers and outputs."""
        m = Module()
        never_reset(m)
        insides = []
        for n, dut in enumerate(self._duts):
            m.submodules[f"dut_{n}"] = dut
            insides.append(open_unit(dut))
            for name in dut.signature.members:
                self._connect(m, getattr(self, name), getattr(dut, name), name, first=n == 0)
        one, other = self._duts
        m.d.comb += [one.start.eq(self.start), other.start.eq(self.start & ~other.running)]
        same = [one._states[name] == other._states[name] for name in one._states]
        for mine, its in zip(*(inside._driving for inside in insides), strict=True):
            same.append(mine == its)
        check(m, "the_same", Cat(same).all())
        cover(m, "start_while_running", self.start & self.running & self.commands.valid)
        return m

    def _connect(self, m: Module, mine: object, its: object, name: str, *, first: bool) -> None:
        """Give both the same inputs but `start`, and take outputs from the first."""
        is_out = name in self._outputs
        if self.signature.members[name].is_signature:
            for part in ("valid", "payload", "ready"):
                a, b = Value.cast(getattr(mine, part)), Value.cast(getattr(its, part))
                self._join(m, a, b, out=is_out != (part == "ready"), first=first)
        elif name != "start":
            self._join(m, Value.cast(mine), Value.cast(its), out=is_out, first=first)

    @property
    def _outputs(self) -> set[str]:
        return {n for n, member in self.signature.members.items() if member.flow is wiring.Out}

    def _join(self, m: Module, mine: Value, its: Value, *, out: bool, first: bool) -> None:
        if not out:
            m.d.comb += its.eq(mine)
        elif first:
            m.d.comb += mine.eq(its)


def assume_commands(m: Module, words: wiring.PureInterface, beats: int) -> Signal:
    """Assume that the last of a command's bus words says so; return how many have come."""
    number, last = Signal(range(max(beats, 2))), Signal()
    m.d.comb += last.eq(number == beats - 1)
    assume(m, implies(words.valid, words.payload.last == last))
    with m.If(~words.ready):
        m.d.sync += number.eq(0)
    with m.Elif(words.valid):
        m.d.sync += number.eq(Mux(last, 0, number + 1))
    check(m, "words_of_a_command", number < beats)
    return number
