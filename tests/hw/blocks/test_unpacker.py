"""The unpacker against the codec's digit packets."""

import numpy as np
import pytest
from stream_driver import run_stream
from test_converter import FORMATS, blocks, expected, numbers_of

from mixdit_hw.blocks.unpacker import Unpacker
from mixdit_hw.packet import PACKET
from mixdit_sim.array.beats import packet_bits
from mixdit_sw.formats import MX6
from mixdit_sw.operand import quantize_operand


def packets(x, number):
    """The output beat of a block: its digit packets, zero lanes where a format has no digit."""
    fmt = FORMATS[number]
    (bits,) = packet_bits(quantize_operand(x[None], fmt))
    words = [int("".join(map(str, digit[0][::-1])), 2) for digit in bits]
    if fmt.digits == 1:
        words.append(words[0] & ~0xFFFF_FFFF_FFFF_FFFF)
    return words[0] | words[1] << PACKET.size | fmt.digits << 2 * PACKET.size


@pytest.mark.parametrize("pauses", [{}, {"valid": 0.6, "ready": 0.5}], ids=["full", "pauses"])
def test_packets(pauses):
    x = blocks(5)
    numbers = numbers_of(x)
    found, cycles = run_stream(Unpacker(FORMATS), expected(x, numbers), **pauses)
    assert found == [packets(row, int(n)) for row, n in zip(x, numbers, strict=True)]
    assert pauses or cycles == len(x)


def test_one_digit():
    x = blocks(6)
    found, _ = run_stream(Unpacker((MX6,)), expected(x, np.zeros(len(x), int), (MX6,)))
    first = [packets(row, 1) & ((1 << PACKET.size) - 1) for row in x]
    assert found == [word | 1 << PACKET.size for word in first]
