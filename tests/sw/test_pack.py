"""Stored bytes of blocks: round trips, the bits one by one, and refused input."""

from dataclasses import replace

import numpy as np
import pytest

from mixdit_sw.codec.pack import pack, unpack
from mixdit_sw.codec.reference import Blocks, encode
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import MX4, MX6, MX9

ALL = [MX9, MX6, MX4]


def words_to_blocks(fmt, seed: int) -> Blocks:
    words = np.random.default_rng(seed).integers(0, 1 << 32, (7, 160), dtype=np.uint32)
    return encode(words.view(np.float32), fmt)


@pytest.mark.parametrize("fmt", ALL, ids=lambda f: f.name)
def test_round_trip(fmt):
    blocks = words_to_blocks(fmt, 1)
    stored = pack(blocks, fmt)
    assert stored.shape == (7, 10 * fmt.row_bytes(16)) and stored.dtype == np.uint8
    back = unpack(stored, fmt, 160)
    for name in ("codes", "exponents", "micro_exponents"):
        assert np.array_equal(getattr(back, name), getattr(blocks, name))
        assert getattr(back, name).dtype == getattr(blocks, name).dtype


@pytest.mark.parametrize("fmt", ALL, ids=lambda f: f.name)
def test_every_bit_has_its_place(fmt):
    """Build the block as one little-endian integer, field by field, and compare."""
    blocks = words_to_blocks(fmt, 2)
    stored = pack(blocks, fmt).reshape(7, 10, -1)
    width = 1 + fmt.magnitude_bits
    for index in np.ndindex(blocks.exponents.shape):
        number = int(blocks.exponents[index])
        for pair, tau in enumerate(blocks.micro_exponents[index]):
            number |= int(tau) << (8 + pair)
        for lane, code in enumerate(blocks.codes[index]):
            element = (int(code) < 0) << fmt.magnitude_bits | abs(int(code))
            number |= element << (16 + lane * width)
        assert stored[index].tobytes() == number.to_bytes(fmt.row_bytes(16), "little")


def test_sizes():
    assert [f.row_bytes(16) for f in (MX9, MX6, MX4)] == [18, 12, 8]


def test_nan_and_zero_blocks():
    x = np.zeros((1, 32), np.float32)
    x[0, 0] = np.nan
    stored = pack(encode(x, MX6), MX6)
    assert stored[0].tolist() == [255] + [0] * 11 + [0] * 12
    assert unpack(stored, MX6, 32).exponents.tolist() == [[255, 0]]


def one_block(fmt=MX6) -> Blocks:
    return encode(np.arange(1, 17, dtype=np.float32)[None], fmt)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codes": np.full((1, 1, 16), 16, np.int16)}, "Codes of mx6 must be -15..15, not 16..16"),
        ({"codes": np.zeros((1, 1, 8), np.int16)}, "16 codes and 8 micro-exponents each"),
        ({"micro_exponents": np.full((1, 1, 8), 2, np.uint8)}, "must be 0 or 1, not 2"),
        ({"exponents": np.full((1, 1), 255, np.uint8)}, "NaN block must be 0"),
    ],
)
def test_pack_errors(change, message):
    with pytest.raises(MixditError, match=message):
        pack(replace(one_block(), **change), MX6)


def test_unpack_errors():
    stored = pack(one_block(), MX6)
    with pytest.raises(MixditError, match="must be uint8, not int16"):
        unpack(stored.astype(np.int16), MX6, 16)
    with pytest.raises(
        MixditError, match=r"rows of 16 elements must have shape \(\.\.\., 18\), not \(1, 12\)"
    ):
        unpack(stored, MX9, 16)
    with pytest.raises(MixditError, match=r"rows of 17 elements must have shape \(\.\.\., 24\)"):
        unpack(stored, MX6, 17)
    negative_zero = np.zeros((1, 12), np.uint8)
    negative_zero[0, 2] = 1 << 4
    with pytest.raises(
        MixditError, match="mx6 rows hold bits of no block, such as a negative zero"
    ):
        unpack(negative_zero, MX6, 16)
    filled_nan = stored.copy()
    filled_nan[..., 0] = 255
    with pytest.raises(MixditError, match="NaN block must be 0"):
        unpack(filled_nan, MX6, 16)
