"""Golden epilogue against exact arithmetic on the words."""

from fractions import Fraction

import numpy as np
import pytest
from epilogue_cases import (
    SPECIAL,
    addend_pairs,
    any_words,
    as_float32,
    as_words,
    factor_pairs,
    numbers,
    product_ties,
)

from mixdit_sw.errors import MixditError
from mixdit_sw.gemm import epilogue
from mixdit_sw.gemm.epilogue import apply_epilogue, to_bf16

NAN, INF = "nan", "inf"


def decode(word):
    """What a word is worth: a Fraction, "nan", or a sign and "inf"."""
    sign, exp, fraction = -1 if word >> 31 else 1, word >> 23 & 255, word & 0x7FFFFF
    if exp == 255:
        return NAN if fraction else (sign, INF)
    return (
        sign * (Fraction(1) + Fraction(fraction, 1 << 23)) * Fraction(2) ** (exp - 127) * (exp > 0)
    )


def encode(value, bits=24):
    """The word of an exact value, rounded to `bits` bits with an unbounded exponent."""
    if value == NAN:
        return 0x7FC00000
    if isinstance(value, tuple):
        return 0x7F800000 | (value[0] < 0) << 31
    if value == 0:
        return 0
    exp = 0
    while abs(value) >= Fraction(2) ** (exp + 1):
        exp += 1
    while abs(value) < Fraction(2) ** exp:
        exp -= 1
    # Python rounds Fractions to nearest even.
    significand = round(abs(value) / Fraction(2) ** (exp - bits + 1))
    if significand == 1 << bits:
        significand, exp = significand // 2, exp + 1
    if exp < -126:
        return 0
    sign = (value < 0) << 31
    if exp > 127:
        return sign | 0x7F800000
    return sign | exp + 127 << 23 | (significand << 24 - bits) & 0x7FFFFF


def times(x, y):
    if NAN in (x, y):
        return NAN
    if isinstance(x, tuple) or isinstance(y, tuple):
        signs = [v[0] if isinstance(v, tuple) else (v > 0) - (v < 0) for v in (x, y)]
        return (signs[0] * signs[1], INF) if all(signs) else NAN
    return x * y


def plus(x, y):
    if NAN in (x, y):
        return NAN
    if isinstance(x, tuple) and isinstance(y, tuple):
        return x if x == y else NAN
    if isinstance(x, tuple):
        return x
    return y if isinstance(y, tuple) else x + y


def oracle(operation, a, b):
    return [
        encode(operation(decode(x), decode(y))) for x, y in zip(a.tolist(), b.tolist(), strict=True)
    ]


def special_pairs():
    return tuple(x.ravel() for x in np.meshgrid(SPECIAL, SPECIAL))


FACTORS = {
    "near_the_ends": lambda rng: factor_pairs(3000, rng),
    "ties": lambda rng: product_ties(1000, rng),
    "any": lambda rng: (any_words(1000, rng), any_words(1000, rng)),
    "special": lambda rng: special_pairs(),
}
ADDENDS = {
    "near_and_far": lambda rng: addend_pairs(4000, rng),
    "any": lambda rng: (any_words(1000, rng), any_words(1000, rng)),
    "special": lambda rng: special_pairs(),
}


@pytest.mark.parametrize("name", FACTORS)
def test_scales_round_once(name):
    a, b = FACTORS[name](np.random.default_rng(1))
    expected = oracle(times, a, b)
    rows = apply_epilogue(as_float32(a)[:, None], row_scale=as_float32(b))
    cols = apply_epilogue(as_float32(a)[None], col_scale=as_float32(b))
    assert as_words(rows)[:, 0].tolist() == expected
    assert as_words(cols)[0].tolist() == expected


@pytest.mark.parametrize("name", ADDENDS)
def test_sums_round_once(name):
    a, b = ADDENDS[name](np.random.default_rng(2))
    expected = oracle(plus, a, b)
    bias = apply_epilogue(as_float32(a)[None], bias=as_float32(b))
    residual = apply_epilogue(as_float32(a)[None], residual=as_float32(b)[None])
    assert as_words(bias)[0].tolist() == expected
    assert as_words(residual)[0].tolist() == expected


def test_the_cases_reach_what_they_are_for():
    rng = np.random.default_rng(1)
    found = np.array(oracle(times, *factor_pairs(3000, rng)), np.uint32) & 0x7FFFFFFF
    for word in (0, 0x00800000, 0x7F7FFFFF, 0x7F800000):
        assert (found == word).any(), hex(word)
    a, b = product_ties(1000, rng)
    exact = [decode(x) * decode(y) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    below = [encode(value - abs(value) / 2**40) for value in exact]
    above = [encode(value + abs(value) / 2**40) for value in exact]
    assert np.count_nonzero(np.array(below) != np.array(above)) > 100


def test_steps_come_in_order():
    rng = np.random.default_rng(3)
    m, n = 4, 6
    words = {
        "c": numbers(rng.integers(120, 134, (m, n)), rng),
        "row_scale": numbers(rng.integers(120, 134, m), rng),
        "col_scale": numbers(rng.integers(120, 134, n), rng),
        "bias": numbers(rng.integers(120, 134, n), rng),
        "residual": numbers(rng.integers(120, 134, (m, n)), rng),
    }
    x = {name: as_float32(value) for name, value in words.items()}
    found = as_words(apply_epilogue(x.pop("c"), **x))
    for i, j in np.ndindex(m, n):
        word = int(words["c"][i, j])
        for name, operation, index in (
            ("row_scale", times, i),
            ("col_scale", times, j),
            ("bias", plus, j),
            ("residual", plus, (i, j)),
        ):
            word = encode(operation(decode(word), decode(int(words[name][index]))))
        assert found[i, j] == word


def test_without_steps_no_bit_changes():
    c = as_float32(any_words((20, 20), np.random.default_rng(4)))
    assert (as_words(apply_epilogue(c)) == as_words(c)).all()


def test_bf16():
    rng = np.random.default_rng(5)
    ties = numbers(rng.integers(1, 255, 2000), rng) & 0xFFFF8000
    words = np.concatenate([any_words(2000, rng), ties, SPECIAL])
    expected = [encode(decode(word), 8) >> 16 for word in words.tolist()]
    found = to_bf16(as_float32(words))
    assert found.dtype == np.uint16
    assert found.tolist() == expected
    assert to_bf16(as_float32(words).reshape(-1, 4)).shape == (len(words) // 4, 4)


FAULTS = {
    "subnormals_are_kept": ("_operand", lambda x: x.astype(np.float64)),
    "double_rounding": ("_multiply", lambda x, y: epilogue._add(x, np.float32(0)) * y),
    "no_rounding_up_to_normal": (
        "to_fp32",
        lambda x: np.where(np.abs(x) < 2.0**-126, 0.0, x).astype(np.float32),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_seen(fault, monkeypatch):
    monkeypatch.setattr(epilogue, *FAULTS[fault])
    with pytest.raises(AssertionError), np.errstate(all="ignore"):
        test_scales_round_once("near_the_ends")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"c": np.zeros(3, np.float32)}, r"c must have the shape \(M, N\), not \(3,\)"),
        ({"c": np.zeros((2, 3))}, "c must be a float32 array, not float64"),
        ({"row_scale": np.zeros(3, np.float32)}, r"row_scale must have the shape \(2,\), not"),
        ({"col_scale": np.zeros(2, np.float32)}, r"col_scale must have the shape \(3,\), not"),
        ({"bias": [1.0, 2.0, 3.0]}, "bias must be a float32 array, not list"),
        ({"residual": np.zeros((3, 2), np.float32)}, r"residual must have the shape \(2, 3\), not"),
    ],
)
def test_errors(change, message):
    arguments = {"c": np.zeros((2, 3), np.float32), **change}
    with pytest.raises(MixditError, match=message):
        apply_epilogue(arguments.pop("c"), **arguments)


def test_bf16_of_other_dtypes():
    with pytest.raises(MixditError, match="c must be a float32 array, not float64"):
        to_bf16(np.zeros(3))
