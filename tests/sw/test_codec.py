"""The codec in NumPy against the rational oracle, and against worked examples."""

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixdit_sw.codec.reference import decode, encode
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import MX4, MX6, MX9, Format, dot_bits, get_format

ALL = [MX9, MX6, MX4]


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def check_encode(x: np.ndarray, fmt: Format) -> None:
    """Compare the blocks of a row of whole blocks, and their values, with the oracle's."""
    blocks = encode(x, fmt)
    values = decode(blocks, fmt)
    for n, words in enumerate(x.view(np.uint32).reshape(-1, 16)):
        expected = oracle.encode_block([int(w) for w in words], fmt.magnitude_bits)
        assert int(blocks.exponents[n]) == expected.exponent
        assert tuple(blocks.micro_exponents[n]) == expected.micro_exponents
        assert tuple(blocks.codes[n]) == expected.codes
        decoded = oracle.decode_block(expected, fmt.magnitude_bits)
        got = values[16 * n : 16 * n + 16]
        if decoded is None:
            assert np.isnan(got).all()
        else:
            assert [float(v) for v in got] == [float(v) for v in decoded]


@pytest.mark.parametrize("fmt", ALL, ids=lambda f: f.name)
@pytest.mark.parametrize(
    ("values", "decoded"),
    [
        (
            [1, 0.3, 0.49, 0.1, 3.2, -1.7],
            {
                "mx9": [1, 0.296875, 0.484375, 0.09375, 3.1875, -1.6875],
                "mx6": [1, 0.25, 0.5, 0.125, 3.25, -1.75],
                "mx4": [1, 0.5, 0.5, 0, 3, -2],
            },
        ),
        (
            [1.999, -1.999, 0.999, 0.6],
            {
                "mx9": [1.984375, -1.984375, 0.9921875, 0.6015625],
                "mx6": [1.875, -1.875, 0.9375, 0.625],
                "mx4": [1.5, -1.5, 0.75, 0.5],
            },
        ),
        ([1 + 1 / 128, 1 + 3 / 128, 0.5 + 1 / 256, 0.25], {"mx9": [1, 1.03125, 0.5, 0.25]}),
        (
            [4, 0, 0, 0, 0.01, 0.02],
            {"mx9": [4, 0, 0, 0, 0, 0.03125], "mx6": [4, 0, 0, 0, 0, 0], "mx4": [4] + [0] * 5},
        ),
    ],
    ids=["mixed", "saturation", "ties", "underflow"],
)
def test_examples(values, decoded, fmt):
    if fmt.name in decoded:
        got = decode(encode(f32(*values), fmt), fmt, k=len(values))
        assert got.tolist() == decoded[fmt.name]


@pytest.mark.parametrize("fmt", ALL, ids=lambda f: f.name)
def test_random_words(fmt):
    rng = np.random.default_rng(1)
    words = rng.integers(0, 1 << 32, 16 * 200, dtype=np.uint32)
    # Any 16 random words spread too far to round much: most get exponents of their block.
    near = (words & 0x807FFFFF) | (rng.integers(110, 135, words.size, dtype=np.uint32) << 23)
    check_encode(np.concatenate([words, near]).view(np.float32), fmt)


@pytest.mark.parametrize("fmt", ALL, ids=lambda f: f.name)
@pytest.mark.parametrize("top", [1, 2, 6, 7, 8, 127, 253, 254])
def test_ties_and_saturation_at_every_exponent(fmt, top):
    """Values a quarter step apart, so that every tie occurs, with and without micro-exponent."""
    steps = np.arange(-4 * 2**fmt.magnitude_bits, 4 * 2**fmt.magnitude_bits, dtype=np.int64)
    with np.errstate(under="ignore", over="ignore"):
        row = np.ldexp(steps / 4, top - 127 - (fmt.magnitude_bits - 1)).astype(np.float32)
    row[~np.isfinite(row)] = 0
    for tau in (1.0, 0.5):
        blocks = np.zeros((len(row) // 14 + 1, 16), np.float32)
        blocks[:, 0] = np.ldexp(1.0, top - 127)
        padded = np.zeros(len(blocks) * 14, np.float32)
        padded[: len(row)] = row * np.float32(tau)
        blocks[:, 2:] = padded.reshape(-1, 14)
        check_encode(blocks.reshape(-1), fmt)


CORNERS = [0.0, -0.0, 1e-45, -1e-40, 2.0**-126, -(2.0**-126), 2.0**-119, 1.0, -1.0]
CORNERS += [2.0**127, -(2.0**127) * 1.99999, float(np.finfo(np.float32).max), 0.5, 3.0]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(CORNERS),
            st.floats(width=32, allow_nan=False),
            st.floats(-4, 4, width=32),
            st.integers(-600, 600).map(lambda n: n / 256),
        ),
        min_size=16,
        max_size=16,
    ),
    st.sampled_from(ALL),
)
def test_any_block(values, fmt):
    check_encode(np.array(values, np.float32), fmt)


@pytest.mark.parametrize("fmt", ALL, ids=lambda f: f.name)
@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
def test_nan_block(fmt, bad):
    x = np.ones((2, 32), np.float32)
    x[1, 20] = bad
    blocks = encode(x, fmt)
    assert blocks.exponents.tolist() == [[127, 127], [127, 255]]
    assert not blocks.codes[1, 1].any()
    assert not blocks.micro_exponents[1, 1].any()
    assert np.isnan(decode(blocks, fmt)).sum() == 16


@pytest.mark.parametrize("fmt", ALL, ids=lambda f: f.name)
def test_unique_bits(fmt):
    zeros = encode(f32(0.0, -0.0, 1e-40, -1e-45), fmt)
    assert not zeros.exponents.any() and not zeros.micro_exponents.any() and not zeros.codes.any()
    rounded = encode(f32(1.0, 1.0, -1e-9, -0.0), fmt)
    assert not rounded.codes[0, 2:].any()
    assert rounded.micro_exponents[0].tolist() == [0] + [1] * 7


@pytest.mark.parametrize("fmt", ALL, ids=lambda f: f.name)
def test_encoding_again_changes_nothing(fmt):
    x = np.random.default_rng(2).standard_normal((8, 64)).astype(np.float32)
    once = encode(x, fmt)
    again = encode(decode(once, fmt), fmt)
    for name in ("codes", "exponents", "micro_exponents"):
        assert np.array_equal(getattr(once, name), getattr(again, name))


def test_shapes_and_padding():
    x = np.random.default_rng(3).standard_normal((2, 3, 21)).astype(np.float32)
    blocks = encode(x, MX9)
    assert blocks.codes.shape == (2, 3, 2, 16) and blocks.codes.dtype == np.int16
    assert blocks.exponents.shape == (2, 3, 2) and blocks.exponents.dtype == np.uint8
    assert blocks.micro_exponents.shape == (2, 3, 2, 8)
    assert blocks.micro_exponents.dtype == np.uint8
    assert not blocks.codes[..., 1, 5:].any()
    assert decode(blocks, MX9, k=21).shape == (2, 3, 21)
    assert decode(blocks, MX9).shape == (2, 3, 32)
    assert encode(f32(1.0), MX4).codes.shape == (1, 16)


def test_input_is_left_alone():
    x = f32(1.0, np.nan, 1e-40, -0.0)
    before = x.view(np.uint32).copy()
    encode(x, MX6)
    assert np.array_equal(x.view(np.uint32), before)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones(4), "Tensor must be float32, not float64"),
        ([1.0], "Tensor must be a NumPy array, not list"),
        (np.float32(1.0), "Tensor must be a NumPy array, not float32"),
        (np.array(1.0, np.float32), r"along its last axis, not shape \(\)"),
        (np.ones((3, 0), np.float32), r"along its last axis, not shape \(3, 0\)"),
    ],
)
def test_input_errors(x, message):
    with pytest.raises(MixditError, match=message):
        encode(x, MX6)


def test_format_table():
    assert [f.row_bytes(16) for f in (MX9, MX6, MX4)] == [18, 12, 8]
    assert [f.bits_per_element() for f in (MX9, MX6, MX4)] == [9, 6, 4]
    assert [f.max_code for f in (MX9, MX6, MX4)] == [127, 15, 3]
    assert [f.digits for f in (MX9, MX6, MX4)] == [2, 1, 1]
    assert [dot_bits(*p) for p in ((MX6, MX6), (MX9, MX6), (MX9, MX9))] == [15, 18, 21]
    assert get_format("mx6") is MX6
    with pytest.raises(MixditError, match="Format must be one of mx9, mx6, mx4, .*, not 'mx5'"):
        get_format("mx5")
