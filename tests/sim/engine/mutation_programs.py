"""Programs that are to tell an engine from its mutants: good ones, and bad ones of every kind."""

from dataclasses import dataclass, field, replace

import numpy as np
from engine_cases import Case, numbers, quantize_mapped, random_case, random_timing, with_waits
from epilogue_cases import as_float32, as_words
from epilogue_cases import numbers as hard_numbers

from mixdit_sim.engine.model.parts import MemoryTiming
from mixdit_sw.engine.commands import ADDRESSES, COMMAND_WORDS, Error, Opcode, command_bytes
from mixdit_sw.engine.compiler import LayerGemm, Program, compile_gemms
from mixdit_sw.engine.schedule import Schedule
from mixdit_sw.formats import MX4, MX6, MX9
from mixdit_sw.gemm.epilogue import apply_epilogue
from mixdit_sw.gemm.fast import golden_gemm
from mixdit_sw.gemm.kinds import parse_kind

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
    list_address : int, optional
        Instead of the program's.
    fault_word : int, optional
        Bus word at which the memory fails.
    stop_after : int, optional
        Cycles after which it is stopped.
    origin : int
        Byte address of the memory's first word.
    """

    program: Program
    timing: MemoryTiming = field(default_factory=lambda: MemoryTiming(5, 1, 1))
    error: Error | None = Error.NONE
    error_address: int | None = None
    case: Case | None = None
    list_address: int | None = None
    fault_word: int | None = None
    stop_after: int | None = None
    origin: int = 0


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


def gemm(rng, m, k, n, a_formats, b_formats, *, steps=(), bf16=False):
    """A GEMM with formats repeated along K."""
    blocks = -(-k // 16)
    sizes = {"row_scale": (m,), "col_scale": (n,), "bias": (n,), "residual": (m, n)}
    cycle = [
        tuple(formats[i % len(formats)] for i in range(blocks))
        for formats in (a_formats, b_formats)
    ]
    return LayerGemm(
        a=quantize_mapped(numbers(rng, (m, k)), cycle[0]),
        b=quantize_mapped(numbers(rng, (n, k)), cycle[1]),
        bf16=bf16,
        **{step: numbers(rng, sizes[step]) for step in steps},
    )


def hard_epilogue(rng, size, *formats):
    """A GEMM whose epilogue rounds, cancels, overflows and underflows everywhere."""
    plain = gemm(rng, size, 32, size, *formats)
    c = golden_gemm(plain.a, plain.b, KIND)
    # Rows in the middle, and at both ends of the exponents.
    target = rng.choice([127, 127, 4, 250], size)
    middle = np.median(as_words(c) >> 23 & 255, axis=1).astype(np.int64)
    row_scale = hard_words(target + 127 - middle, rng)
    col_scale = hard_words(rng.integers(124, 131, size), rng)
    scaled = {"row_scale": as_float32(row_scale), "col_scale": as_float32(col_scale)}
    c = apply_epilogue(c, **scaled)
    bias = as_float32(hard_words(near_exponents(c, rng)[rng.integers(size)], rng))
    c = apply_epilogue(c, bias=bias)
    opposite = as_words(c) ^ np.uint32(1 << 31) ^ rng.integers(0, 9, c.shape, dtype=np.uint32)
    residual = hard_words(near_exponents(c, rng), rng)
    residual = np.where(rng.random(c.shape) < 0.3, opposite, residual).astype(np.uint32)
    return replace(plain, **scaled, bias=bias, residual=as_float32(residual))


def near_exponents(c, rng):
    """Biased exponents at most a significand below those of c."""
    gaps = rng.choice([-1, 0, 0, 1, 2, 3, 5, 9, 14, 20, 23, 24, 25, 26, 30], c.shape)
    return (as_words(c) >> 23 & 255).astype(np.int64) - gaps


def hard_words(exponents, rng):
    """FP32 words of such exponents, as far as there are."""
    return hard_numbers(np.clip(exponents, 1, 254), rng)


def moved(program, origin):
    """The program with other addresses in its list."""
    mask = (1 << SHAPE.address_bits) - 1
    commands = [
        replace(c, **{name: getattr(c, name) + origin & mask for name in ADDRESSES})
        if c.opcode == Opcode.GEMM
        else c
        for c in program.commands
    ]
    return with_commands(program, commands)


def good(case, origin=0):
    """A trial that runs to its end, on a memory at some address."""
    at = case.program.list_address + origin & (1 << SHAPE.address_bits) - 1
    return Trial(
        moved(case.program, origin), case.timing, case=case, list_address=at, origin=origin
    )


def planned(gemms, plans, timing, waits=()):
    """A case of GEMMs with given schedules."""
    program = compile_gemms(gemms, SHAPE, plans=plans)
    program = with_waits(program, [*waits, *[False] * (len(gemms) - len(waits))])
    return Case(gemms, program, timing)


def trials(config, seed=0):
    """Return all trials, the quickest to tell mutants apart first."""
    global SHAPE, KIND
    SHAPE, KIND = config.shape, parse_kind(config.array.accumulator)
    rng = np.random.default_rng(seed)
    found = [good(case, ORIGINS[n % len(ORIGINS)]) for n, case in enumerate(_good(rng, config))]
    return [*found, *_bad_lists(rng), *_bad_memory(rng), *_stopped(rng), *_too_many(rng)]


def _good(rng, config):
    mixed = (MX9, MX6, MX4)
    first = [
        gemm(rng, 5, 50, 5, mixed, (MX6, MX9), steps=STEPS),
        gemm(rng, 3, 40, 4, (MX6,), (MX4, MX9), steps=STEPS[::2], bf16=True),
    ]
    yield planned(first, [Schedule(False, 2), Schedule(True, 1)], MemoryTiming(7, 1, 1))
    # Many panels, both ways; then sections of more K-blocks than a header has tags.
    walks = [
        gemm(rng, 9, 17, 7, mixed, (MX9,), steps=("residual",)),
        gemm(rng, 7, 33, 9, (MX4, MX6), mixed, steps=("row_scale", "bias")),
    ]
    yield planned(walks, [Schedule(False, 2), Schedule(True, 2)], MemoryTiming(0, 2, 1), [0, 1])
    long = [gemm(rng, 3, 16 * 70, 3, (MX6,), (MX6, MX4), bf16=True)]
    yield planned(long, [Schedule(False, 1)], MemoryTiming(40, 3, 2))
    # Three GEMMs, one behind the other without waiting, on a memory that is the bottleneck.
    row = [gemm(rng, 4, 16, 4, (MX9,), (MX9,), steps=STEPS[i:]) for i in range(3)]
    yield planned(row, [Schedule(True, 2)] * 3, MemoryTiming(3, 1, 5))
    # Results are the bottleneck, or the epilogue's operands.
    slow = [gemm(rng, 8, 16, 8, (MX6,), (MX6,), steps=STEPS)]
    yield planned(slow, [Schedule(False, 4)], MemoryTiming(150, 1, 7))
    for b, formats in ((False, ((MX9,), (MX6,))), (True, ((MX4,), (MX4, MX9)))):
        plan = [Schedule(b, 3)]
        yield planned([hard_epilogue(rng, 24, *formats)], plan, MemoryTiming(2, 2, 1))
    # Sums of many sizes; tiles that nearly fill a buffer; more tiles than a byte counts.
    sums = [gemm(rng, 16, 96, 16, (MX9,), (MX9, MX6))]
    yield planned(sums, [Schedule(False, 2)], MemoryTiming(2, 2, 1))
    deep = [gemm(rng, 2, 16 * k, 2, (a,), (b,)) for k, a, b in ((63, MX6, MX4), (31, MX9, MX6))]
    yield planned(deep, [Schedule(False, 1), Schedule(True, 1)], MemoryTiming(1, 2, 1))
    for size, plans in (
        ((1022, 2), ((True, 1), (False, 5))),
        ((2, 1022), ((True, 83), (False, 1))),
    ):
        many = gemm(rng, size[0], 16, size[1], (MX4,), (MX4,), bf16=True)
        for plan in plans:
            yield planned([many], [Schedule(*plan)], MemoryTiming(1, 2, 1))
    # More bursts without response than the writer has room for.
    flood = [gemm(rng, 10, 16, 80, (MX4,), (MX4,))]
    yield planned(flood, [Schedule(True, 40)], MemoryTiming(150, 2, 1))
    for _ in range(8):
        yield random_case(rng, config, (9, 90), 2)


def _small(rng, **options):
    options = {"steps": STEPS, **options}
    gemms = [gemm(rng, 3, 40, 5, (MX6, MX9), (MX9, MX4), **options)]
    return compile_gemms(gemms, SHAPE, plans=[Schedule(False, 1)])


def _bad_lists(rng):
    """Lists that are refused."""
    program = _small(rng)
    depth = SHAPE.a_words
    at = program.list_address
    too_far = 1 << SHAPE.address_bits
    bad = [
        ({"opcode": 3}, Error.OPCODE),
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
    words = np.frombuffer(
        np.concatenate([command.pack() for command in program.commands]).tobytes(), np.uint32
    ).reshape(-1, COMMAND_WORDS)
    for word, bit in ((0, 16), (0, 31), (4, 24), (5, 31), (22, 0), (27, 13), (31, 31)):
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
            program = changed(_small(rng), stationary_b=int(name == "b_address"), **{name: where})
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
