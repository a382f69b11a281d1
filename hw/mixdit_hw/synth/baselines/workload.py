"""What a unit works on when its energy is measured: Gaussian data, quantized by its format."""

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
from amaranth.lib import data, wiring

from mixdit_sw.codec.packets import Packets, passes, to_packets
from mixdit_sw.formats import LANES, Blocks, MicroExponentFormat, get_format

from ...packet import PACKET
from .decomposed import DIGIT, OPERAND, DecomposedPe, Mode
from .floating import FloatFormat, FloatMac
from .integer import IntDot, IntMac
from .mx import MxUnit, block_layout
from .registered import RegisteredPe

SEED = 2025
PEAK = 4.0
"""Standard deviations that integers are scaled to: the largest of some 10 000 values."""
K_BLOCKS = 72
"""Blocks of a sum: K = 1152, a DiT-XL's channels."""

Cycle = dict[str, int]


def stimulus(unit: wiring.Component, mode: str, cycles: int) -> list[Cycle]:
    """Inputs of a unit, cycle by cycle.

    Both operands are independent N(0, 1), rounded to nearest by the codec of their format, one sum
    after the other of K = 1152. Where sums take turns, operand `a` stays while they do, as in an
    output-stationary array. No cycle is idle.

    Parameters
    ----------
    unit
        One of the baselines, or `RegisteredPe`.
    mode
        One of the candidate's modes.
    cycles
        How many.
    """
    rng = np.random.default_rng(SEED)
    work: Iterator[Cycle]
    if isinstance(unit, IntMac | IntDot):
        work = _integers(unit, rng)
    elif isinstance(unit, FloatMac):
        work = _floats(unit, rng)
    elif isinstance(unit, DecomposedPe):
        work = _decomposed(unit, mode, rng)
    elif isinstance(unit, MxUnit):
        work = _blocks(unit, rng)
    elif isinstance(unit, RegisteredPe):
        work = _packets(unit, mode, rng)
    else:
        raise TypeError(f"{type(unit).__name__} has no workload")
    return list(islice(work, cycles))


def float_codes(x: np.ndarray, fmt: FloatFormat) -> np.ndarray:
    """Codes of x in a small format, to nearest even; subnormals become zero."""
    fraction, exp = np.frexp(np.abs(x).astype(np.float64))
    significand = np.rint(np.ldexp(fraction, fmt.sig_bits)).astype(np.int64)
    carry = significand >> fmt.sig_bits
    significand >>= carry
    stored = exp - 1 + carry + fmt.bias
    top = (1 << fmt.exp_bits) - 1 - (0 if fmt.finite else 1)
    codes = np.clip(stored, 0, top) << fmt.man_bits | significand & (1 << fmt.man_bits) - 1
    codes = np.where((stored <= 0) | (x == 0), 0, codes)
    return codes | (x < 0).astype(np.int64) << fmt.bits - 1


def _sums(step: Callable[[bool], Iterator[Cycle]]) -> Iterator[Cycle]:
    """Repeat `step`, a K-block; its argument says that a sum starts."""
    while True:
        for k in range(K_BLOCKS):
            yield from step(k == 0)


def _integers(unit: IntMac | IntDot, rng: np.random.Generator) -> Iterator[Cycle]:
    width = unit.width
    top = (1 << width - 1) - 1
    lanes = unit.lanes

    def step(start: bool) -> Iterator[Cycle]:
        for i in range(LANES // lanes):
            x = np.clip(np.rint(rng.normal(size=(2, lanes)) * top / PEAK), -top, top).astype(int)
            a, b = (_pack(row & (1 << width) - 1, width) for row in x)
            yield {"a": a, "b": b, "clear": int(start and i == 0)}

    return _sums(step)


def _floats(unit: FloatMac, rng: np.random.Generator) -> Iterator[Cycle]:
    turns = unit.pipeline.interleave

    def step(start: bool) -> Iterator[Cycle]:
        for i in range(LANES):
            a, *b = float_codes(rng.normal(size=1 + turns), unit.fmt).tolist()
            for code in b:
                yield {"a": a, "b": code, "clear": int(start and i == 0)}

    return _sums(step)


def _quantized(name: str, rng: np.random.Generator) -> Blocks:
    fmt = get_format(name)
    return fmt.encode(rng.normal(size=(1, LANES)).astype(np.float32))


def _decomposed(unit: DecomposedPe, mode: str, rng: np.random.Generator) -> Iterator[Cycle]:
    turns = unit.pipeline.interleave
    fmt = get_format(mode.lower())
    each = LANES // ((fmt.magnitude_bits + 1) // DIGIT) ** 2

    def step(start: bool) -> Iterator[Cycle]:
        blocks = [_quantized(fmt.name, rng) for _ in range(1 + turns)]
        for i in range(0, LANES, each):
            a, *b = (_operand(x, fmt, i, each) for x in blocks)
            for word in b:
                clear = int(start and i == 0)
                yield {"a": a, "b": word, "mode": Mode[mode].value, "clear": clear}

    return _sums(step)


def _operand(blocks: Blocks, fmt: MicroExponentFormat, start: int, count: int) -> int:
    """Word of `OPERAND`: `count` elements of a block; lanes beyond them are 0."""
    digits = (fmt.magnitude_bits + 1) // DIGIT
    codes = blocks.codes[0, 0, start : start + count].tolist()
    taus = np.repeat(blocks.micro_exponents[0, 0], 2)[start : start + count : 2].tolist()
    mag = [abs(c) >> 2 * d & 3 for c in codes for d in range(digits)]
    return _word(
        OPERAND,
        {
            "mag": mag + [0] * (16 - len(mag)),
            "sign": [int(c < 0) for c in codes] + [0] * (16 - count),
            "tau": taus + [0] * (8 - len(taus)),
            "exponent": fmt.packet_exponent(int(blocks.exponents[0, 0])),
            "nan": 0,
        },
    )


def _blocks(unit: MxUnit, rng: np.random.Generator) -> Iterator[Cycle]:
    fmt = unit.fmt
    layout = block_layout(fmt.magnitude_bits)

    def word() -> int:
        blocks = _quantized(fmt.name, rng)
        codes = blocks.codes[0, 0].tolist()
        return _word(
            layout,
            {
                "mag": [abs(c) for c in codes],
                "sign": [int(c < 0) for c in codes],
                "tau": blocks.micro_exponents[0, 0].tolist(),
                "exponent": fmt.packet_exponent(int(blocks.exponents[0, 0])),
                "nan": 0,
            },
        )

    for i, cycle in enumerate(_sums(lambda start: iter([{"first": int(start)}]))):
        last = int(i % K_BLOCKS == K_BLOCKS - 1)
        yield cycle | {"a": word(), "b": word(), "valid": 1, "last": last, "drain_in": 0}


def _packets(unit: RegisteredPe, mode: str, rng: np.random.Generator) -> Iterator[Cycle]:
    formats = [get_format(name) for name in (mode[:3], mode[4:])]  # such as mx9xmx6
    steps = passes(*(fmt.digits or 0 for fmt in formats))
    control = unit.control.shape()
    while True:
        for k in range(K_BLOCKS):
            both = [to_packets(_quantized(fmt.name, rng), fmt) for fmt in formats]
            for n, step in enumerate(steps):
                done = n == len(steps) - 1
                flags = {
                    "clear": int(n == 0),
                    "shift": int(step.shift),
                    "done": int(done),
                    "first": int(k == 0),
                    "last": int(done and k == K_BLOCKS - 1),
                    "slot": 0,
                }
                digits = step.a_digit, step.b_digit
                a, b = (_packet_word(p, d) for p, d in zip(both, digits, strict=True))
                yield {"a": a, "b": b, "control": _word(control, flags), "drain_in": 0}


def _pack(values: np.ndarray, width: int) -> int:
    """Join unsigned values of `width` bits, the first one in the low bits."""
    return sum(int(x) << width * i for i, x in enumerate(values))


def _packet_word(packets: Packets, digit: int) -> int:
    """Word of `PACKET`, the digit packet of a single block."""
    lanes = {
        "mag": packets.mag[0, 0, digit].tolist(),
        "sign": packets.sign[0, 0].tolist(),
        "tau": packets.tau[0, 0].tolist(),
    }
    return _word(PACKET, {"lanes": lanes, "exponent": int(packets.exponent[0, 0]), "nan": 0})


def _word(layout: data.Layout, fields: dict[str, object]) -> int:
    return layout.const(fields).as_value().value
