"""A program whose memory can be spoilt, and judges of how its run ends."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from command_rules import with_field
from engine_cases import check_result, expected, random_case

from mixdit_sim.engine.rtl import MEMORY_WORDS, Job, JobResult, program_job
from mixdit_sw.engine.commands import COMMAND_WORDS, Error, command_bytes
from mixdit_sw.engine.registers import Register, Status
from mixdit_sw.engine.schedule import result_bytes
from mixdit_sw.gemm.kinds import parse_kind

PATIENCE = 200_000
UNWRITTEN = 0xA5
"""Bytes of results before the run."""
SMALL = {"largest": (5, 70), "gemms": 2, "operands": False}


@dataclass
class Hostile:
    """A job and the judge of its result, which raises AssertionError."""

    name: str
    job: Job
    judge: Callable[[JobResult], None]


class Spoilt:
    """A correct program, and its memory."""

    """A correct program whose memory can be spoilt."""

    def __init__(self, rng, config, case=None):
        self.rng, self.config = rng, config
        self.case = case or random_case(rng, config, **SMALL)
        self.program = self.case.program
        self.bus = config.bus_bytes
        self.step = command_bytes(self.bus)
        # What follows the list is no command.
        self.memory = np.concatenate([self.program.image.bytes(), np.zeros(self.step, np.uint8)])
        self.list_address = self.program.list_address
        for gemm, command in zip(self.program.gemms, self.program.commands, strict=False):
            size = result_bytes(gemm, config.shape)
            self.memory[command.c_address : command.c_address + size] = UNWRITTEN

    def address(self, index):
        """Of a command."""
        return self.program.list_address + self.step * index

    def command(self, index):
        """A command as one integer."""
        at = self.address(index)
        return int.from_bytes(self.memory[at : at + 4 * COMMAND_WORDS].tobytes(), "little")

    def put(self, index, bits):
        """Replace a command."""
        at = self.address(index)
        raw = np.frombuffer(bits.to_bytes(4 * COMMAND_WORDS, "little"), np.uint8)
        self.memory[at : at + raw.size] = raw

    def change(self, index, **values):
        """Give a command's fields other values."""
        bits = self.command(index)
        for name, value in values.items():
            bits = with_field(bits, name, int(value))
        self.put(index, bits)

    def any_gemm(self):
        """Number of a command that is not END, with its GEMM's size."""
        index = int(self.rng.integers(len(self.program.gemms)))
        return index, self.program.commands[index], self.program.gemms[index]

    def job(self, **options):
        """The job of the memory as it is now."""
        return replace(
            program_job(self.program, self.case.timing),
            image=self.memory.copy(),
            list_address=self.list_address,
            patience=PATIENCE,
            **options,
        )

    def fails(self, name, error, address, **options):
        """It must end with an error at an address."""
        before, job = self.memory.copy(), self.job(**options)

        def judge(result):
            found = result.outcome
            assert found.error == error, (name, error, found)
            assert found.error_address == address, (name, hex(address), found)
            assert result.status & ~Status.NAN == Status.ERROR, (name, result.status)
            assert found.saw_nan == (found.counters[Register.NAN_BLOCKS] > 0), (name, found)
            self.check_untouched(name, before, result.memory)
            self.check_results(name, result.memory)

        return Hostile(name, job, judge)

    def runs(self, name, *, cycles=True, **options):
        """It must run as if nothing had happened; with `cycles` also for as long."""
        before = self.memory.copy()

        def judge(result):
            if cycles:
                check_result(self.config, self.case, result, name)
            else:
                assert result.outcome.error == Error.NONE, (name, result.outcome)
            self.check_untouched(name, before, result.memory)

        return Hostile(name, self.job(**options), judge)

    def check_untouched(self, name, before, after):
        """Nothing but results is written."""
        same = before[: after.size] == after
        for gemm, command in zip(self.program.gemms, self.program.commands, strict=False):
            size = result_bytes(gemm, self.config.shape)
            same[command.c_address : command.c_address + size] = True
        assert same.all(), (name, np.flatnonzero(~same)[:8])

    def check_results(self, name, memory):
        """A result is right or was not written."""
        kind = parse_kind(self.config.array.accumulator)
        for index, gemm in enumerate(self.case.gemms):
            found = self.program.result(memory, index).view(np.uint32)
            right = expected(gemm, kind).view(np.uint32)
            unwritten = UNWRITTEN * (0x0101_0000 if gemm.bf16 else 0x0101_0101)
            assert ((found == right) | (found == unwritten)).all(), (name, index)


def outside(rng, config):
    """A byte address behind the end of memory, of any magnitude."""
    first, words = MEMORY_WORDS, 1 << config.beat_bits
    power = int(rng.integers(first.bit_length(), words.bit_length()))
    return min(first << (power - first.bit_length()), words - 1) * config.bus_bytes
