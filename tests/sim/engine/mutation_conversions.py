"""Programs with conversions that are to tell an engine from its mutants."""

from dataclasses import replace

import numpy as np
from conversion_cases import random_conversion_case
from engine_cases import Case, expected, numbers, quantize_mapped
from mutation_gemms import along, edge_words, gemm
from mutation_trial import CONFIG, KIND, PATTERNS, SHAPE, STEPS, Trial, changed

from mixdit_sim.engine.model.parts import MemoryTiming
from mixdit_sw.engine.commands import Error
from mixdit_sw.engine.compiler import LayerGemm, compile_gemms
from mixdit_sw.engine.convert import LayerConvert
from mixdit_sw.formats import MX4, MX6, MX9

MIXED = (MX9, MX6, MX4)
QUICK = MemoryTiming(2, 4, 1)
FAR_ROWS = (0x1555_5540, 0x2AAA_AA80)


def conversion_cases(rng):
    """Yield programs that run to their end, with the operands that their conversions make."""
    yield from _orders(rng)
    yield from _chains(rng)
    yield _many(rng)
    for far in FAR_ROWS:
        for bf16 in (False, True):
            yield _from_behind(rng, far, bf16=bf16)
    for formats in ((MX9,), (MX6,), (MX4,), MIXED):
        x = edge_words(rng, 40, 64)
        yield _case([convert(x, formats), convert(x.T.copy(), formats, transposed=True)], QUICK)
    for _ in range(6):
        yield random_conversion_case(rng, CONFIG, (9, 90))


def convert(x, formats, **options):
    """A conversion of a matrix with formats repeated along its channels."""
    channels = x.shape[0 if options.get("transposed") else 1]
    return LayerConvert(x=x, formats=along(formats, channels), **options)


def read_as(made, number, rng, rows, formats, *, as_b=False, **options):
    """A GEMM that reads what the conversion of a number makes, as A or as B."""
    other = quantize_mapped(numbers(rng, (rows, made.k)), along(formats, made.k))
    other = replace(other, order=made.order)
    a, b = (other, made) if as_b else (made, other)
    return LayerGemm(a=a, b=b, **{"b_source" if as_b else "a_source": number}, **options)


def _case(layers, timing, sources=None):
    """A case and the operands of its conversions; sources: what those read that read results."""
    made = {
        number: layer.operand((sources or {})[number] if layer.x is None else layer.x)
        for number, layer in enumerate(layers)
        if isinstance(layer, LayerConvert)
    }
    return Case(layers, compile_gemms(layers, SHAPE), timing), made


def _orders(rng):
    """As it lies and transposed, FP32 and BF16; rows in order, backwards, in pairs, at random."""
    for bf16 in (False, True):
        n = 50
        orders = (
            None,
            tuple(reversed(range(n))),
            tuple(channel ^ 1 for channel in range(n)),
            tuple(channel ^ 2 if channel < n - 2 else channel for channel in range(n)),
            tuple(int(channel) for channel in rng.permutation(n)),
        )
        x = numbers(rng, (n, 7))
        layers = [convert(x, MIXED, transposed=True, order=o, bf16=bf16) for o in orders]
        layers.append(convert(numbers(rng, (5, 70)), MIXED[::-1], bf16=bf16))
        yield _case(layers, QUICK)
        yield _case(layers[3:], MemoryTiming(9, 1, 2))


def _chains(rng):
    """GEMM, conversion, GEMM: as A and as B, stored as FP32 and BF16, scaled, and once more."""
    for bf16, transposed, as_b in ((0, 1, 1), (1, 0, 0), (1, 1, 0), (0, 0, 1)):
        first = gemm(rng, 18, 20, 19, (MX6,), (MX9, MX4), steps=STEPS, bf16=bool(bf16))
        c = expected(first, KIND, SHAPE)
        m, n = c.shape[:: -1 if transposed else 1]
        order = tuple(int(channel) for channel in rng.permutation(n)) if transposed else None
        turned = LayerConvert(
            source=0,
            shape=(m, n),
            formats=along((MX4, MX9), n),
            transposed=bool(transposed),
            order=order,
            bf16=bool(bf16),
        )
        made = turned.operand(c)
        then = read_as(made, 1, rng, 5, (MX9, MX6), as_b=bool(as_b))
        # A conversion behind it waits for nothing.
        layers = [first, turned, then, convert(numbers(rng, (3, 33)), (MX6,))]
        yield _case(layers, MemoryTiming(7, 1, 1), {1: c})


def _many(rng):
    """As many channels as a table has places; runs of a few rows, and of many."""
    n = 16 * SHAPE.section
    order = np.arange(n)
    order[3::7] = np.roll(order[3::7], 1)
    order = tuple(int(channel) for channel in order)
    layers = [convert(numbers(rng, (n, 3)), (MX4, MX6), transposed=True, order=order, bf16=True)]
    return _case(layers, QUICK)


def _from_behind(rng, far, *, bf16):
    """A conversion whose table counts from so many rows behind its source.

    All entries are negative, each of their bits is 0 in some and 1 in others, and most of them
    follow each other.
    """
    order = np.arange(40)
    order[20:] = rng.permutation(order[20:])
    order = tuple(int(channel) for channel in order)
    layer = convert(numbers(rng, (40, 5)), (MX9, MX6), transposed=True, order=order, bf16=bf16)
    case, made = _case([layer], MemoryTiming(5, 1, 1))
    beats = far // SHAPE.rows_a_beat(narrow=bf16)
    address = case.program.commands[0].residual_address + beats * SHAPE.bus_bytes
    program = changed(case.program, residual_address=address)
    return replace(case, program=with_table(program, lambda table: table - far)), made


def with_table(program, change):
    """The program with another table of its first command."""
    at = program.commands[0].a_address
    parts = [
        (address, change(part.view("<i4")).astype("<i4").view(np.uint8) if address == at else part)
        for address, part in program.image.parts
    ]
    return replace(program, image=replace(program.image, parts=parts))


def bad_conversions(rng):
    """Yield conversions that are refused, or do not end well."""
    yield from _refused(rng)
    yield from _bad_rows(rng)
    yield from _bad_places(rng)
    yield from _stopped(rng)


def _small(rng, *, transposed, bf16=False):
    x = numbers(rng, (40, 5) if transposed else (5, 40))
    return _case([convert(x, (MX9, MX4), transposed=transposed, bf16=bf16)], QUICK)[0].program


def _refused(rng):
    """Commands that are no conversions."""
    for transposed in (False, True):
        program = _small(rng, transposed=transposed)
        at, tiles = program.list_address, program.commands[0].col_tiles
        for values in (
            {"output": 0},
            {"output": 1},
            {"output": 3},
            {"stationary_b": 0},
            *({"steps": 1 << step} for step in range(len(STEPS))),
            *({"panel": tiles ^ 1 << bit} for bit in range(3, 16)),
            {"col_tiles": tiles + 1, "panel": tiles + 1},
            {"col_tiles": 8 * 33, "panel": 8 * 33},
        ):
            yield Trial(changed(program, **values), error=Error.FIELD, error_address=at)
        for name in ("row_tiles", "col_tiles", "panel"):
            values = {name: 0} if name == "row_tiles" else {"col_tiles": 0, "panel": 0}
            yield Trial(changed(program, **values), error=Error.SIZE, error_address=at)
        # Fields of a GEMM mean nothing, but for their addresses.
        others = {"k_blocks": 3, "a_words": 0x7FFF, "b_words": 0x1234, "a_beats": 5}
        yield Trial(changed(program, **others))
        for name in ("b_address", "row_vector_address"):
            bad = changed(program, **{name: 4})
            yield Trial(bad, error=Error.ALIGNMENT, error_address=at)
    plain = compile_gemms([gemm(rng, 3, 40, 5, (MX6,), (MX9,))], SHAPE)
    for name in ("transposed", "source_bf16"):
        bad = changed(plain, **{name: 1})
        yield Trial(bad, error=Error.FIELD, error_address=plain.list_address)


def _bad_rows(rng):
    """Tables of which an entry is of a row that is not there: all of its bits are its address."""
    mask = (1 << SHAPE.address_bits) - 1
    for bf16 in (False, True):
        program = _small(rng, transposed=True, bf16=bf16)
        first = program.commands[0].residual_address
        for place, entry in [
            *((3, pattern & 0xFFFF_FFFF) for pattern in PATTERNS),
            # A row that would follow the one before but for a bit.
            *((6, 6 | 1 << bit) for bit in (16, 19, 22, 25, 28, 31)),
        ]:
            row = entry - (entry >> 31 << 32)
            where = first + row // SHAPE.rows_a_beat(narrow=bf16) * SHAPE.bus_bytes & mask

            def change(table, place=place, row=row):
                other = table.copy()
                other[place] = row
                return other

            yield Trial(with_table(program, change), error=Error.READ, error_address=where)


def _bad_places(rng):
    """Sources, tables, tags and results that are not there."""
    mask = (1 << SHAPE.address_bits) - 1
    for pattern in PATTERNS:
        where = pattern & mask & -SHAPE.bus_bytes
        for transposed in (False, True):
            program = _small(rng, transposed=transposed)
            command = program.commands[0]
            for name in ("a_address", "residual_address", "tags_address", "c_address"):
                if name == "a_address" and not transposed:
                    continue
                error = Error.WRITE if name == "c_address" else Error.READ
                bad = changed(program, **{name: where})
                yield Trial(bad, error=error, error_address=where)
            for name in ("residual_row_beats", "residual_col_beats", "c_row_beats"):
                if name == "residual_col_beats" and transposed:
                    continue
                error = Error.WRITE if name[0] == "c" else Error.READ
                base = command.c_address if name[0] == "c" else command.residual_address
                beats = pattern & 0xFFFF_FFFF
                at = base + beats * SHAPE.bus_bytes & mask
                bad = changed(program, **{name: beats})
                yield Trial(bad, error=error, error_address=at)
            reads = [command.residual_address + 3 * SHAPE.bus_bytes, command.tags_address]
            reads += [command.a_address + 2 * SHAPE.bus_bytes] * transposed
            for at in reads:
                yield Trial(program, error=Error.READ, fault_word=at // SHAPE.bus_bytes)
            yield Trial(
                program,
                error=Error.WRITE,
                fault_word=(command.c_address // SHAPE.bus_bytes) + 4,
            )
            parts = [(a, c.copy()) for a, c in program.image.parts]
            for address, content in parts:
                if address == command.tags_address:
                    content[0] |= 3 << 2
            image = replace(program.image, parts=parts)
            yield Trial(
                replace(program, image=image),
                error=Error.FORMAT,
                error_address=command.tags_address,
            )


def _stopped(rng):
    """Conversions of many tiles, and conversions stopped on the way."""
    for transposed in (False, True):
        program = _small(rng, transposed=transposed, bf16=transposed)
        for bit in (4, 8, 12, 15):
            values = {"row_tiles": 1 + (1 << bit), "residual_row_beats": 0, "c_row_beats": 0}
            yield Trial(changed(program, **values), error=None, stop_after=900)
        for cycles in range(20, 200, 23):
            timing = MemoryTiming(20 + cycles % 3, 1, 1 + cycles % 4)
            yield Trial(program, timing, error=None, stop_after=cycles)
