"""A program whose memory can be spoilt, and judges of how its run ends."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from command_rules import with_field
from engine_cases import check_result, expected, expected_operand, random_case, real_rows

from mixdit_sim.engine.rtl import MEMORY_WORDS, Job, JobResult, program_job
from mixdit_sw.engine.commands import COMMAND_WORDS, Error, command_bytes
from mixdit_sw.engine.registers import Register, Status
from mixdit_sw.engine.schedule import result_bytes
from mixdit_sw.engine.shape import TAG_BITS
from mixdit_sw.gemm.kinds import parse_kind

PATIENCE = 200_000
UNWRITTEN = 0xA5
"""Bytes of results before the run."""
SMALL = {"largest": (5, 70), "gemms": 2, "columns": 50}


@dataclass
class Hostile:
    """A job and the judge of its result, which raises AssertionError."""

    name: str
    job: Job
    judge: Callable[[JobResult], None]


class Spoilt:
    """A correct program whose memory can be spoilt."""

    def __init__(self, rng, config, case=None):
        self.rng, self.config = rng, config
        self.case = case or small_case(rng, config)
        self.program = self.case.program
        self.bus = config.bus_bytes
        self.step = command_bytes(self.bus)
        # What follows the list is no command.
        self.memory = np.concatenate([self.program.image.bytes(), np.zeros(self.step, np.uint8)])
        self.list_address = self.program.list_address
        for first, size in self.results():
            self.memory[first : first + size] = UNWRITTEN

    def results(self):
        """Stretches of memory, first byte and bytes, that the program writes."""
        shape = self.config.shape
        for gemm, command in zip(self.program.gemms, self.program.commands, strict=False):
            size = result_bytes(gemm, shape)
            if gemm.as_operand is None:
                yield command.c_address, size
                continue
            rows = command.row_tiles
            for tile in range(rows):
                pitch = command.c_row_beats * self.bus
                yield command.c_address + tile * pitch, size // rows - self.bus

    def stores(self):
        """Stretches that are stored at a time: first bus word, bus words."""
        shape = self.config.shape
        for gemm, command in zip(self.program.gemms, self.program.commands, strict=False):
            first, rows = command.c_address // self.bus, command.row_tiles
            if gemm.as_operand is None:
                beats = shape.tile_beats // (2 if gemm.bf16 else 1)
                yield from ((first + i * beats, beats) for i in range(rows * command.col_tiles))
                continue
            formats = gemm.stored_formats(shape)
            for tile in range(rows):
                at = first + tile * command.c_row_beats
                for start in range(0, len(formats), shape.group):
                    beats = shape.group_beats(formats[start : start + shape.group], False)
                    yield at, beats
                    at += beats

    def spoil_tag(self, header, place):
        """Make a tag of a header no format's."""
        at = TAG_BITS * place
        self.memory[header + at // 8] |= 3 << at % 8

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
                self.check_run(result, name)
            else:
                assert result.outcome.error == Error.NONE, (name, result.outcome)
            self.check_untouched(name, before, result.memory)

        return Hostile(name, self.job(**options), judge)

    def check_run(self, result, name):
        """All as it must be."""
        check_result(self.config, self.case, result, name)

    def check_untouched(self, name, before, after):
        """Nothing but results is written."""
        same = before[: after.size] == after
        for first, size in self.results():
            same[first : first + size] = True
        assert same.all(), (name, np.flatnonzero(~same)[:8])

    def check_results(self, name, memory):
        """A result is right or was not written."""
        kind = parse_kind(self.config.array.accumulator)
        shape = self.config.shape
        for index, gemm in enumerate(self.case.gemms):
            if gemm.as_operand is not None:
                stored = self.program.operand(memory, index), expected_operand(gemm, kind, shape)
                for found, right in zip(
                    *(real_rows(x, gemm.size, shape) for x in stored), strict=True
                ):
                    assert ((found == right) | (found == UNWRITTEN)).all(), (name, index)
                continue
            found = self.program.result(memory, index).view(np.uint32)
            right = expected(gemm, kind, shape).view(np.uint32)
            unwritten = UNWRITTEN * (0x0101_0000 if gemm.bf16 else 0x0101_0101)
            assert ((found == right) | (found == unwritten)).all(), (name, index)


def small_case(rng, config):
    """A program of at least a GEMM; some do not fit the buffers."""
    while True:
        case = random_case(rng, config, **SMALL)
        if case.gemms:
            return case


def storing_case(rng, config):
    """A program some of whose results are stored as operands."""
    while True:
        case = random_case(rng, config, largest=(6, 40), gemms=2, columns=70)
        if any(gemm.as_operand for gemm in case.gemms):
            return case


def outside(rng, config):
    """A byte address behind the end of memory, of any magnitude."""
    first, words = MEMORY_WORDS, 1 << config.beat_bits
    power = int(rng.integers(first.bit_length(), words.bit_length()))
    return min(first << (power - first.bit_length()), words - 1) * config.bus_bytes
