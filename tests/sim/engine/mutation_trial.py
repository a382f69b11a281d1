"""A trial: a program that an engine and its mutants run, its memory, and how it must end."""

from dataclasses import dataclass, field, replace

import numpy as np
from engine_cases import Case, with_waits

from mixdit_hw.engine.config import ENGINES
from mixdit_sim.engine.model.parts import MemoryTiming
from mixdit_sw.engine.commands import ADDRESSES, COMMAND_WORDS, Error, Opcode, command_bytes
from mixdit_sw.engine.compiler import Program, compile_gemms
from mixdit_sw.gemm.kinds import parse_kind

CONFIG = ENGINES["tiny"]
SHAPE = CONFIG.shape
KIND = parse_kind(CONFIG.array.accumulator)
PATTERNS = (0x5555_5555_5555_5555, 0xAAAA_AAAA_AAAA_AAAA)
ORIGINS = (0x55_5555_5000, 0x7F_FFFF_F000, 0xAA_AAAA_A800, 0xFF_FFFF_F800, 0x0F_F00F_F000)
"""Where good programs find the memory: all address bits, and carries through all of them."""
STEPS = ("row_scale", "col_scale", "bias", "residual")


@dataclass
class Trial:
    """A program, its memory, and how it ends.

    Members
    -------
    program : Program
        Its list may be bad.
    timing : MemoryTiming
        Of the memory.
    error : Error, optional
        How the list ends; not checked without.
    error_address : int, optional
        Where; not checked without.
    case : Case, optional
        Of a good program.
    made : dict
        Of a good program the operands that its conversions make.
    list_address : int, optional
        Instead of the program's.
    fault_word : int, optional
        Bus word at which the memory fails.
    stop_after : int, optional
        Cycles after which it is stopped.
    origin : int
        Byte address of the memory's first word.
    pauses : int
        Bits of the channels AR, AW, W in which the bus pauses now and then.
    """

    program: Program
    timing: MemoryTiming = field(default_factory=lambda: MemoryTiming(5, 1, 1))
    error: Error | None = Error.NONE
    error_address: int | None = None
    case: Case | None = None
    made: dict = field(default_factory=dict)
    list_address: int | None = None
    fault_word: int | None = None
    stop_after: int | None = None
    origin: int = 0
    pauses: int = 0


def with_commands(program, commands):
    """The program with another list of as many commands."""
    words = np.zeros((len(commands), command_bytes(program.shape.bus_bytes) // 4), np.uint32)
    for row, command in zip(words, commands, strict=True):
        row[:COMMAND_WORDS] = command.pack()
    return with_words(replace(program, commands=commands), words)


def with_words(program, words):
    """The program with other words of its list."""
    parts = [part for part in program.image.parts if part[0] != program.list_address]
    parts.append((program.list_address, words.view(np.uint8).reshape(-1)))
    return replace(program, image=replace(program.image, parts=parts))


def changed(program, number=0, **values):
    """The program with other fields of a command."""
    commands = list(program.commands)
    commands[number] = replace(commands[number], **values)
    return with_commands(program, commands)


def moved(program, origin):
    """The program with other addresses in its list."""
    mask = (1 << SHAPE.address_bits) - 1
    commands = [
        replace(c, **{name: getattr(c, name) + origin & mask for name in ADDRESSES})
        if c.opcode != Opcode.END
        else c
        for c in program.commands
    ]
    return with_commands(program, commands)


def good(case, origin=0, pauses=0, made=None):
    """A trial that runs to its end, on a memory at some address."""
    at = case.program.list_address + origin & (1 << SHAPE.address_bits) - 1
    program = moved(case.program, origin)
    return Trial(
        program,
        case.timing,
        case=case,
        made=made or {},
        list_address=at,
        origin=origin,
        pauses=pauses,
    )


def far(trial, origin):
    """The trial with its memory at another address, where its error is then."""
    mask = (1 << SHAPE.address_bits) - 1
    address = trial.error_address
    return replace(
        trial,
        program=moved(trial.program, origin),
        list_address=trial.program.list_address + origin & mask,
        error_address=None if address is None else address + origin & mask,
        origin=origin,
    )


def planned(gemms, plans, timing, waits=()):
    """A case of GEMMs with given schedules."""
    program = compile_gemms(gemms, SHAPE, plans=plans)
    waits = [*waits, *[False] * (len(gemms) - len(waits))]
    program = with_waits(
        program, [w or c.wait for w, c in zip(waits, program.commands, strict=False)]
    )
    return Case(gemms, program, timing)
