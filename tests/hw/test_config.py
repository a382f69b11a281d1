import json

import pytest

from mixdit_hw.config import PRESETS, ArrayConfig, get_preset
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import Element, OcpFormat, register

ODD = ArrayConfig(
    rows=4,
    cols=6,
    cluster_rows=2,
    cluster_cols=3,
    formats=("mx6",),
    accumulator="fp32",
    interleave=3,
    dot_register=True,
    prepare_register=True,
    loop_latency=2,
)


def config(**changes):
    sizes = {"rows": 4, "cols": 4, "cluster_rows": 2, "cluster_cols": 2}
    return ArrayConfig(**{**sizes, **changes})


@pytest.mark.parametrize(
    ("name", "size", "peak"),
    [
        ("tiny", (2, 2), (64, 32, 16)),
        ("small", (8, 8), (1024, 512, 256)),
        ("wide", (8, 8), (1024, 512, 256)),
        ("ecp5", (4, 2), (128, 64, 32)),
        ("paper", (64, 64), (65536, 32768, 16384)),
    ],
)
def test_presets(name, size, peak):
    preset = get_preset(name)
    assert (preset.rows, preset.cols) == size
    assert preset.accumulator == "aligned40"
    assert list(preset.peak_macs_per_cycle) == ["mx6xmx6", "mx9xmx6", "mx9xmx9"]
    assert tuple(preset.peak_macs_per_cycle.values()) == peak
    assert set(PRESETS) == {"tiny", "small", "wide", "ecp5", "paper"}


def test_unknown_preset():
    with pytest.raises(
        MixditError, match="^Preset must be one of tiny, small, wide, ecp5, paper, not 'x'$"
    ):
        get_preset("x")


@pytest.mark.parametrize("original", [*PRESETS.values(), ODD])
def test_dict_there_and_back(original):
    assert ArrayConfig.from_dict(json.loads(json.dumps(original.to_dict()))) == original


def test_dict_may_leave_out_all_but_the_size():
    assert ArrayConfig.from_dict({"rows": 8, "cols": 8}) == get_preset("small")


def test_peak_without_a_format():
    assert config(formats=("mx6", "mx4")).peak_macs_per_cycle == {
        "mx6xmx6": 256,
        "mx9xmx6": None,
        "mx9xmx9": None,
    }
    assert set(config(formats=("mx9",)).peak_macs_per_cycle.values()) == {None, 64}


def test_what_follows_from_the_sizes():
    assert ODD.cluster_grid == (2, 2)
    assert ODD.tile_shape == (4, 18)
    assert ODD.drain_cycles == 2 * 3
    # Operand registers, dot product, two of the join, two of the loop, copy.
    assert ODD.drain_latency == config().drain_latency + 3
    assert ODD.result_latency == config().result_latency + 3
    assert ODD.skew == 2
    assert get_preset("paper").skew == 7 + 7
    assert config(rows=2, cols=2).skew == 0


@pytest.mark.parametrize(
    ("formats", "digits", "bits"),
    # 16 products of the largest codes 127, 15 and 3, times 4, and a sign.
    [(("mx9",), 2, 21), (("mx6",), 1, 15), (("mx4",), 1, 11), (("mx4", "mx9"), 2, 21)],
)
def test_widths_follow_from_the_formats(formats, digits, bits):
    built = config(formats=formats)
    assert built.max_digits == digits
    assert built.block_bits == bits
    largest = max(fmt.max_code for fmt in built.block_formats)
    assert -(1 << bits - 1) <= 16 * 4 * largest**2 < 1 << bits - 1
    assert not 16 * 4 * largest**2 < 1 << bits - 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *(
            ({name: value}, f"^{name} must be a positive integer, not ")
            for name in (
                *("rows", "cols", "cluster_rows", "cluster_cols"),
                *("interleave", "loop_latency"),
            )
            for value in (0, -1, 1.0, "2", None, True)
        ),
        *(
            ({name: value}, f"^{name} must be true or false, not ")
            for name in ("dot_register", "prepare_register")
            for value in (0, 1, None, "true")
        ),
        ({"rows": 5}, "^rows must be a multiple of cluster_rows = 2, not 5$"),
        ({"cols": 3}, "^cols must be a multiple of cluster_cols = 2, not 3$"),
        ({"cluster_rows": 8}, "^rows must be a multiple of cluster_rows = 8, not 4$"),
        ({"cluster_cols": 8}, "^cols must be a multiple of cluster_cols = 8, not 4$"),
        ({"formats": ()}, "^formats must name at least one format$"),
        ({"formats": ("mx5",)}, "^Format must be one of .*, not 'mx5'$"),
        ({"formats": (6,)}, r"^formats must be a list of names, not \[6\]$"),
        ({"formats": (["mx6"],)}, "^formats must be a list of names"),
        ({"accumulator": None}, "^accumulator must be a name, not None$"),
        ({"accumulator": "int32"}, "^Accumulator must be fp32, aligned<f> "),
        (
            {"accumulator": "aligned23"},
            "^Accumulator must be aligned29 to aligned52, not aligned23$",
        ),
        ({"accumulator": "aligned40x5"}, "^Accumulator step must be 2, 4, 8 or 16 bits, not 5$"),
        ({"loop_latency": 2}, "^Loop latency of aligned40 must be 1..1, not 2$"),
        (
            {"loop_latency": 3, "accumulator": "fp32"},
            "^Loop latency of fp32 must be 1..2, not 3$",
        ),
        (
            {"loop_latency": 2, "accumulator": "fp32"},
            "^Interleave must be at least the loop latency 2, not 1$",
        ),
    ],
)
def test_bad_parameter(changes, message):
    with pytest.raises(MixditError, match=message):
        config(**changes)


def test_block_bits_follow_the_formats():
    assert config(formats=("mx6",)).block_bits == 15
    assert config(formats=("mx6", "mx9")).block_bits == 21


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "^Parameter 'rows' is missing$"),
        ({"rows": 8}, "^Parameter 'cols' is missing$"),
        ({"rows": 8, "cols": 8, "clusters": 1}, "^Unknown parameter 'clusters'; known are acc"),
        ({"rows": 8, "cols": 8, "formats": "mx6"}, "^formats must be a list of names, not 'mx6'$"),
        ({"rows": 8, "cols": 8, "formats": None}, "^formats must be a list of names, not None$"),
        ({"rows": "8", "cols": 8}, "^rows must be a positive integer, not '8'$"),
    ],
)
def test_bad_dict(values, message):
    with pytest.raises(MixditError, match=message):
        ArrayConfig.from_dict(values)


def test_exponents_beyond_a_packet_are_refused():
    far = Element(bits=5, max_code=15, lsb=-300, is_twos_complement=True)
    register(OcpFormat(name="far", unit=16, element=far))
    with pytest.raises(MixditError, match="cannot multiply far: exponents .* need 10 bits, not 9"):
        config(formats=("far",))
