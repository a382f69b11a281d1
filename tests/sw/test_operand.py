"""Operands of the engine: choice and order of channels, formats of K-blocks, errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixdit_sw.codec.pack import pack
from mixdit_sw.codec.reference import decode
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import MX4, MX6, MX9
from mixdit_sw.operand import (
    complete_to_blocks,
    quantize_operand,
    quantize_pair,
    select_high_channels,
)


def matrix(rows: int, k: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, k)).astype(np.float32)


def ranked(*absmax: float) -> np.ndarray:
    """Two rows whose channels have these largest magnitudes."""
    row = np.array(absmax, np.float32)
    return np.stack([row / 2, -row])


def test_selection_takes_the_largest_and_the_lower_index_of_ties():
    x = ranked(1, 5, 3, 5, 0, 3)
    assert select_high_channels(x, 1).tolist() == [1]
    assert select_high_channels(x, 3).tolist() == [1, 2, 3]
    assert select_high_channels(x, 0).tolist() == []
    assert select_high_channels(x, 6).tolist() == list(range(6))
    many = np.tile(ranked(2, 1), 500)
    assert select_high_channels(many, 300).tolist() == list(range(0, 600, 2))


def test_nan_counts_as_largest():
    x = ranked(1, 5, 3)
    x[0, 2] = np.nan
    assert select_high_channels(x, 1).tolist() == [2]


@pytest.mark.parametrize("count", [-1, 7])
def test_selection_errors(count):
    with pytest.raises(MixditError, match=rf"High channels must be 0..K = 6, not {count}"):
        select_high_channels(ranked(1, 5, 3, 5, 0, 3), count)


def test_there_must_be_rows():
    empty = np.zeros((0, 5), np.float32)
    for call in (select_high_channels, complete_to_blocks, lambda x, _: quantize_operand(x, MX6)):
        with pytest.raises(MixditError, match=r"rows.*, not shape \(0, 5\)"):
            call(empty, 0)


def test_completion_takes_the_next_largest():
    x = ranked(*range(40))
    assert complete_to_blocks(x, np.array([0, 7])).tolist() == [0, 7, *range(26, 40)]
    assert complete_to_blocks(x, np.arange(16)).tolist() == list(range(16))
    assert complete_to_blocks(x, np.array([], np.int64)).tolist() == []
    assert complete_to_blocks(ranked(3, 2, 1), np.array([1])).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("high", "message"),
    [
        ([3, 3], "must not repeat"),
        ([-1, 2], r"must be 0\.\.39, not -1\.\.2"),
        ([40], r"must be 0\.\.39, not 40\.\.40"),
        ([1.5], "must be a list of integers"),
        ([[1]], "must be a list of integers"),
    ],
)
def test_completion_errors(high, message):
    with pytest.raises(MixditError, match=message):
        complete_to_blocks(ranked(*range(40)), np.array(high))


def test_operand_in_its_own_order():
    x = matrix(3, 40)
    operand = quantize_operand(x, MX6)
    assert (operand.rows, operand.k, operand.n_blocks, operand.padding) == (3, 40, 3, 8)
    assert operand.formats == (MX6, MX6, MX6)
    assert operand.order.tolist() == list(range(40))
    assert operand.nan_blocks == 0
    whole = decode(operand.blocks(), MX6, k=40)
    assert np.abs(whole - x).max() < 0.2


def test_packed_bytes_are_those_of_the_packed_blocks():
    a, _ = quantize_pair(matrix(5, 70), matrix(2, 70), MX4, MX6, a_high=np.array([3, 60]))
    assert a.formats == (MX9, MX4, MX4, MX4, MX4)
    packed = [pack(a.blocks(slice(k, k + 1)), fmt).size for k, fmt in enumerate(a.formats)]
    assert a.packed_bytes == sum(packed) == 5 * (18 + 4 * 8)


def test_blocks_of_one_k_block():
    operand = quantize_operand(matrix(3, 40), MX9)
    assert operand.blocks(1).codes.shape == (3, 16)
    assert operand.blocks(slice(0, 2)).codes.shape == (3, 2, 16)


def test_nan_blocks_are_counted():
    x = matrix(3, 40)
    x[0, 0], x[2, 39], x[2, 38] = np.nan, np.inf, np.inf
    assert quantize_operand(x, MX6).nan_blocks == 2


def test_high_channels_come_first_in_mx9():
    x = matrix(4, 48)
    x[:, 5::3] *= 100
    high = np.arange(5, 48, 3)
    a, b = quantize_pair(x, matrix(2, 48, 1), MX6, MX4, a_high=high)
    completed = complete_to_blocks(x, high)
    others = np.setdiff1d(np.arange(48), completed)
    assert a.order.tolist() == b.order.tolist() == [*completed, *others]
    assert a.formats == (MX9, MX6, MX6) and b.formats == (MX4, MX4, MX4)
    assert np.array_equal(
        decode(a.blocks(0), MX9), decode(quantize_operand(x[:, completed], MX9).blocks(0), MX9)
    )


def test_high_channels_of_both():
    """B's high channels follow A's; a K-block of B with any of them is MX9."""
    a_high, b_high = np.arange(16), np.arange(8, 24)
    a, b = quantize_pair(matrix(2, 64), matrix(2, 64), MX6, MX6, a_high, b_high)
    assert a.order.tolist() == list(range(64))
    assert a.formats == (MX9, MX6, MX6, MX6)
    assert b.formats == (MX9, MX9, MX6, MX6)


def test_b_only():
    a, b = quantize_pair(matrix(2, 40), matrix(2, 40), MX6, MX6, b_high=np.array([39]))
    assert b.formats[0] is MX9 and 39 in b.order[:16]
    assert a.formats == (MX6, MX6, MX6)
    a.check_same_order(b)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 70), st.data())
def test_order_is_a_permutation_and_high_channels_are_mx9(k, data):
    channels = st.lists(st.integers(0, k - 1), unique=True)
    a_high, b_high = (np.array(data.draw(channels), np.int64) for _ in range(2))
    a, b = quantize_pair(matrix(2, k, 1), matrix(3, k, 2), MX4, MX6, a_high, b_high)
    assert sorted(a.order) == list(range(k)) and np.array_equal(a.order, b.order)
    for operand, high in ((a, a_high), (b, b_high)):
        position = np.argsort(operand.order)
        assert all(operand.formats[position[c] // 16] is MX9 for c in high)
    assert a.formats.count(MX9) == -(-len(complete_to_blocks(matrix(2, k, 1), a_high)) // 16)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (matrix(2, 5), matrix(2, 6), "A and B must have the same K, not 5 and 6"),
        (matrix(2, 5)[0], matrix(2, 5), r"must be matrices, not of shape \(5,\) and \(2, 5\)"),
        (matrix(2, 5).astype(np.float64), matrix(2, 5), "Tensor must be float32, not float64"),
        (np.zeros((0, 5), np.float32), matrix(2, 5), r"rows of elements .* not shape \(0, 5\)"),
    ],
)
def test_pair_errors(a, b, message):
    with pytest.raises(MixditError, match=message):
        quantize_pair(a, b, MX6, MX6)


@pytest.mark.parametrize("order", [[0, 1], [0, 1, 1], [0, 1, 3]])
def test_order_errors(order):
    with pytest.raises(MixditError, match=r"each of the channels 0\.\.2 once"):
        quantize_operand(matrix(2, 3), MX6, order=np.array(order))


def test_operands_in_different_orders_do_not_multiply():
    a = quantize_operand(matrix(2, 3), MX6)
    with pytest.raises(MixditError, match="same order"):
        a.check_same_order(quantize_operand(matrix(2, 3), MX6, order=np.array([2, 1, 0])))
    with pytest.raises(MixditError, match="same K, not 3 and 4"):
        a.check_same_order(quantize_operand(matrix(2, 4), MX6))
