"""Multiplier and adder against the golden epilogue, with pauses and faults."""

import random

import numpy as np
import pytest
from amaranth.hdl import Cat, Const
from amaranth.sim import Simulator
from epilogue_cases import SPECIAL, addend_pairs, any_words, as_float32, factor_pairs, product_ties

from mixdit_hw.epilogue import add, block_multiply, carry_save, multiply, rounding
from mixdit_hw.epilogue.add import Fp32Add
from mixdit_hw.epilogue.block_multiply import Fp32BlockMultiply
from mixdit_hw.epilogue.multiply import Fp32Multiply
from mixdit_sw.gemm.epilogue import apply_epilogue

UNITS = {
    "multiply": (Fp32Multiply, "col_scale", factor_pairs),
    "block_multiply": (Fp32BlockMultiply, "col_scale", factor_pairs),
    "add": (Fp32Add, "bias", addend_pairs),
}


def cases(unit, seed=0):
    """Pairs of words made for the unit, ties, any words, all pairs of special ones."""
    rng = np.random.default_rng(seed)
    parts = [
        UNITS[unit][2](1500, rng),
        product_ties(200, rng),
        (any_words(300, rng), any_words(300, rng)),
        tuple(x.ravel() for x in np.meshgrid(SPECIAL, SPECIAL)),
    ]
    return tuple(np.concatenate(words) for words in zip(*parts, strict=True))


def run(dut, a, b, on, advance=1.0):
    """Feed a pair in each advance; return the words that come LATENCY advances later."""
    found, rng = [], random.Random(0)
    inputs = list(zip(a.tolist(), b.tolist(), on, strict=True))

    async def drive(ctx):
        for x, y, is_on in inputs + inputs[: dut.LATENCY - 1]:
            while rng.random() >= advance:
                ctx.set(dut.advance, 0)
                ctx.set(dut.a.as_value(), rng.getrandbits(32))
                await ctx.tick()
            ctx.set(dut.advance, 1)
            ctx.set(dut.a.as_value(), x)
            ctx.set(dut.b.as_value(), y)
            ctx.set(dut.on, is_on)
            await ctx.tick()
            found.append(ctx.get(dut.o.as_value()))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()
    return found[dut.LATENCY - 1 :]


def mismatches(unit, *, seed=0, on=1.0, advance=1.0):
    dut, argument, _ = UNITS[unit]
    a, b = cases(unit, seed)
    is_on = np.random.default_rng(seed).random(len(a)) < on
    golden = apply_epilogue(as_float32(a)[None], **{argument: as_float32(b)})[0].view(np.uint32)
    expected = np.where(is_on, golden, a)
    return np.count_nonzero(run(dut(), a, b, is_on.tolist(), advance) != expected)


@pytest.mark.parametrize("unit", UNITS)
def test_bits(unit):
    assert mismatches(unit) == 0


@pytest.mark.parametrize("unit", UNITS)
def test_off_and_pauses(unit):
    assert mismatches(unit, seed=1, on=0.5, advance=0.5) == 0


def truncate(m, normal, platform):
    return normal[len(normal) - 24 : -1], Const(0, 1)


def half_up(m, normal, platform, exact=rounding._round_fraction):
    return exact(m, Cat(Const(1, 1), normal[1:]), platform)


def no_first_product(a, b, exact=carry_save.partial_products):
    return exact(a, b)[1:]


FAULTS = {
    "multiply_truncates": ("multiply", rounding, "_round_fraction", truncate),
    "add_truncates": ("add", rounding, "_round_fraction", truncate),
    "multiplied_ties_go_up": ("multiply", rounding, "_round_fraction", half_up),
    "added_ties_go_up": ("add", rounding, "_round_fraction", half_up),
    "overflow_at_another_exponent": ("multiply", rounding, "EXP_MAX", 253),
    "a_partial_product_less": ("multiply", multiply, "partial_products", no_first_product),
    "a_corner_less": ("block_multiply", block_multiply, "partial_products", no_first_product),
    "another_bias": ("multiply", multiply, "BIAS", 126),
    "two_guard_bits": ("add", add, "GUARD", 1),
    "lost_sticky_bits": (
        "add",
        add,
        "shift_right_sticky",
        lambda *args, exact=add.shift_right_sticky: (exact(*args)[0], Const(0, 1)),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_seen(fault, monkeypatch):
    unit, module, name, value = FAULTS[fault]
    monkeypatch.setattr(module, name, value)
    assert mismatches(unit) > 0
