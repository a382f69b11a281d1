"""Conversion of a drained accumulator against exact rounding."""

import random

import pytest
from amaranth.sim import Simulator

from mixdit_hw.config import ArrayConfig
from mixdit_hw.pe.aligned import state_layout
from mixdit_hw.pe.to_fp32 import ToFp32
from mixdit_sw.gemm.reference import NAN_BITS, round_fp32


def cases(kind, count, rng):
    """Significands of all lengths, ties, carries into the next exponent, both ends."""
    f, q = kind.significand_bits, kind.step_bits
    for _ in range(count):
        s = rng.getrandbits(rng.randrange(1, f))
        s = rng.choice([s, s, 0, (1 << (f - 1)) - 1, (rng.getrandbits(24) * 2 + 1) << 4])
        s = min(s, (1 << (f - 1)) - 1) * rng.choice([1, -1])
        near = rng.choice([-149 - s.bit_length(), 128 - s.bit_length()]) // q
        window = rng.choice([rng.randrange(-280 // q, 280 // q), near + rng.randrange(-3, 4)])
        yield s, window, rng.random() < 0.05


@pytest.mark.parametrize("name", ["aligned40", "aligned33x4", "aligned25x2", "aligned48x16"])
def test_rounds_once_and_takes_two_cycles(name):
    config = ArrayConfig(rows=8, cols=8, accumulator=name).pe_accumulator
    kind, q = config.kind, config.kind.step_bits
    layout = state_layout(kind, config.exponent_bits)
    inputs = list(cases(kind, 4000, random.Random(2)))
    dut, found = ToFp32(config), []

    async def drive(ctx):
        for s, window, nan in inputs + inputs[: ToFp32.LATENCY]:
            state = {"significand": s, "window": window + kind.guard_bits // q, "nan": nan}
            ctx.set(dut.i.as_value(), layout.const(state).as_value().value)
            await ctx.tick()
            found.append(ctx.get(dut.o.as_value()))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()
    results = found[ToFp32.LATENCY - 1 :][: len(inputs)]
    for (s, window, nan), bits in zip(inputs, results, strict=True):
        expected = NAN_BITS if nan else round_fp32(s, q * window)
        assert bits == expected, (s, window, hex(bits), hex(expected))
