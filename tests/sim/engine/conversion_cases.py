"""Random programs with conversions from memory to memory, and what they must give."""

from dataclasses import replace

import numpy as np
from engine_cases import (
    PATIENCE,
    Case,
    check_gemm,
    expected,
    numbers,
    operand,
    quantize_mapped,
    random_formats,
    random_timing,
    real_rows,
)

from mixdit_sim.engine.model.engine import predict
from mixdit_sim.engine.rtl import program_job, run_jobs
from mixdit_sw.codec.pack import pack
from mixdit_sw.engine.commands import Error
from mixdit_sw.engine.compiler import compile_gemms
from mixdit_sw.engine.convert import LayerConvert
from mixdit_sw.engine.gemm import LayerGemm
from mixdit_sw.engine.registers import Register
from mixdit_sw.gemm.kinds import parse_kind


def random_order(rng, n):
    """None, MixDiT's order, a few swaps, or anything."""
    match rng.integers(4):
        case 0:
            return None
        case 1:
            high = np.sort(rng.choice(n, min(n, 16), replace=False))
            order = np.concatenate([high, np.setdiff1d(np.arange(n), high)])
        case 2:
            order = np.arange(n)
            order[: n // 2] = order[: n // 2][::-1]
        case _:
            order = rng.permutation(n)
    return tuple(int(channel) for channel in order)


def random_conversion(rng, config, source, largest):
    """A conversion of numbers, or of what a GEMM (its number, C, whether BF16) stores."""
    transposed = bool(config.transposes and rng.random() < 0.7)
    number, x, bf16 = None, None, bool(rng.random() < 0.4)
    if source is None:
        x = numbers(rng, tuple(int(v) for v in rng.integers(1, [largest[0], largest[1]])))
        x = x.T.copy() if transposed else x
        m, n = x.shape[:: -1 if transposed else 1]
    else:
        number, c, bf16 = source
        m, n = c.shape[:: -1 if transposed else 1]
    return LayerConvert(
        x=x,
        source=number,
        shape=(m, n),
        formats=random_formats(rng, -(-n // 16)),
        transposed=transposed,
        order=random_order(rng, n) if transposed else None,
        bf16=bf16,
    )


def random_layers(rng, config, largest):
    """Conversions, GEMMs before some of them, and GEMMs that read what they store."""
    kind = parse_kind(config.array.accumulator)
    layers, operands = [], []
    for _ in range(rng.integers(1, 4)):
        source = None
        if rng.random() < 0.5:
            m, n, k = (int(v) for v in rng.integers(1, [largest[0], largest[0], 40]))
            gemm = LayerGemm(
                a=operand(rng, m, k), b=operand(rng, n, k), bf16=bool(rng.random() < 0.4)
            )
            source = len(layers), expected(gemm, kind, config.shape), gemm.bf16
            layers.append(gemm)
        layer = random_conversion(rng, config, source, largest)
        made = layer.operand(source[1] if source else layer.x)
        number = len(layers)
        layers.append(layer)
        operands.append((number, made))
        if rng.random() < 0.7:
            as_b = bool(config.array.rows == config.array.cols and rng.random() < 0.5)
            rows = int(rng.integers(1, largest[0]))
            x = numbers(rng, (rows, made.k))
            if layer.order is not None:
                x = x[:, list(layer.order)]
            other = quantize_mapped(x, random_formats(rng, len(made.formats)))
            other = replace(other, order=made.order)
            a, b = (other, made) if as_b else (made, other)
            sources = {"b_source" if as_b else "a_source": number}
            layers.append(LayerGemm(a=a, b=b, **sources))
    return layers, dict(operands)


def random_conversion_case(rng, config, largest=(12, 100)):
    """A program, and the operands that its conversions make."""
    layers, operands = random_layers(rng, config, largest)
    return Case(layers, compile_gemms(layers, config.shape), random_timing(rng)), operands


def check_conversions(config, cases, *, simulator):
    """Run cases on the simulated engine: results bit for bit, counters exactly."""
    jobs = [replace(program_job(c.program, c.timing), patience=PATIENCE) for c, _ in cases]
    results = run_jobs(config, jobs, simulator=simulator)
    for number, ((case, operands), result) in enumerate(zip(cases, results, strict=True)):
        check_conversion(config, case, operands, result, number)


def check_memory(config, case, operands, memory, label):
    """Compare all results that a program left in memory, those of conversions too."""
    shape = config.shape
    for index, layer in enumerate(case.gemms):
        what = (label, index, layer.size)
        if isinstance(layer, LayerConvert):
            stored = real_rows(case.program.operand(memory, index), layer.size, shape)
            golden = golden_blocks(operands[index], layer.size.stored_formats(shape))
            # Past its channels a result has what computing gives for them.
            count = None if layer.x is not None else len(layer.formats)
            for x, y in zip(stored[:count], golden[:count], strict=True):
                assert np.array_equal(x, y), what
            continue
        check_gemm(config, case.program, index, layer, memory, what)


def check_conversion(config, case, operands, result, label):
    """Compare what a run left in memory, and its counters."""
    assert result.outcome.error == Error.NONE, (label, result.outcome)
    check_memory(config, case, operands, result.memory, label)
    predicted = predict(config, case.program, case.timing)
    predicted[Register.NAN_BLOCKS] = result.outcome.counters[Register.NAN_BLOCKS]
    assert result.outcome.counters == predicted, (label, case.timing, case.program.commands)


def golden_blocks(x, formats):
    """The stored blocks of each K-block, and of those that complete the last group."""
    missing = len(formats) - len(x.formats)
    parts = [x]
    if missing:
        zeros = np.zeros((x.codes.shape[0], 16 * missing), np.float32)
        parts.append(quantize_mapped(zeros, formats[-missing:]))
    return [
        pack(part.blocks(slice(k, k + 1)), fmt)
        for part in parts
        for k, fmt in enumerate(part.formats)
    ]
