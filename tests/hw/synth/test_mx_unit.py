"""The units for one format only, and our PE behind registers, against the golden GEMM."""

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from unit_driver import names_of

from mixdit_hw.config import get_preset
from mixdit_hw.packet import PACKET
from mixdit_hw.pe.fp32 import STATE
from mixdit_hw.pe.to_fp32 import ToFp32
from mixdit_hw.synth.baselines import MxUnit, Pipeline, RegisteredPe, mx
from mixdit_sw.codec.packets import passes, to_packets
from mixdit_sw.formats import get_format
from mixdit_sw.gemm.kinds import DEFAULT_KIND
from mixdit_sw.gemm.reference import golden_gemm
from mixdit_sw.operand import quantize_pair, select_high_channels

ROWS, BLOCKS = 12, 7


def operands(a_format, b_format, seed=0):
    """Rows of A and B with zero, huge, tiny and NaN blocks."""
    rng = np.random.default_rng(seed)
    shape = ROWS, BLOCKS * 16
    a, b = (rng.normal(size=shape) * np.exp2(rng.integers(-4, 4, shape)) for _ in range(2))
    a *= np.repeat(np.exp2(rng.integers(-14, 14, (ROWS, BLOCKS))), 16, axis=1)
    a[0, :16] = 0
    b[1, 16:32] = 0
    a[2] *= 2.0**90
    b[2] *= 2.0**60
    a[3] *= 2.0**-100
    b[4, 40] = np.nan
    a[5, 32:64] = -a[5, :32]
    b[5, 32:64] = b[5, :32]
    none = select_high_channels(a.astype(np.float32), 0)
    formats = (get_format(f) for f in (a_format, b_format))
    return quantize_pair(a.astype(np.float32), b.astype(np.float32), *formats, none, none)


class Converted(wiring.Component):
    """A unit with a converter to FP32 behind its drain register."""

    o: Out(STATE)
    dummy: In(1)

    def __init__(self, unit, accumulator):
        self.unit, self.accumulator = unit, accumulator
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.unit = self.unit
        m.submodules.convert = convert = ToFp32(self.accumulator)
        m.d.comb += [convert.i.eq(self.unit.drain_out), self.o.eq(convert.o)]
        return m


def drains(unit, accumulator, inputs, ends, latency):
    """Drive a unit; return the FP32 words that leave `latency` cycles after each end."""
    dut = Converted(unit, accumulator)
    seen = []

    def raw(port):
        return port.as_value() if hasattr(port, "as_value") else port

    async def bench(ctx):
        for cycle in range(len(inputs) + latency + ToFp32.LATENCY + 1):
            for name, value in inputs[min(cycle, len(inputs) - 1)].items():
                ctx.set(raw(getattr(unit, name)), value)
            if cycle - latency - ToFp32.LATENCY in ends:
                seen.append(ctx.get(dut.o.as_value()))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


def block_word(x, row, k, layout):
    nan = x.exponents[row, k] == 255
    codes = x.codes[row, k]
    return (
        layout.const(
            {
                "mag": [abs(int(c)) for c in codes],
                "sign": [int(c < 0) for c in codes],
                "tau": x.micro_exponents[row, k].tolist(),
                "exponent": 0 if nan else x.formats[k].packet_exponent(int(x.exponents[row, k])),
                "nan": int(nan),
            }
        )
        .as_value()
        .value
    )


def check_unit(fmt, stages):
    a, b = operands(fmt, fmt)
    unit = MxUnit(fmt, Pipeline(stages))
    layout = mx.block_layout(get_format(fmt).magnitude_bits)
    inputs, ends = [], []
    for row in range(ROWS):
        for k in range(BLOCKS):
            words = {n: block_word(x, row, k, layout) for n, x in (("a", a), ("b", b))}
            flags = {"valid": 1, "first": k == 0, "last": k == BLOCKS - 1}
            inputs.append(words | flags)
            if row % 3 == 0 and k < BLOCKS - 1:  # a cycle without a pair
                inputs.append(inputs[-1] | {"valid": 0, "first": 1})
        ends.append(len(inputs) - 1)
    inputs.append(inputs[-1] | {"valid": 0})
    found = drains(unit, unit.accumulator, inputs, ends, unit.latency)
    expected = np.diagonal(golden_gemm(a, b, DEFAULT_KIND)).view(np.uint32)
    assert np.isnan(expected.view(np.float32)).sum() == 1
    assert [hex(w) for w in found] == [hex(w) for w in expected]


@pytest.mark.parametrize("fmt", ["mx6", "mx9"])
@pytest.mark.parametrize("stages", [1, 2, 3, 4])
def test_unit(fmt, stages):
    check_unit(fmt, stages)


def test_a_lost_carry_is_seen(monkeypatch):
    pair = mx.MxTree._pair

    def broken(self, m, k):
        return pair(self, m, k) if k else pair(self, m, k) | 1

    monkeypatch.setattr(mx.MxTree, "_pair", broken)
    with pytest.raises(AssertionError):
        check_unit("mx9", 2)


@pytest.mark.parametrize(("a_format", "b_format"), [("mx6", "mx6"), ("mx9", "mx6"), ("mx9", "mx9")])
def test_registered_pe(a_format, b_format):
    config = get_preset("small")
    a, b = operands(a_format, b_format)
    packets = [[to_packets(x.blocks(k), x.formats[k]) for k in range(BLOCKS)] for x in (a, b)]
    steps = passes(*(get_format(f).digits for f in (a_format, b_format)))
    inputs, ends = [], []
    unit = RegisteredPe(config)
    control = unit.control.shape()
    for row in range(ROWS):
        for k in range(BLOCKS):
            for n, step in enumerate(steps):
                fields = {
                    "clear": n == 0,
                    "shift": step.shift,
                    "done": n == len(steps) - 1,
                    "first": k == 0,
                    "last": (k, n) == (BLOCKS - 1, len(steps) - 1),
                    "slot": 0,
                }
                word = control.const({key: int(v) for key, v in fields.items()}).as_value().value
                pair = (step.a_digit, step.b_digit)
                names = zip("ab", packets, pair, strict=True)
                words = {name: packet_word(p[k], row, digit) for name, p, digit in names}
                inputs.append(words | {"control": word})
        ends.append(len(inputs) - 1)
    inputs.append(inputs[-1] | {"control": 0})
    latency = config.drain_latency + 1
    found = drains(unit, config.pe_accumulator, inputs, ends, latency)
    expected = np.diagonal(golden_gemm(a, b, DEFAULT_KIND)).view(np.uint32)
    assert [hex(w) for w in found] == [hex(w) for w in expected]


def packet_word(packets, row, digit):
    lanes = {
        "mag": packets.mag[row, digit].tolist(),
        "sign": packets.sign[row].tolist(),
        "tau": packets.tau[row].tolist(),
    }
    fields = {"lanes": lanes, "exponent": int(packets.exponent[row]), "nan": int(packets.nan[row])}
    return PACKET.const(fields).as_value().value


def test_names_encode_the_parameters():
    units = [MxUnit(f, Pipeline(s)) for f in ("mx6", "mx9") for s in range(1, 5)]
    assert len(names_of(units)) == len(units)
