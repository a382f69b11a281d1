"""The converter against the codec: every format, block by block mixed, with pauses and faults."""

import numpy as np
import pytest
from amaranth.hdl import Const
from stream_driver import run_stream

from mixdit_hw.blocks import converter
from mixdit_hw.blocks.converter import MxConverter
from mixdit_hw.blocks.stored import micro_formats
from mixdit_hw.emit import emit_verilog
from mixdit_sw.codec.pack import pack
from mixdit_sw.codec.reference import encode
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import MX4, MX6, MX9, get_format

FORMATS = (MX9, MX6, MX4)


def blocks(seed=0):
    """Float32 (n, 16): any words, near exponents, ties and saturation, zeros, subnormals, NaN."""
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 1 << 32, (40, 16), dtype=np.uint32).view(np.float32)
    near = rng.standard_normal((80, 16)) * 2.0 ** rng.integers(-9, 3, (80, 16))
    ties = rng.integers(-512, 513, (80, 16)) * 2.0 ** rng.integers(-9, 1, (80, 1))
    ends = rng.standard_normal((40, 16)) * 2.0 ** rng.choice([-126, -120, 120, 126], (40, 1))
    full = np.nextafter(2.0 ** rng.integers(-3, 1, (20, 16)), 0, dtype=np.float32)
    few = rng.standard_normal((20, 16)) * (rng.random((20, 16)) < 0.15)
    few[:3] = [[0.0], [-0.0], [2.0**-130]]
    with np.errstate(over="ignore"):
        x = [np.asarray(part, np.float32) for part in (near, ties, ends, full, few)]
    x = np.concatenate([words, *x])
    x[5, 3], x[6, 15], x[7, 0] = np.nan, np.inf, -np.inf
    return x


def payload(x, number):
    """A beat of the input stream."""
    words = sum(int(word) << 32 * i for i, word in enumerate(x.view(np.uint32)))
    return words | number << 512


def expected(x, numbers, formats=FORMATS):
    """Stored blocks as the output stream has them."""
    widest = max(8 * fmt.row_bytes(16) for fmt in formats)
    stored = [
        pack(encode(row[None], formats[n]), formats[n]) for row, n in zip(x, numbers, strict=True)
    ]
    return [
        int.from_bytes(block.tobytes(), "little") | int(n) << widest
        for block, n in zip(stored, numbers, strict=True)
    ]


def mismatches(x, numbers, formats=FORMATS, **pauses):
    inputs = [payload(row, int(n)) for row, n in zip(x, numbers, strict=True)]
    found, cycles = run_stream(MxConverter(formats), inputs, **pauses)
    assert len(found) == len(inputs)
    return sum(a != b for a, b in zip(found, expected(x, numbers, formats), strict=True)), cycles


def numbers_of(x, seed=0):
    return np.random.default_rng(seed).integers(len(FORMATS), size=len(x))


def test_bits_and_a_block_a_cycle():
    x = blocks()
    assert mismatches(x, numbers_of(x)) == (0, len(x))


@pytest.mark.parametrize("number", range(3), ids=["mx9", "mx6", "mx4"])
def test_each_format_on_all_blocks(number):
    x = blocks(1)
    assert mismatches(x, np.full(len(x), number))[0] == 0


@pytest.mark.parametrize("seed", range(3))
def test_pauses_change_nothing(seed):
    x = blocks(2)[:120]
    assert mismatches(x, numbers_of(x, seed), valid=0.6, ready=0.4, seed=seed)[0] == 0


def test_one_format():
    x = blocks(3)
    assert mismatches(x, np.zeros(len(x), int), (MX6,))[0] == 0


def test_bf16_is_fp32_with_zeros_below():
    x = (blocks(4).view(np.uint32) & 0xFFFF0000).view(np.float32)
    assert mismatches(x, numbers_of(x))[0] == 0


FAULTS = {
    "rounding_truncates": ("_round_to", lambda kept, sticky, bits: kept[8 - bits :]),
    "no_saturation": (
        "_round_to",
        lambda kept, sticky, bits: (kept[8 - bits :] + kept[7 - bits])[:bits],
    ),
    "ties_go_up": (
        "_round_to",
        lambda kept, sticky, bits, exact=converter._round_to: exact(kept, Const(1, 1), bits),
    ),
    "largest_of_two_pairs_only": (
        "_largest",
        lambda values, exact=converter._largest: exact(values[:2]),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_seen(fault, monkeypatch):
    monkeypatch.setattr(converter, *FAULTS[fault])
    x = blocks()
    assert mismatches(x, numbers_of(x))[0] > 0


def test_formats_without_micro_exponents_are_left_out():
    mxfp4 = get_format("mxfp4")
    assert micro_formats((MX6, mxfp4)) == (MX6,)
    with pytest.raises(MixditError, match="need a format with micro-exponents, not mxfp4"):
        micro_formats((mxfp4,))


def test_verilog_is_the_same_each_time():
    text = emit_verilog(MxConverter(FORMATS), "converter")
    assert text == emit_verilog(MxConverter(FORMATS), "converter")
