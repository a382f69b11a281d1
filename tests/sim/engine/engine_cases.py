"""Random programs for the engine, and what they must give."""

from dataclasses import dataclass, replace

import nan_blocks
import numpy as np

from mixdit_sim.engine.model.engine import predict
from mixdit_sim.engine.model.parts import MemoryTiming
from mixdit_sim.engine.rtl import program_job, run_jobs
from mixdit_sw.engine.commands import COMMAND_WORDS, STEPS, Error, command_bytes
from mixdit_sw.engine.compiler import Program, compile_gemms
from mixdit_sw.engine.gemm import LayerGemm
from mixdit_sw.engine.golden import golden_layer
from mixdit_sw.engine.layout import pack_operand
from mixdit_sw.engine.parts import in_parts
from mixdit_sw.engine.registers import Register, Status
from mixdit_sw.engine.schedule import schedules
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import MX4, MX6, MX9
from mixdit_sw.gemm.epilogue import to_bf16
from mixdit_sw.gemm.kinds import parse_kind
from mixdit_sw.mixed import quantize_mixed

PATIENCE = 250_000
"""Cycles that no case comes near."""


@dataclass
class Case:
    """GEMMs of a program, its memory."""

    gemms: list[LayerGemm]
    program: Program
    timing: MemoryTiming


def numbers(rng, shape):
    """Float32 of widely different magnitudes, a few zeros, Inf and NaN."""
    x = rng.normal(size=shape) * np.exp2(rng.integers(-20, 20, shape))
    x[rng.random(shape) < 0.1] = 0
    x[rng.random(shape) < 0.002] = np.inf
    x[rng.random(shape) < 0.002] = np.nan
    return x.astype(np.float32)


def operand(rng, rows, k):
    """An operand with a random format for each K-block."""
    return quantize_mapped(numbers(rng, (rows, k)), random_formats(rng, -(-k // 16)))


def quantize_mapped(x, formats):
    """Quantize by a map of formats."""
    return quantize_mixed(x, [formats]).operands[0]


def random_formats(rng, blocks):
    palette = [(MX6,), (MX9,), (MX4,), (MX9, MX6), (MX9, MX6, MX4)][rng.integers(5)]
    return tuple(palette[i] for i in rng.integers(len(palette), size=blocks))


def random_gemm(rng, config, largest, source=None, columns=None):
    """A GEMM; with a source, one whose A is what that stores.

    With `columns`, a result that is stored as an operand has as many at most.
    """
    m, n = (int(v) for v in rng.integers(1, largest[0] + 1, 2))
    k = int(rng.integers(1, largest[1] + 1))
    a, number = None, None
    if source is not None:
        number, a = source
        m, k = a.rows, a.k
    as_operand = None
    if rng.random() < 0.4:
        n = int(rng.integers(1, columns + 1)) if columns else n
        as_operand = random_formats(rng, -(-n // 16))
    on = {step for step in config.steps if rng.random() < 0.4}
    sizes = {"row_scale": (m,), "col_scale": (n,), "bias": (n,), "residual": (m, n)}
    return LayerGemm(
        a=a or operand(rng, m, k),
        a_source=number,
        b=operand(rng, n, k),
        bf16=bool(as_operand is None and rng.random() < 0.3),
        as_operand=as_operand,
        **{step: numbers(rng, sizes[step]) for step in STEPS if step in on},
    )


def random_timing(rng):
    """A memory: slow or fast, narrow or wide."""
    price = int(rng.integers(1, 8))
    gain = int(rng.integers(1, 2 * price + 1))
    return MemoryTiming(int(rng.choice([0, 1, 7, 40, 150])), gain, price)


def random_case(rng, config, largest=(12, 120), gemms=3, operands=True, columns=None):
    """A program; with `operands`, some of its results are stored as operands of others."""
    kind = parse_kind(config.array.accumulator)
    found, plans = [], []
    for _ in range(rng.integers(1, gemms + 1)):
        source = None
        stored = [i for i, gemm in enumerate(found) if gemm.as_operand]
        if stored and rng.random() < 0.7:
            c = expected(found[stored[-1]], kind, config.shape)
            source = stored[-1], quantize_mapped(c, found[stored[-1]].as_operand)
        gemm = random_gemm(rng, config, largest, source, columns)
        if not operands:
            gemm = replace(gemm, as_operand=None)
        try:
            possible = schedules(gemm.size, config.shape)
        except MixditError:
            continue  # a tile, or a group of them, does not fit the buffers
        found.append(gemm)
        plans.append(possible[rng.integers(len(possible))] if rng.random() < 0.8 else None)
    program = compile_gemms(found, config.shape, plans=plans)
    waits = [bool(rng.random() < 0.2) for _ in program.commands[:-1]]
    waits = [w or c.wait for w, c in zip(waits, program.commands, strict=False)]
    program = with_waits(program, waits)
    return Case(found, program, random_timing(rng))


def with_waits(program, waits):
    """The program, with the wait bit of some commands set."""
    commands = [
        replace(c, wait=int(w)) for c, w in zip(program.commands, [*waits, False], strict=True)
    ]
    words = np.zeros((len(commands), command_bytes(program.shape.bus_bytes) // 4), np.uint32)
    for row, command in zip(words, commands, strict=True):
        row[:COMMAND_WORDS] = command.pack()
    image = program.image
    image.parts = [part for part in image.parts if part[0] != program.list_address]
    image.parts.append((program.list_address, words.view(np.uint8).reshape(-1)))
    return replace(program, commands=commands)


def steps_of(gemm):
    return {step: getattr(gemm, step) for step in STEPS}


def with_rows(x, rows):
    """The operand, completed by rows of zero blocks."""
    names = ("codes", "exponents", "micro_exponents")
    arrays = {name: getattr(x, name) for name in names}
    longer = {
        name: np.pad(v, [(0, rows - x.rows)] + [(0, 0)] * (v.ndim - 1))
        for name, v in arrays.items()
    }
    return replace(x, **longer)


def real_rows(stored, size, shape):
    """The stored blocks of each K-block, uint8 (m, bytes), without those of rows past the end.

    They are what computing gives for them, and a chain of GEMMs computes with them.
    """
    formats = size.stored_formats(shape)
    at, found = shape.bus_bytes, []
    for start in range(0, len(formats), shape.group):
        for fmt in formats[start : start + shape.group]:
            length = shape.slice_bytes(fmt, False)
            part = stored[:, at : at + length].reshape(-1, fmt.row_bytes(16))
            found.append(part[: size.m])
            at += length
        at += -at % shape.bus_bytes
    return found


def expected_operand(gemm, kind, shape):
    """The bytes of C as an operand, with the rows and columns that complete its tiles."""
    rows, cols = gemm.size.tiles(shape)
    a, b = with_rows(gemm.a, rows * shape.rows), with_rows(gemm.b, cols * shape.cols)
    full = a.rows, b.rows
    padded = {}
    for step, x in steps_of(gemm).items():
        if x is not None:
            size = {"row_scale": full[:1], "residual": full}.get(step, full[1:])
            padded[step] = np.zeros(size, np.float32)
            padded[step][tuple(slice(n) for n in x.shape)] = x
    c = golden_layer(replace(gemm, a=a, b=b, **padded), kind, shape)
    c = quantize_mapped(c, gemm.size.stored_formats(shape))
    return pack_operand(c, shape, is_b=False)


def expected(gemm, kind, shape):
    """C as the engine must store it, float32."""
    c = golden_layer(gemm, kind, shape)
    if gemm.bf16:
        c = (to_bf16(c).astype(np.uint32) << 16).view(np.float32)
    return c


def check(config, cases, *, simulator):
    """Run cases on the simulated engine: results bit for bit, counters exactly."""
    jobs = [replace(program_job(case.program, case.timing), patience=PATIENCE) for case in cases]
    results = run_jobs(config, jobs, simulator=simulator)
    for number, (case, result) in enumerate(zip(cases, results, strict=True)):
        check_result(config, case, result, number)


def check_gemm(config, program, index, gemm, memory, label):
    """Compare the result that a GEMM left in memory, bit for bit."""
    kind, shape = parse_kind(config.array.accumulator), config.shape
    if gemm.as_operand is None:
        c = program.result(memory, index).view(np.uint32)
        assert (c == expected(gemm, kind, shape).view(np.uint32)).all(), label
        return
    stored, golden = program.operand(memory, index), expected_operand(gemm, kind, shape)
    for x, y in zip(*(real_rows(rows, gemm.size, shape) for rows in (stored, golden)), strict=True):
        assert np.array_equal(x, y), label


def check_result(config, case, result, label):
    """Compare what a program's run left: results bit for bit, counters exactly."""
    outcome, commands = result.outcome, case.program.commands
    assert outcome.error == Error.NONE, (label, outcome)
    assert outcome.error_address == 0, (label, outcome)
    for index, gemm in enumerate(case.gemms):
        what = (label, index, gemm.size, commands)
        check_gemm(config, case.program, index, gemm, result.memory, what)
    predicted = predict(config, case.program, case.timing)
    loaded = zip(in_parts(case.gemms, config.shape)[0], commands, strict=False)
    if any(gemm.a_source is not None for gemm in case.gemms):
        # What a chain has in rows past the end is counted, but is not in the golden operands.
        nans = outcome.counters[Register.NAN_BLOCKS]
    else:
        nans = sum(nan_blocks.count(gemm, command, config.shape) for gemm, command in loaded)
    predicted[Register.NAN_BLOCKS] = nans
    assert outcome.counters == predicted, (label, case.timing, commands)
    assert result.status == Status.DONE | (Status.NAN if nans else 0), (label, result.status)
