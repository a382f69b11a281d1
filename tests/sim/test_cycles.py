"""The cycle formula on examples counted by hand; tests/hw/array compares it with the hardware."""

import numpy as np
import pytest
from hw_driver import tiny

from mixdit_hw.config import get_preset
from mixdit_sim.array.beats import Gemm
from mixdit_sim.array.cycles import predict_cycles, utilization
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import MX6, MX9
from mixdit_sw.operand import quantize_pair

SIX, MIXED, NINE = (1, 1), (2, 1), (2, 2)
LATENCY = 6
"""Operand registers, loop, copy and two of FP32 conversion, counting the first result's cycle."""


def gemm(m, n, digits, config=None):
    return Gemm(config or get_preset("small"), m, n, tuple(digits))


def quantized(m, n, k, a_format=MX6, b_format=MX6, high=()):
    x = np.ones((max(m, n), k), np.float32)
    return quantize_pair(x[:m], x[:n], a_format, b_format, np.array(high, np.int64))


@pytest.mark.parametrize(
    ("m", "n", "digits", "beats", "tiles"),
    [
        (8, 8, [SIX] * 10, 10, 1),
        (8, 8, [MIXED] * 10, 20, 1),
        (8, 8, [NINE] * 10, 40, 1),
        (8, 8, [NINE, MIXED, *[SIX] * 8], 4 + 2 + 8, 1),
        (1, 1, [SIX] * 10, 10, 1),
        (9, 8, [SIX] * 10, 10, 2),
        (17, 9, [SIX] * 10, 10, 6),
    ],
)
def test_tiles_follow_without_a_bubble(m, n, digits, beats, tiles):
    product = gemm(m, n, digits)
    assert product.tile_beats == beats
    assert len(product.tiles) == tiles
    # All beats, then the last tile's way through the PEs, and its 8 rows.
    assert predict_cycles(product) == beats * tiles + LATENCY - 1 + 8


@pytest.mark.parametrize(("blocks", "tiles"), [(1, 1), (1, 5), (7, 3)])
def test_short_tiles_wait_for_the_drain(blocks, tiles):
    product = gemm(8 * tiles, 8, [SIX] * blocks)
    assert predict_cycles(product) == blocks + (tiles - 1) * 8 + LATENCY - 1 + 8


def test_every_register_and_turn_counts():
    digits = [SIX] * 100
    plain = predict_cycles(gemm(2, 2, digits, tiny()))
    assert predict_cycles(gemm(2, 2, digits, tiny(dot_register=True))) == plain + 1
    assert predict_cycles(gemm(2, 2, digits, tiny(prepare_register=True))) == plain + 1
    # Two turns: twice the beats and twice the drain, but half the tiles.
    turns = tiny(interleave=2)
    assert predict_cycles(gemm(2, 2, digits, turns)) == plain + 100 + 2
    assert predict_cycles(gemm(2, 4, digits, turns)) == plain + 100 + 2
    assert predict_cycles(gemm(2, 4, digits, tiny())) == plain + 100


def test_far_clusters_are_later():
    digits = [SIX] * 100
    near, far = tiny(), tiny(rows=6, cols=4)
    assert predict_cycles(gemm(6, 4, digits, far)) == predict_cycles(gemm(2, 2, digits, near)) + 3


def test_full_tiles_without_overhead_are_full_utilization():
    product = gemm(16, 16, [SIX] * 10)
    assert utilization(product, 160, 40) == 1
    assert utilization(product, 160, 80) == 0.5
    # Every pass of a digit is work.
    assert utilization(gemm(16, 16, [NINE] * 10), 160, 160) == 1
    assert utilization(gemm(16, 16, [MIXED, *[SIX] * 9]), 160, 44) == 1


@pytest.mark.parametrize(
    ("m", "n", "k", "digits", "cycles", "expected"),
    [
        (4, 8, 160, [SIX] * 10, 10, 1 / 2),
        (1, 1, 160, [SIX] * 10, 10, 1 / 64),
        (9, 8, 160, [SIX] * 10, 20, 9 / 16),
        # One lane of the last block; and if that block takes 4 passes.
        (8, 8, 17, [SIX] * 2, 2, 17 / 32),
        (8, 8, 17, [SIX, NINE], 5, (16 + 4) / (5 * 16)),
        (8, 8, 17, [NINE, SIX], 5, (64 + 1) / (5 * 16)),
        (8, 8, 1, [SIX], 1, 1 / 16),
    ],
)
def test_padding_is_no_work(m, n, k, digits, cycles, expected):
    assert utilization(gemm(m, n, digits), k, cycles) == expected


def test_digits_of_quantized_operands():
    config = get_preset("small")
    product = Gemm.of(config, *quantized(3, 5, 50, MX6, MX9, [40]))
    # The high channel and the 15 that complete its block come first.
    assert product.digits == (NINE, (1, 2), (1, 2), (1, 2))
    assert (product.m, product.n) == (3, 5)


def test_order_of_tiles():
    product = gemm(9, 20, [SIX])
    found = [(tile.row, tile.col) for tile in product.tiles]
    assert found == [(0, 0), (0, 8), (0, 16), (8, 0), (8, 8), (8, 16)]


def test_array_must_be_built_for_the_formats():
    config = tiny(formats=("mx6", "mx4"))
    Gemm.of(config, *quantized(1, 1, 16))
    with pytest.raises(MixditError, match="^The array is built for mx6, mx4, not for mx9$"):
        Gemm.of(config, *quantized(1, 1, 16, high=[3]))


def test_operands_must_be_in_one_order():
    (a, _), (_, b) = quantized(1, 1, 32, high=[20]), quantized(1, 1, 32)
    with pytest.raises(MixditError, match="^A and B must have their channels in the same order$"):
        Gemm.of(tiny(), a, b)
    with pytest.raises(MixditError, match="^A and B must have the same K, not 32 and 48$"):
        Gemm.of(tiny(), a, quantized(1, 1, 48)[1])
