"""Programs that must not end well: bad lists, bad memories, stops."""

from dataclasses import replace

import numpy as np
from engine_cases import random_timing
from mutation_gemms import gemm
from mutation_trial import PATTERNS, SHAPE, STEPS, Trial, changed, with_words

from mixdit_sim.engine.model.parts import MemoryTiming
from mixdit_sw.engine.commands import ADDRESSES, COMMAND_WORDS, Error, command_bytes
from mixdit_sw.engine.compiler import compile_gemms
from mixdit_sw.engine.schedule import Schedule
from mixdit_sw.formats import MX4, MX6, MX9


def hostile_trials(rng):
    """Return all of them."""
    return [
        *_bad_lists(rng),
        *_bad_memory(rng),
        *_bad_results(rng),
        *_stopped(rng),
        *_too_many(rng),
    ]


def _small(rng, **options):
    options = {"steps": STEPS, **options}
    gemms = [gemm(rng, 3, 40, 5, (MX6, MX9), (MX9, MX4), **options)]
    return compile_gemms(gemms, SHAPE, plans=[Schedule(False, 1)])


def _storing(rng, rows=5, blocks=3, panel=8):
    """A program whose results are stored as an operand."""
    found = gemm(rng, rows, 40, 16 * blocks, (MX6, MX9), (MX6,), steps=STEPS, stored=(MX9, MX4))
    return compile_gemms([found], SHAPE, plans=[Schedule(True, panel)])


def _bad_lists(rng):
    """Lists that are refused."""
    program = _small(rng)
    depth = SHAPE.a_words
    at = program.list_address
    too_far = 1 << SHAPE.address_bits
    bad = [
        ({"opcode": 4}, Error.OPCODE),
        ({"opcode": 0}, Error.OPCODE),
        ({"opcode": 0x82}, Error.OPCODE),
        ({"output": 2}, Error.FIELD),
        *(({name: 0}, Error.SIZE) for name in ("row_tiles", "col_tiles", "panel", "k_blocks")),
        *(({name: 0}, Error.SIZE) for name in ("a_words", "b_words", "a_beats", "b_beats")),
        ({"a_words": depth + 1}, Error.CAPACITY),
        ({"b_words": depth + 1}, Error.CAPACITY),
        ({"a_words": 0x8000}, Error.CAPACITY),
        ({"panel": 0x4000}, Error.CAPACITY),
        ({"a_words": 9, "panel": 10}, Error.CAPACITY),
        *(({name: 4}, Error.ALIGNMENT) for name in ADDRESSES),
        *(({name: too_far}, Error.RANGE) for name in ADDRESSES),
        *(({name: 1 << 63}, Error.RANGE) for name in ADDRESSES),
    ]
    for values, error in bad:
        yield Trial(changed(program, **values), error=error, error_address=at)
    storing = _storing(rng)
    for values in (
        {"stationary_b": 0},
        *({"panel": 8 + (1 << bit)} for bit in range(3)),
        *({"col_tiles": 24 + (1 << bit)} for bit in range(3)),
        {"output": 3},
        *({"col_tiles": count} for count in (8 * 33, 8 * 64, 8 << 12)),
    ):
        yield Trial(
            changed(storing, **values), error=Error.FIELD, error_address=storing.list_address
        )
    words = np.frombuffer(
        np.concatenate([command.pack() for command in program.commands]).tobytes(), np.uint32
    ).reshape(-1, COMMAND_WORDS)
    for word, bit in ((0, 16), (0, 31), (4, 24), (5, 31), (24, 0), (27, 13), (31, 31)):
        other = words.copy()
        other[0, word] |= np.uint32(1 << bit)
        yield Trial(with_words(program, other), error=Error.FIELD, error_address=at)
    # The second command is bad: the first runs meanwhile, and is dropped.
    second = compile_gemms(
        [gemm(rng, 4, 50, 4, (MX6,), (MX9,)) for _ in range(2)], SHAPE, plans=[None, None]
    )
    there = second.list_address + command_bytes(SHAPE.bus_bytes)
    yield Trial(changed(second, 1, a_beats=0), error=Error.SIZE, error_address=there)
    yield Trial(program, error=Error.ALIGNMENT, error_address=at, list_address=at + 4)
    yield Trial(program, error=Error.RANGE, list_address=1 << 50)
    for pattern in PATTERNS:
        where = pattern & (too_far - 1) & -SHAPE.bus_bytes
        yield Trial(program, error=Error.READ, error_address=where, list_address=where)


def _bad_memory(rng):
    """Operands that are not there, or wrong; results that cannot be stored."""
    for pattern in PATTERNS:
        where = pattern & ((1 << SHAPE.address_bits) - 1) & -SHAPE.bus_bytes
        for name in ADDRESSES:
            program = _storing(rng) if name == "tags_address" else _small(rng)
            b = int(name in ("b_address", "tags_address"))
            program = changed(program, stationary_b=b, **{name: where})
            error = Error.WRITE if name == "c_address" else Error.READ
            yield Trial(program, error=error, error_address=where)
        for name in ("c_row_beats", "c_col_beats", "residual_row_beats", "residual_col_beats"):
            # Streamed tiles first: the second tile is the one at this distance.
            program = changed(_small(rng), stationary_b=int("row" in name))
            kind = Error.WRITE if name[0] == "c" else Error.READ
            beats = pattern & 0xFFFF_FFFF
            base = program.commands[0].c_address if name[0] == "c" else None
            base = program.commands[0].residual_address if base is None else base
            at = base + beats * SHAPE.bus_bytes
            yield Trial(changed(program, **{name: beats}), error=kind, error_address=at)
        for name in ("a_beats", "b_beats"):
            program = changed(_small(rng), **{name: pattern & 0xFF_FFFF | 1 << 20})
            yield Trial(program, error=Error.READ)
    program = _small(rng)
    command = program.commands[0]
    bus = SHAPE.bus_bytes
    for address in (command.a_address + bus, command.b_address + 2 * bus, command.c_address + bus):
        error = Error.WRITE if address > command.c_address else Error.READ
        yield Trial(program, error=error, fault_word=address // bus)
    yield Trial(changed(program, k_blocks=command.k_blocks + 1), error=Error.LENGTH)
    yield Trial(changed(program, a_words=command.a_words - 1), error=Error.LENGTH)
    yield Trial(changed(program, b_words=command.b_words - 1), error=Error.LENGTH)
    yield Trial(changed(program, a_beats=command.a_beats - 2), error=Error.LENGTH)
    image = replace(program.image, parts=[(a, c.copy()) for a, c in program.image.parts])
    for address, content in image.parts:
        if address == command.b_address:
            content[0] |= 3
    yield Trial(replace(program, image=image), error=Error.FORMAT)
    # More words than a tile needs are dropped.
    operand = gemm(rng, 3, 40, 5, (MX6,), (MX6,))
    longer = compile_gemms([operand], SHAPE, plans=[Schedule(True, 1)])
    more = changed(longer, row_tiles=1, a_beats=longer.commands[0].a_beats + 3)
    yield Trial(more)


def _bad_results(rng):
    """Operands that cannot be stored: where, and as what."""
    program = _storing(rng)
    command, bus = program.commands[0], SHAPE.bus_bytes
    for pattern in PATTERNS:
        where = pattern & ((1 << SHAPE.address_bits) - 1) & -bus
        bad = changed(program, c_address=where)
        yield Trial(bad, error=Error.WRITE, error_address=where)
        # The second row of tiles goes nowhere.
        beats = pattern & 0xFFFF_FFFF
        at = command.c_address + beats * bus & (1 << SHAPE.address_bits) - 1
        bad = changed(program, c_row_beats=beats)
        yield Trial(bad, error=Error.WRITE, error_address=at)
    for word in range(0, 12, 3):
        address = command.c_address + word * bus
        yield Trial(program, error=Error.WRITE, fault_word=address // bus)
    yield Trial(
        program,
        error=Error.READ,
        error_address=command.tags_address,
        fault_word=command.tags_address // bus,
    )
    # Tags of which one is no format's: of a K-block in any group.
    for bit in range(3):
        image = replace(program.image, parts=[(a, c.copy()) for a, c in program.image.parts])
        for address, content in image.parts:
            if address == command.tags_address:
                content[0] |= 3 << 2 * bit
        yield Trial(replace(program, image=image), error=Error.FORMAT)
    for panel, timing in ((8, MemoryTiming(5, 1, 1)), (24, MemoryTiming(30, 1, 3))):
        program = _storing(rng, 9, panel=panel)
        for cycles in range(120, 900, 130):
            yield Trial(program, timing, error=None, stop_after=cycles)


def _stopped(rng):
    """Programs of many tiles, that run into what is no tile, and programs stopped on the way."""
    timing = random_timing(rng)
    for values in (
        {"row_tiles": 0x8001},
        {"row_tiles": 0x5556},
        {"col_tiles": 0x8001},
        {"col_tiles": 0x2AAA},
    ):
        for b in (0, 1):
            program = changed(
                _small(rng, steps=()), stationary_b=b, c_row_beats=0, c_col_beats=0, **values
            )
            yield Trial(program, timing, error=None, stop_after=700)
    flood = compile_gemms([gemm(rng, 6, 16, 40, (MX4,), (MX4,))], SHAPE, plans=[Schedule(True, 20)])
    for cycles in range(150, 360, 15):
        timing = MemoryTiming(60 + cycles % 2, 1, 1 + cycles % 4)
        yield Trial(flood, timing, Error.STOPPED, stop_after=cycles)
    for cycles in (3, 11, 60, 150, 231):
        program = _small(rng)
        yield Trial(program, error=Error.STOPPED, stop_after=cycles)


def _too_many(rng):
    """Counts with one high bit: who forgets it ends too early."""
    program = _small(rng, steps=())
    for bit in range(4, 16):
        count = 1 + (1 << bit)
        yield Trial(changed(program, k_blocks=count), error=Error.LENGTH)
        for name in ("row_tiles", "col_tiles"):
            values = {name: count, "stationary_b": bit % 2, "c_row_beats": 0, "c_col_beats": 0}
            other = "col_tiles" if name == "row_tiles" else "row_tiles"
            yield Trial(changed(program, **values, **{other: 1}), error=None, stop_after=300)
