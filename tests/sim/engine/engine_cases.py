"""Random programs for the engine, and what they must give."""

from dataclasses import dataclass, replace

import nan_blocks
import numpy as np

from mixdit_sim.engine.model.engine import predict
from mixdit_sim.engine.model.parts import MemoryTiming
from mixdit_sim.engine.rtl import program_job, run_jobs
from mixdit_sw.engine.commands import COMMAND_WORDS, STEPS, Error, command_bytes
from mixdit_sw.engine.compiler import LayerGemm, Program, compile_gemms, schedules
from mixdit_sw.engine.registers import Register, Status
from mixdit_sw.formats import MX4, MX6, MX9
from mixdit_sw.gemm.epilogue import apply_epilogue, to_bf16
from mixdit_sw.gemm.fast import golden_gemm
from mixdit_sw.gemm.kinds import parse_kind
from mixdit_sw.mixed import quantize_mixed


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
    blocks = -(-k // 16)
    palette = [(MX6,), (MX9,), (MX4,), (MX9, MX6), (MX9, MX6, MX4)][rng.integers(5)]
    formats = tuple(palette[i] for i in rng.integers(len(palette), size=blocks))
    return quantize_mapped(numbers(rng, (rows, k)), formats)


def quantize_mapped(x, formats):
    """Quantize by a map of formats."""
    return quantize_mixed(x, [formats]).operands[0]


def random_gemm(rng, config, largest):
    m, n = (int(v) for v in rng.integers(1, largest[0] + 1, 2))
    k = int(rng.integers(1, largest[1] + 1))
    on = {step for step in config.steps if rng.random() < 0.4}
    sizes = {"row_scale": (m,), "col_scale": (n,), "bias": (n,), "residual": (m, n)}
    return LayerGemm(
        a=operand(rng, m, k),
        b=operand(rng, n, k),
        bf16=bool(rng.random() < 0.3),
        **{step: numbers(rng, sizes[step]) for step in STEPS if step in on},
    )


def random_timing(rng):
    """A memory: slow or fast, narrow or wide."""
    price = int(rng.integers(1, 8))
    gain = int(rng.integers(1, 2 * price + 1))
    return MemoryTiming(int(rng.choice([0, 1, 7, 40, 150])), gain, price)


def random_case(rng, config, largest=(12, 120), gemms=3):
    found = [random_gemm(rng, config, largest) for _ in range(rng.integers(1, gemms + 1))]
    plans = []
    for gemm in found:
        possible = schedules(gemm.size, config.shape)
        plans.append(possible[rng.integers(len(possible))] if rng.random() < 0.8 else None)
    program = compile_gemms(found, config.shape, plans=plans)
    waits = [bool(rng.random() < 0.2) for _ in program.commands[:-1]]
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


def expected(gemm, kind):
    """C as the engine must store it, float32."""
    c = golden_gemm(gemm.a, gemm.b, kind)
    c = apply_epilogue(
        c,
        row_scale=gemm.row_scale,
        col_scale=gemm.col_scale,
        bias=gemm.bias,
        residual=gemm.residual,
    )
    if gemm.bf16:
        c = (to_bf16(c).astype(np.uint32) << 16).view(np.float32)
    return c


def check(config, cases, *, simulator):
    """Run cases on the simulated engine: results bit for bit, counters exactly."""
    jobs = [program_job(case.program, case.timing) for case in cases]
    results = run_jobs(config, jobs, simulator=simulator)
    for number, (case, result) in enumerate(zip(cases, results, strict=True)):
        check_result(config, case, result, number)


def check_result(config, case, result, label):
    """Compare what a program's run left: results bit for bit, counters exactly."""
    kind = parse_kind(config.array.accumulator)
    outcome, commands = result.outcome, case.program.commands
    assert outcome.error == Error.NONE, (label, outcome)
    assert outcome.error_address == 0, (label, outcome)
    for index, gemm in enumerate(case.gemms):
        c = case.program.result(result.memory, index).view(np.uint32)
        golden = expected(gemm, kind).view(np.uint32)
        assert (c == golden).all(), (label, index, gemm.size, commands[index])
    predicted = predict(config, case.program, case.timing)
    loaded = zip(case.gemms, commands, strict=False)
    nans = sum(nan_blocks.count(gemm, command, config.shape) for gemm, command in loaded)
    predicted[Register.NAN_BLOCKS] = nans
    assert outcome.counters == predicted, (label, case.timing, commands)
    assert result.status == Status.DONE | (Status.NAN if nans else 0), (label, result.status)
