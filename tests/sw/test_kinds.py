"""Names of accumulator kinds, and what they refuse."""

import pytest

from mixdit_sw.errors import MixditError
from mixdit_sw.gemm.kinds import DEFAULT_KIND, Aligned, Fp32, parse_kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("fp32", Fp32()),
        ("aligned40", Aligned(40)),
        ("aligned32x4", Aligned(32, 4)),
        ("aligned52x16", Aligned(52, 16)),
        ("aligned25x2", Aligned(25, 2)),
    ],
)
def test_names_round_trip(text, kind):
    assert parse_kind(text) == kind
    assert str(kind) == text


def test_eight_bit_steps_go_without_saying():
    assert parse_kind("aligned40x8") == parse_kind("aligned40")


def test_default():
    assert str(DEFAULT_KIND) == "aligned40"


@pytest.mark.parametrize(
    "text", ["", "fp16", "FP32", "aligned", "alignedx4", "aligned40x", "aligned-40", "aligned40 "]
)
def test_unknown_names(text):
    with pytest.raises(
        MixditError, match=rf"fp32, aligned<f> \(29 to 52 bits\) or aligned<f>x<q>.*, not '{text}'"
    ):
        parse_kind(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("aligned23", "must be aligned29 to aligned52, not aligned23"),
        ("aligned53", "must be aligned29 to aligned52, not aligned53"),
        ("aligned12x4", "must be aligned25x4 to aligned52x4, not aligned12x4"),
        ("aligned40x3", "step must be 2, 4, 8 or 16 bits, not 3"),
        ("aligned40x0", "step must be 2, 4, 8 or 16 bits, not 0"),
    ],
)
def test_out_of_range(text, message):
    with pytest.raises(MixditError, match=message):
        parse_kind(text)


def test_block_bits():
    Aligned(29).check_block_bits(21)
    Aligned(37).check_block_bits(29)
    with pytest.raises(
        MixditError, match="aligned36 needs at least 37 significand bits for blocks of 29 bits"
    ):
        Aligned(36).check_block_bits(29)
    Aligned(33, 4).check_block_bits(29)
