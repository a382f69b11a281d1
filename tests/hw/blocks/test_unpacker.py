"""The unpacker against the codec's digit packets."""

import numpy as np
import pytest
from hw_driver import comb
from test_converter import FORMATS, blocks, expected, numbers_of

from mixdit_hw.blocks import unpacker
from mixdit_hw.blocks.unpacker import Unpacker
from mixdit_sim.array.beats import packet_bits
from mixdit_sw.formats import MX4, MX6, MX9
from mixdit_sw.operand import quantize_operand


def packets(x, fmt):
    """The digit packets of a block, the least significant first."""
    (bits,) = packet_bits(quantize_operand(x[None], fmt))
    return [int("".join(map(str, digit[0][::-1])), 2) for digit in bits]


def cases(x, numbers, formats, junk=None):
    """Inputs for every digit of every block, and the packet that each must give."""
    widest = max(8 * fmt.row_bytes(16) for fmt in formats)
    inputs, golden = [], []
    for row, n, beat in zip(x, numbers, expected(x, numbers, formats), strict=True):
        size = 8 * formats[n].row_bytes(16)
        if junk is not None:  # what lies behind a shorter block
            beat |= int.from_bytes(junk.bytes(widest // 8), "little") >> size << size
        for digit, packet in enumerate(packets(row, formats[n])):
            inputs.append({"block": beat, "digit": digit})
            golden.append(packet)
    return inputs, golden


def mismatches(x, numbers, formats=FORMATS, junk=None):
    inputs, golden = cases(x, numbers, formats, junk)
    found = comb(Unpacker(formats), inputs, ["packet"])
    return sum(a != b for (a,), b in zip(found, golden, strict=True))


def test_packets():
    x = blocks(5)
    numbers = numbers_of(x)
    assert set(numbers) == {0, 1, 2}
    assert mismatches(x, numbers) == 0


def test_bits_behind_a_short_block_do_not_matter():
    x = blocks(6)
    assert mismatches(x, np.full(len(x), 2), junk=np.random.default_rng(0)) == 0


@pytest.mark.parametrize("fmt", [MX9, MX6, MX4], ids=str)
def test_one_format(fmt):
    x = blocks(7)[::3]
    assert mismatches(x, np.zeros(len(x), int), (fmt,)) == 0


FAULTS = {
    "nan_keeps_its_exponent": ("NAN_EXPONENT", 254),
    "tau_is_taken_a_bit_higher": ("EXPONENT_BITS", 9),
    "first_format_for_all": ("choose", lambda number, values, width: values[0]),
    "sign_and_magnitude_swapped": (
        "element",
        lambda *args, exact=unpacker.element: (exact(*args)[1][0], exact(*args)[1]),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_seen(fault, monkeypatch):
    monkeypatch.setattr(unpacker, *FAULTS[fault])
    x = blocks(5)
    assert mismatches(x, numbers_of(x)) > 0
