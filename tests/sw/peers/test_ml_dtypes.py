"""Elements, scales and 16-bit numbers, bit for bit against ml_dtypes and NumPy's float16."""

import numpy as np
import peer_data
import pytest
import torch

from mixdit_sw.codec import fast, reference
from mixdit_sw.codec.rounding import round_codes
from mixdit_sw.formats import FORMATS, NEAREST, Element

ml_dtypes = pytest.importorskip("ml_dtypes")

PEERS = {
    "mxfp4": ml_dtypes.float4_e2m1fn,
    "mxfp6_e2m3": ml_dtypes.float6_e2m3fn,
    "mxfp6_e3m2": ml_dtypes.float6_e3m2fn,
    "mxfp8_e4m3": ml_dtypes.float8_e4m3fn,
    "mxfp8_e5m2": ml_dtypes.float8_e5m2,
}
HALVES = {"bf16": ml_dtypes.bfloat16, "fp16": np.float16}
NAN_WORDS = {"bf16": 0x7FC0, "fp16": 0x7E00}
NAN_SCALE = 255
ALL_WORDS = np.arange(1 << 16, dtype=np.uint16)


@pytest.fixture(autouse=True)
def quiet_casts():
    """Peers report overflow and NaN, which are looked at on purpose here."""
    with np.errstate(all="ignore"):
        yield


def element_of(name: str) -> Element:
    return FORMATS[name].element


def cast(x: np.ndarray, peer: type) -> np.ndarray:
    """Return the bits that the peer rounds float32 to."""
    return x.astype(peer).view(np.uint8)


def saturated(x: np.ndarray, peer: type) -> np.ndarray:
    """Return the peer's bits of x brought into its range first, with +0 only."""
    largest = np.float32(ml_dtypes.finfo(peer).max)
    bits = cast(np.clip(x, -largest, largest), peer)
    sign = 1 << (ml_dtypes.finfo(peer).bits - 1)
    return np.where(bits == sign, 0, bits)


def our_codes(x: np.ndarray, element: Element) -> np.ndarray:
    """Return the codes of x at a scale of 1, on which NumPy and torch agree."""
    units = np.ldexp(x.astype(np.float64), -element.lsb)
    codes = element.round(units, NEAREST)
    assert np.array_equal(round_codes(torch.from_numpy(units), element, NEAREST).numpy(), codes)
    return codes


def our_bits(x: np.ndarray, element: Element) -> np.ndarray:
    """Return the bits that our element stores at a scale of 1."""
    return element.to_bits(our_codes(x, element))


def half_values(peer: type) -> np.ndarray:
    """Return all numbers of a 16-bit type, as float32."""
    return ALL_WORDS.view(peer).astype(np.float32)


def finite_halves() -> np.ndarray:
    x = np.concatenate([half_values(peer) for peer in HALVES.values()])
    return x[np.isfinite(x)]


def block_of(*values: float) -> np.ndarray:
    """Return a block of 32 that begins with `values`."""
    return np.array([*values] + [0.0] * (32 - len(values)), np.float32)


@pytest.mark.parametrize("name", PEERS)
def test_element_of_every_finite_half(name):
    x = finite_halves()
    assert x.size == 2 * (1 << 16) - 2 * (1 << 7) - 2 * (1 << 10)
    assert np.array_equal(our_bits(x, element_of(name)), saturated(x, PEERS[name]))


@pytest.mark.parametrize("name", PEERS)
def test_element_of_random_numbers(name):
    """FP32 has numbers next to ties that the 16-bit types have not."""
    element, rng = element_of(name), np.random.default_rng(1)
    near = peer_data.words(rng, (peer_data.CHUNK,), 105, 145)
    for x in (near, peer_data.words(rng, (peer_data.CHUNK,), 0, 254)):
        assert np.array_equal(our_bits(x, element), saturated(x, PEERS[name]))


@pytest.mark.parametrize("name", PEERS)
def test_element_around_every_tie(name):
    """Between neighbours, the midpoint and the FP32 numbers on either side of it."""
    element, peer = element_of(name), PEERS[name]
    grid = np.arange(element_patterns(peer) // 2, dtype=np.uint8).view(peer).astype(np.float64)
    grid = grid[np.isfinite(grid)]
    middle = ((grid[1:] + grid[:-1]) / 2).astype(np.float32)
    for shift in (-1, 0, 1):
        x = (middle.view(np.int32) + np.int32(shift)).view(np.float32)
        for signed in (x, -x):
            assert np.array_equal(our_bits(signed, element), saturated(signed, peer))


def element_patterns(peer: type) -> int:
    return 1 << ml_dtypes.finfo(peer).bits


@pytest.mark.parametrize("name", PEERS)
def test_every_stored_element(name):
    """What bits stand for, both ways; the peer's -0 is our 0, which has no sign."""
    element, peer = element_of(name), PEERS[name]
    bits = np.arange(element_patterns(peer), dtype=np.uint8)
    values = bits.view(peer).astype(np.float64)
    is_number = np.isfinite(values)
    bits, values = bits[is_number], values[is_number]
    codes = element.from_bits(bits)
    assert np.array_equal(np.ldexp(codes.astype(np.float64), element.lsb), values)
    is_negative_zero = (values == 0) & np.signbit(values)
    assert is_negative_zero.sum() == 1
    assert np.array_equal(element.to_bits(codes), np.where(is_negative_zero, 0, bits))
    assert element.max_code == codes.max()


@pytest.mark.parametrize("name", PEERS)
def test_negative_zero_is_not_kept(name):
    """ml_dtypes gives -0 for -0 and for what rounds to it; we store 0. OCP allows either."""
    peer, x = PEERS[name], np.array([-0.0, -1e-30], np.float32)
    sign = element_patterns(peer) // 2
    assert cast(x, peer).tolist() == [sign, sign]
    assert our_bits(x, element_of(name)).tolist() == [0, 0]
    blocks = reference.encode(block_of(1.0, -0.0, -1e-30), FORMATS[name])
    assert not np.signbit(reference.decode(blocks, FORMATS[name])).any()


@pytest.mark.parametrize(
    ("name", "x", "theirs"),
    [
        ("mxfp8_e4m3", 464.0, 0x7E),  # a tie with 480, which is NaN's place: even is 448
        ("mxfp8_e4m3", 464.5, 0x7F),
        ("mxfp8_e5m2", 61439.0, 0x7B),
        ("mxfp8_e5m2", 61440.0, 0x7C),
        ("mxfp6_e3m2", 1e9, 0x1F),
        ("mxfp6_e2m3", 1e9, 0x1F),
        ("mxfp4", 1e9, 0x07),
    ],
)
def test_overflow_saturates(name, x, theirs):
    """ml_dtypes makes NaN of too large an E4M3 and Inf of an E5M2; MX clamps (OCP MX 6.3)."""
    peer, value = PEERS[name], np.array([x], np.float32)
    largest = np.array([ml_dtypes.finfo(peer).max], peer).view(np.uint8)
    assert cast(value, peer).tolist() == [theirs]
    assert our_bits(value, element_of(name)).tolist() == largest.tolist()


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("mxfp8_e4m3", [0x7F, 0x7F, 0xFF]),
        ("mxfp8_e5m2", [0x7E, 0x7C, 0xFC]),
        ("mxfp6_e3m2", [0x20, 0x1F, 0x3F]),
        ("mxfp6_e2m3", [0x20, 0x1F, 0x3F]),
        ("mxfp4", [0x08, 0x07, 0x0F]),
    ],
)
def test_nan_and_inf_are_in_the_scale(name, theirs):
    """ml_dtypes has codes for them, or loses them; we make the block's scale NaN."""
    x = np.array([np.nan, np.inf, -np.inf], np.float32)
    assert cast(x, PEERS[name]).tolist() == theirs
    for value in x:
        blocks = reference.encode(block_of(1.0, value), FORMATS[name])
        assert (blocks.exponents == NAN_SCALE).all() and not blocks.codes.any()


OCP = [*PEERS, "mxint8"]


@pytest.mark.parametrize("name", OCP)
def test_every_stored_scale(name):
    """The value of each E8M0 scale; the element under it is 1."""
    fmt = FORMATS[name]
    stored = np.arange(256, dtype=np.uint8)
    header = stored[:, None, None]
    one = fmt.element.to_bits(np.full((256, 32), 2**-fmt.element.lsb))
    values = fmt.decode(fmt.unpack(header, one, None))
    expected = stored.view(ml_dtypes.float8_e8m0fnu).astype(np.float32)
    assert np.isnan(expected[NAN_SCALE])
    assert np.array_equal(values, np.repeat(expected[:, None], 32, axis=1), equal_nan=True)


@pytest.mark.parametrize("name", OCP)
def test_scale_of_every_exponent(name):
    """A block's scale is E8M0 of the power of two below its maximum, less emax."""
    fmt = FORMATS[name]
    words = np.arange(1, 255, dtype=np.uint32) << 23
    fractions = np.array([0, 1, 0x400000, 0x7FFFFF], np.uint32)
    x = np.zeros((254, 4, 32), np.float32)
    x[..., 7] = -(words[:, None] | fractions).view(np.float32)
    emax = {"mxfp4": 2, "mxfp6_e2m3": 2, "mxfp6_e3m2": 4, "mxfp8_e4m3": 8, "mxfp8_e5m2": 15}
    power = np.ldexp(words.view(np.float32).astype(np.float64), -emax.get(name, 0))
    expected = np.maximum(power, 2.0**-127).astype(np.float32).astype(ml_dtypes.float8_e8m0fnu)
    stored = fmt.pack_header(reference.encode(x, fmt))
    assert (stored == expected.view(np.uint8)[:, None, None, None]).all()


def test_scale_is_not_rounded_from_the_maximum():
    """ml_dtypes rounds to the nearest power of two, and 0 to NaN; OCP takes the one below.

    OCP leaves the scale of a block of zeros open; ours is the least, 2**-127.
    """
    x = np.array([1.5, 1.4375, 0.0], np.float32)
    assert x.astype(ml_dtypes.float8_e8m0fnu).view(np.uint8).tolist() == [128, 127, 255]
    rows = np.stack([block_of(value) for value in x])
    stored = FORMATS["mxint8"].pack_header(reference.encode(rows, FORMATS["mxint8"]))
    assert stored[:, 0, 0].tolist() == [127, 127, 0]


@pytest.mark.parametrize("name", HALVES)
def test_every_half_decodes(name):
    fmt, peer = FORMATS[name], HALVES[name]
    values = fmt.decode(fmt.unpack(np.zeros((1, 0), np.uint8), ALL_WORDS[None], None))
    expected = half_values(peer)
    is_nan = np.isnan(expected)
    assert np.array_equal(np.isnan(values[0]), is_nan)
    assert np.array_equal(values[0, ~is_nan].view(np.uint32), expected[~is_nan].view(np.uint32))


def half_bits(x: np.ndarray, name: str) -> np.ndarray:
    """Return the words that the peer rounds to, with +0 and one NaN."""
    bits = x.astype(HALVES[name]).view(np.uint16)
    bits = np.where(bits == 0x8000, 0, bits)
    return np.where(np.isnan(x), NAN_WORDS[name], bits)


def check_halves(x: np.ndarray, name: str) -> np.ndarray:
    """Compare float32 x (n,), n a multiple of 16, with the peer; return our words."""
    got = fast.encode(torch.from_numpy(x), FORMATS[name]).codes.numpy().reshape(-1)
    assert np.array_equal(got, half_bits(x, name))
    return got


@pytest.mark.parametrize("name", HALVES)
def test_every_half_is_itself(name):
    got = check_halves(half_values(HALVES[name]), name)
    kept = (ALL_WORDS != 0x8000) & ~np.isnan(half_values(HALVES[name]))
    assert np.array_equal(got[kept], ALL_WORDS[kept])


@pytest.mark.parametrize("source", HALVES)
@pytest.mark.parametrize("name", HALVES)
def test_halves_around_every_tie(name, source):
    """Every value of a 16-bit type and the point halfway to the next one, both with neighbours."""
    values = half_values(HALVES[source])
    values = values[np.isfinite(values) & (values >= 0)].astype(np.float64)
    middle = (values[1:] + values[:-1]) / 2
    at = np.concatenate([values, middle]).astype(np.float32).view(np.int32)
    x = (at[:, None] + np.arange(-2, 3, dtype=np.int32)).clip(0).view(np.float32).reshape(-1)
    x = np.concatenate([x, -x])
    check_halves(np.pad(x, (0, -x.size % 16)), name)


@pytest.mark.parametrize("name", HALVES)
def test_halves_of_random_words(name):
    """12 million FP32 words, all bit patterns and those in the range of FP16."""
    for n in range(10):
        rng = np.random.default_rng([2, n])
        x = rng.integers(0, 1 << 32, peer_data.CHUNK, dtype=np.uint32).view(np.float32)
        check_halves(x, name)
        if n == 0:
            got = reference.encode(x, FORMATS[name]).codes.reshape(-1)
            assert np.array_equal(got, half_bits(x, name))
    for n in range(2):
        check_halves(
            peer_data.words(np.random.default_rng([3, n]), (peer_data.CHUNK,), 100, 145), name
        )


@pytest.mark.parametrize(
    ("name", "theirs"),
    [("bf16", [0x8000, 0x8000, 0xFFC0, 0x7FC0]), ("fp16", [0x8000, 0x8000, 0xFE00, 0x7C01])],
)
def test_halves_have_one_zero_and_one_nan(name, theirs):
    """Peers keep signs of zero and NaN, NumPy's float16 a NaN's payload too; we store one each."""
    words = np.array([0x80000000, 0x80000001, 0xFFC00000, 0x7F802001], np.uint32)
    x = np.pad(words.view(np.float32), (0, 12))
    assert x[:4].astype(HALVES[name]).view(np.uint16).tolist() == theirs
    nan = NAN_WORDS[name]
    assert check_halves(x, name)[:4].tolist() == [0, 0, nan, nan]


@pytest.mark.parametrize(
    ("name", "middle", "top"), [("bf16", 0x7F7F8000, 0x7F80), ("fp16", 0x477FF000, 0x7C00)]
)
def test_halves_overflow_to_inf(name, middle, top):
    """The one family here that does not saturate, like its peers."""
    words = np.array([middle - 1, middle, middle | 1 << 31], np.uint32)
    got = check_halves(np.pad(words.view(np.float32), (0, 13)), name)
    assert got[:3].tolist() == [top - 1, top, top | 0x8000]
