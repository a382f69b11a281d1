"""GEMMs whose K takes parts: results bit for bit, counters to the cycle."""

from dataclasses import replace

import numpy as np
import pytest
from engine_cases import (
    Case,
    check,
    expected,
    quantize_mapped,
    random_gemm,
    random_timing,
)
from engine_configs import TINY, needs_icarus

from mixdit_sim.engine.rtl import MEMORY_WORDS
from mixdit_sw.engine.compiler import compile_gemms
from mixdit_sw.engine.parts import split_k
from mixdit_sw.gemm.kinds import parse_kind

KIND = parse_kind(TINY.array.accumulator)


def long_case(rng, config, k):
    """A GEMM in parts, perhaps one that adds its result, and one that reads what it stores."""
    first = random_gemm(rng, config, (7, k))
    while len(split_k(first.size, config.shape)) == 1:
        first = random_gemm(rng, config, (7, k))
    gemms = [first]
    if first.as_operand is not None:
        stored = quantize_mapped(expected(first, KIND, config.shape), first.as_operand)
        gemms.append(random_gemm(rng, config, (7, k), source=(0, stored)))
    elif not first.bf16 and rng.random() < 0.5:
        m, n = first.size.m, first.size.n
        shorter = random_gemm(rng, config, (7, 200))
        while (shorter.size.m, shorter.size.n) != (m, n) or shorter.residual is not None:
            shorter = random_gemm(rng, config, (max(m, n), 200))
        residual = expected(first, KIND, config.shape)
        gemms.append(replace(shorter, residual_source=0, residual=residual))
    if rng.random() < 0.5:
        gemms.append(random_gemm(rng, config, (7, 100)))
    program = compile_gemms(gemms, config.shape)
    return Case(gemms, program, random_timing(rng))


def long_cases(config, count, seed, k=1500):
    """Programs that fit the smallest memory, which all tests share."""
    rng, cases = np.random.default_rng(seed), []
    while len(cases) < count:
        case = long_case(rng, config, k)
        if case.program.image.size <= MEMORY_WORDS * config.bus_bytes:
            cases.append(case)
    assert max(len(case.program.commands) for case in cases) > 3
    return cases


def test_long_k():
    check(TINY, long_cases(TINY, 16, seed=1), simulator="verilator")


@needs_icarus
def test_long_k_on_icarus():
    check(TINY, long_cases(TINY, 2, seed=2), simulator="icarus")


@pytest.mark.heavy
def test_much_long_k():
    check(TINY, long_cases(TINY, 150, seed=3, k=2500), simulator="verilator")
