"""Every format against the rational oracle, the codec in torch, and what is refused."""

from contextlib import contextmanager
from functools import cache

import format_oracle as oracle
import numpy as np
import pytest
import torch
from format_data import KINDS, NAMES, K, data, family, same, words

from mixdit_sw.codec import fast, reference
from mixdit_sw.codec.pack import pack, unpack
from mixdit_sw.codec.packets import to_packets
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import FORMATS, MODES, MX6, Blocks, Rounding, ScaledFormat, register
from mixdit_sw.formats import get_format as get

SEED = 7
MINUS_ZERO = [n for n in family("micro", "ocp", "scaled", "nv") if "int" not in n]
TOO_SMALL = [("nvfp4", "subnormal")]
"""Where S is below FP32's normal numbers; `test_nvfp4_scale_is_halved_exactly` has them."""
ENGINE = [n for n in NAMES if not n.startswith(("mxfp8", "bf16", "fp16"))]


@contextmanager
def refused(message: str):
    """Expect a MixditError of one line."""
    with pytest.raises(MixditError, match=message) as caught:
        yield
    assert "\n" not in str(caught.value)


@cache
def rows(kind: str, name: str, mode: str = "nearest-even") -> oracle.Oracle:
    return oracle.encode(data(kind, name), name, mode, SEED)


def as_blocks(rows: oracle.Oracle, name: str) -> Blocks:
    """What the oracle says, as the arrays that the codec has."""
    n = len(rows.codes)
    scales = zeros = None
    if oracle.spec_of(name).family in ("scaled", "asymmetric", "nv"):
        scales = np.array([[oracle.word(s) for s in r] for r in rows.scales], np.uint32)
        scales = scales.view(np.float32)
    if "asym" in name:
        zeros = np.array(rows.zeros, np.uint8)
    tensor_scale = rows.tensor_scale
    return Blocks(
        codes=np.array(rows.codes, get(name).element.dtype).reshape(n, -1, 16),
        exponents=np.array(rows.exponents, np.uint8),
        micro_exponents=np.array(rows.taus, np.uint8).reshape(n, -1, 8),
        scales=scales,
        zero_points=zeros,
        tensor_scale=None if tensor_scale is None else np.float32(float(tensor_scale)),
    )


def encoded(x, name: str) -> np.ndarray:
    """Stored bytes of one row."""
    return pack(reference.encode(np.array([x], np.float32), get(name)), get(name))


def read(stored: np.ndarray, name: str, k: int = 32) -> Blocks:
    return unpack(stored, get(name), k, np.float32(1) if name == "nvfp4" else None)


def with_bit(stored: np.ndarray, bit: int) -> np.ndarray:
    """A copy with one more bit of the first row."""
    assert not stored[0, bit // 8] >> bit % 8 & 1
    stored = stored.copy()
    stored[0, bit // 8] |= 1 << bit % 8
    return stored


def test_the_oracle_knows_every_format():
    assert set(FORMATS) == set(oracle.SPECS)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NAMES)
def test_encode(name, mode):
    for kind in KINDS:
        if (name, kind) in TOO_SMALL:
            continue
        found = reference.encode(data(kind, name), get(name), Rounding(mode, SEED))
        assert same(found, as_blocks(rows(kind, name, mode), name)), kind


@pytest.mark.parametrize("name", NAMES)
def test_decode(name):
    for kind in KINDS:
        if (name, kind) in TOO_SMALL:
            continue
        found = reference.decode(as_blocks(rows(kind, name), name), get(name))
        expected = oracle.decode(rows(kind, name), name)
        assert np.array_equal(np.isnan(found), expected == oracle.NAN), kind
        assert np.array_equal(words(found), expected), kind


@pytest.mark.parametrize("name", NAMES)
def test_pack(name):
    for kind in KINDS:
        stored = pack(as_blocks(rows(kind, name), name), get(name))
        assert [row.tobytes() for row in stored] == oracle.pack(rows(kind, name), name), kind


@pytest.mark.parametrize("name", NAMES)
def test_stored_bits_are_unique(name):
    for kind in KINDS:
        blocks = as_blocks(rows(kind, name), name)
        stored = pack(blocks, get(name))
        back = unpack(stored, get(name), data(kind, name).shape[1], blocks.tensor_scale)
        assert same(back, blocks), kind
        assert np.array_equal(pack(back, get(name)), stored), kind


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NAMES)
def test_torch_encodes_the_same(name, mode):
    for kind in KINDS:
        x, rounding = data(kind, name), Rounding(mode, SEED)
        found = fast.encode(torch.from_numpy(x), get(name), rounding).numpy()
        assert same(found, reference.encode(x, get(name), rounding)), kind


@pytest.mark.parametrize("name", NAMES)
def test_torch_decodes_the_same(name):
    for kind in KINDS:
        blocks = as_blocks(rows(kind, name), name)
        found = fast.decode(fast.TensorBlocks.from_numpy(blocks), get(name)).numpy()
        assert np.array_equal(words(found), words(reference.decode(blocks, get(name)))), kind


@pytest.mark.parametrize("name", NAMES)
def test_torch_takes_any_strides(name):
    x = torch.from_numpy(data("normal", name)).repeat(3, 2)
    for view in (x.T, x[:, ::2], x[::2, 3:-2], x[:1].expand(4, -1), x.view(3, 2, -1).mT):
        expected = reference.encode(np.ascontiguousarray(view.numpy()), get(name))
        assert same(fast.encode(view, get(name)).numpy(), expected)


@pytest.mark.parametrize("name", family("scaled", "asymmetric", "ocp", "nv", "half", "micro"))
def test_leading_axes_are_rows(name):
    x = data("ties", "mx6")[:4, None].repeat(2, axis=1)
    flat = reference.encode(x.reshape(8, -1), get(name), Rounding("stochastic", 3))
    deep = reference.encode(x, get(name), Rounding("stochastic", 3))
    assert np.array_equal(flat.codes, deep.codes.reshape(flat.codes.shape))
    assert deep.codes.shape[:2] == (4, 2)


@pytest.mark.parametrize("name", NAMES)
def test_signaling_nan(name):
    x = np.full((1, 16), 0x7F800001, np.uint32).view(np.float32)
    assert np.isnan(reference.decode(reference.encode(x, get(name)), get(name), 16)).all()


def test_asymmetric_scale_of_a_wide_range():
    x = np.float32([[4278254592.0, -3.000000238418579]])
    assert same(
        reference.encode(x, get("int8_asym")), as_blocks(oracle.encode(x, "int8_asym"), "int8_asym")
    )


def test_nvfp4_scale_is_halved_exactly():
    x = (np.arange(32) == 0) * 2688 * 2.0**-149 + (np.arange(32) == 16) * 2.0**-147
    x = x.astype(np.float32)[None]
    assert same(reference.encode(x, get("nvfp4")), as_blocks(oracle.encode(x, "nvfp4"), "nvfp4"))


@pytest.mark.parametrize("name", NAMES)
def test_what_rounds_to_minus_zero_is_zero(name):
    tiny = ([1.0] + [-1e-30, -0.0] * 7 + [0.0]) * 2
    if name != "bf16":  # which has a number there
        assert np.array_equal(encoded(tiny, name), encoded(np.abs(tiny), name))
    assert np.array_equal(encoded([-0.0] * 32, name), encoded([0.0] * 32, name))


@pytest.mark.parametrize("name", [*MINUS_ZERO, *family("half")])
def test_stored_minus_zero(name):
    fmt = get(name)
    with refused(f"{name}.* (bits of no block|a negative zero)"):
        read(with_bit(encoded([0.0] * 32, name), fmt.header_bits + fmt.element.bits - 1), name)


@pytest.mark.parametrize("name", family("half"))
def test_stored_nan_that_is_another(name):
    stored = encoded([np.nan] * 32, name)
    stored[0, 0] |= 1
    with refused(f"{name}.* (bits of no block|a negative zero)"):
        read(stored, name)


@pytest.mark.parametrize("name", ["int8", "int4", "int8_g192", "mxint8"])
def test_stored_least_integer(name):
    fmt = get(name)
    with refused(rf"Codes of {name} must be -{fmt.max_code}..{fmt.max_code}, not"):
        read(with_bit(encoded([0.0] * 32, name), fmt.header_bits + fmt.element.bits - 1), name)


@pytest.mark.parametrize("pattern", [0x7C, 0x7F, 0xFD])
def test_stored_inf_and_nan_elements(pattern):
    for name in ("mxfp8_e5m2", "mxfp8_e4m3") if pattern == 0x7F else ("mxfp8_e5m2",):
        stored = encoded([0.0] * 32, name)
        stored[0, 5] = pattern
        with refused(f"Codes of {name}"):
            read(stored, name)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in family("half")])
def test_stored_nan_block_that_is_not_empty(name):
    with refused("NaN block must be 0"):
        read(with_bit(encoded([np.nan] * 32, name), get(name).header_bits), name)


def test_stored_nan_group_with_a_zero_point():
    stored = np.full((1, 5 + 16), 3, np.uint8)
    stored[0, :4] = [0, 0, 0xC0, 0x7F]
    with refused("NaN"):
        read(stored, "int8_asym", 16)


@pytest.mark.parametrize("name", family("asymmetric"))
def test_stored_zero_point_out_of_range(name):
    stored = encoded([0.0] * 32, name)
    stored[0, 4] = top = get(name).max_code
    assert read(stored, name).zero_points.tolist() == [[top]]
    if top < 255:
        stored[0, 4] = top + 1
        with refused(f"Zero points of {name} must be at most {top}"):
            read(stored, name)


SCALES = [(-1.0, "0 or NaN"), (np.inf, "0 or NaN"), (np.uint32(0x7FC00001), "bits of no block")]


@pytest.mark.parametrize(
    ("scale", "message"),
    [*SCALES, (-0.0, "positive")],
    ids=["negative", "inf", "other-nan", "minus-zero"],
)
def test_stored_scales_that_are_none(scale, message):
    stored = np.zeros((1, 20), np.uint8)
    bits = scale if isinstance(scale, np.uint32) else words(scale)
    stored[0, :4] = np.atleast_1d(bits).view(np.uint8)
    with refused(message):
        read(stored, "int8", 16)


@pytest.mark.parametrize("bits", [0x80, 0x81, 0xFF])
def test_stored_nvfp4_scales_that_are_none(bits):
    stored = np.zeros((1, 9), np.uint8)
    stored[0, 0] = bits
    with refused("bits of no block|positive"):
        read(stored, "nvfp4", 16)


@pytest.mark.parametrize("tensor_scale", [None, np.float32(np.inf), np.float32(np.nan)])
def test_nvfp4_needs_its_tensor_scale(tensor_scale):
    with refused("tensor"):
        unpack(np.zeros((1, 9), np.uint8), get("nvfp4"), 16, tensor_scale)


@pytest.mark.parametrize("name", NAMES)
def test_stored_dtype_and_shape(name):
    stored = encoded([1.0] * 32, name)
    with refused("must be uint8, not int8"):
        read(stored.view(np.int8), name)
    for wrong in (stored[:, 1:], np.pad(stored, [(0, 0), (0, 1)]), stored[0, 0]):
        with refused(f"{name} rows of 32 elements must have shape"):
            read(wrong, name)


@pytest.mark.parametrize("name", ENGINE)
def test_digits_make_the_codes(name):
    for kind in KINDS:
        blocks = as_blocks(rows(kind, name), name)
        packets = to_packets(blocks, get(name))
        assert packets.mag.shape[-2] == get(name).digits and packets.mag.max() <= 15
        whole = sum(packets.mag[..., d, :].astype(int) * 16**d for d in range(get(name).digits))
        assert np.array_equal(np.where(packets.sign, -whole, whole), blocks.codes)
        assert not packets.sign[blocks.codes == 0].any()
        assert np.array_equal(packets.nan, blocks.exponents == 255)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ENGINE])
def test_formats_without_digits(name):
    with refused(f"{name} has no digit packets"):
        to_packets(as_blocks(rows("normal", name), name), get(name))


BAD = [
    (np.float64, (2, 32)),
    (np.float16, (2, 32)),
    (np.float32, (3, 0)),
    (np.float32, (0, 32)),
    (np.float32, ()),
]


@pytest.mark.parametrize(
    ("dtype", "shape"), BAD, ids=["float64", "float16", "k=0", "no-rows", "scalar"]
)
@pytest.mark.parametrize("name", ["mx6", "mxfp4", "int8", "int8_asym", "nvfp4", "bf16"])
def test_input_that_is_none(name, dtype, shape):
    x = np.zeros(shape, dtype)
    for encode, tensor in ((reference.encode, x), (fast.encode, torch.from_numpy(x))):
        with refused("Tensor must "):
            encode(tensor, get(name))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Rounding("up"), "Rounding must be one of nearest-even, .*, not 'up'"),
        (lambda: Rounding(seed=-1), "Seed must be"),
        (lambda: Rounding(seed=1 << 32), "Seed must be"),
        (lambda: get("int8_g20"), "multiple of 16, not 20"),
        (lambda: get("int8_g0"), "Group size must be positive"),
        (lambda: get("nvfp4_g32"), "Groups of nvfp4 always have 16"),
        (lambda: get("mx6_g32"), "Format must be one of mx9, .*, not 'mx6_g32'"),
        (lambda: get("bf16_row"), "Format must be one of"),
        (lambda: get("int8_g64_g32"), "Format must be one of"),
        (lambda: get("MX9"), "Format must be one of"),
        (lambda: get(""), "Format must be one of"),
        (lambda: ScaledFormat(name="s", element=MX6.element, group_size=-16), "not -16"),
        (lambda: register(ScaledFormat(name="mx6", element=MX6.element)), "already a format 'mx6'"),
        (lambda: register(get("int8_g64")), "not ending as a group size"),
        (lambda: register(ScaledFormat(name="A b", element=MX6.element)), "Format name must be"),
    ],
)
def test_names_and_options_that_are_none(make, message):
    before = dict(FORMATS)
    with refused(message):
        make()
    assert before == FORMATS


def test_registering_again_changes_nothing():
    assert register(MX6) is MX6 and FORMATS["mx6"] is MX6
    assert get("int8_g64") == get("int8_g64") and get("int8_g64").group(K) == 64
