"""One step of the aligned accumulator against the rule in `mixdit_sw.gemm.reference`."""

import random

import numpy as np
import pytest
from amaranth.hdl import Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from hw_driver import comb

from mixdit_hw.packet import EXPONENT_BITS
from mixdit_hw.pe.accumulator import AccumulatorConfig
from mixdit_hw.pe.aligned import AlignedPrepare, AlignedStep, exponent_offset, state_layout
from mixdit_sw.errors import MixditError
from mixdit_sw.gemm.kinds import parse_kind
from mixdit_sw.gemm.reference import _AlignedState

WEIGHT_BITS = EXPONENT_BITS + 1


def cases(f, q, block_bits, count, rng):
    """States and blocks: near each other and far apart, full, empty, and at the ends."""
    limit = 1 << (f - 1)
    for _ in range(count):
        s = rng.choice([0, 1, -1, rng.getrandbits(rng.randrange(1, f - 1)), limit - 1, limit // 2])
        s = max(-limit, min(limit - 1, s * rng.choice([1, -1]) + rng.choice([0, 0, 1, -1])))
        window = rng.randrange(-200 // q, 200 // q)
        d = rng.getrandbits(rng.randrange(1, block_bits))
        d = rng.choice([d, d, d, 1 << rng.randrange(block_bits - 1)]) * rng.choice(
            [1, -1, 1, -1, 0]
        )
        y = max(-276, min(250, q * window + rng.randrange(-f - 20, f + 20)))
        yield s, window, d, y


class PreparedStep(wiring.Component):
    """Preparation and step, as the accumulator joins them."""

    def __init__(self, kind, block_bits):
        self._parts = (kind, block_bits, WEIGHT_BITS)
        self.prepare, self.step = AlignedPrepare(*self._parts), AlignedStep(*self._parts)
        states = state_layout(kind, WEIGHT_BITS)
        block, weight = signed(block_bits), signed(WEIGHT_BITS)
        super().__init__(
            {"block": In(block), "exponent": In(weight), "state": In(states), "next": Out(states)}
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.prepare, m.submodules.step = self.prepare, self.step
        m.d.comb += [
            self.prepare.block.eq(self.block),
            self.prepare.exponent.eq(self.exponent),
            self.prepare.valid.eq(1),
            self.step.prepared.eq(self.prepare.prepared),
            self.step.state.eq(self.state),
            self.next.eq(self.step.next),
        ]
        return m


@pytest.mark.parametrize(
    ("name", "block_bits"),
    [
        ("aligned40", 21),
        ("aligned37", 21),
        ("aligned29", 15),
        ("aligned45", 18),
        ("aligned33x4", 21),
        ("aligned44x4", 21),
        ("aligned25x2", 21),
        ("aligned50x16", 21),
        ("aligned40", 29),
        ("aligned40x2", 26),
    ],
)
def test_step_follows_the_rule(name, block_bits):
    kind = parse_kind(name)
    f, q, g = kind.significand_bits, kind.step_bits, kind.guard_bits
    states = state_layout(kind, WEIGHT_BITS)
    inputs, expected = [], []
    for s, window, d, y in cases(f, q, block_bits, 3000, random.Random(f)):
        reference = _AlignedState(kind, (1, 1))
        reference.s[:], reference.window[:] = s, window
        reference.add(np.array([[d]]), np.array([[y]]))
        expected.append((int(reference.s[0, 0]), int(reference.window[0, 0])))
        state = {"significand": s, "window": window + g // q, "nan": 0}
        exponent = y - exponent_offset(kind)
        inputs.append({"state": word(states, state), "block": d, "exponent": exponent})
    found = comb(PreparedStep(kind, block_bits), inputs, ["next"])
    for (bits,), (s, window) in zip(found, expected, strict=True):
        state = states.from_bits(bits)
        base = min(state.window - g // q, window)
        found_s = state.significand << q * (state.window - g // q - base)
        assert found_s == s << q * (window - base)


def word(layout, values):
    return layout.const(values).as_value().value


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"kind": parse_kind("aligned36"), "block_bits": 29},
            "Accumulator aligned36 needs at least 37 significand bits for blocks of 29 bits",
        ),
        ({"loop_latency": 2}, r"Loop latency of aligned40 must be 1..1, not 2"),
        (
            {"kind": parse_kind("fp32"), "loop_latency": 2},
            "Interleave must be at least the loop latency 2, not 1",
        ),
    ],
)
def test_bad_configuration(changes, message):
    base = {"kind": parse_kind("aligned40"), "block_bits": 21, "exponent_bits": 10}
    with pytest.raises(MixditError, match=message):
        AccumulatorConfig(**{**base, **changes})
