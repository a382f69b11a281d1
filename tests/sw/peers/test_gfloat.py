"""OCP block formats, bit for bit against gfloat's elements, scales and blocks."""

import numpy as np
import peer_data
import pytest
import torch

from mixdit_sw.codec import fast, reference
from mixdit_sw.formats import FORMATS, Blocks, Format

gfloat = pytest.importorskip("gfloat")
peer_formats = pytest.importorskip("gfloat.formats")

PEERS = {
    "mxfp8_e4m3": peer_formats.format_info_mxfp8_e4m3,
    "mxfp8_e5m2": peer_formats.format_info_mxfp8_e5m2,
    "mxfp6_e3m2": peer_formats.format_info_mxfp6_e3m2,
    "mxfp6_e2m3": peer_formats.format_info_mxfp6_e2m3,
    "mxfp4": peer_formats.format_info_mxfp4_e2m1,
    "mxint8": peer_formats.format_info_mxint8,
}
CHUNKS = 3
MOST_NEGATIVE = 0x80
"""MXINT8's -2, which we leave unused so that the range is symmetric."""


def their_scales(x: np.ndarray, info: object) -> np.ndarray:
    """Return the OCP scale of blocks float64 (n, 32): the power of two below the maximum."""
    largest = np.abs(x).max(axis=-1)
    exponents = np.floor(np.log2(np.where(largest > 0, largest, 2.0**-1000))) - info.etype.emax
    return np.exp2(np.clip(exponents, -127, 127))


def their_codes(x: np.ndarray, scales: np.ndarray, info: object) -> np.ndarray:
    """Return gfloat's codes of the elements of blocks."""
    nearest = gfloat.RoundMode.TiesToEven
    rounded = gfloat.round_ndarray(info.etype, x / scales[:, None], nearest, sat=True)
    return gfloat.encode_ndarray(info.etype, rounded).astype(np.int64)


def their_values(codes: np.ndarray, stored: np.ndarray, info: object) -> np.ndarray:
    elements = gfloat.decode_ndarray(info.etype, codes)
    scales = gfloat.decode_ndarray(info.stype, stored.astype(np.int64))
    return (elements * scales[:, None]).astype(np.float32)


def our_scales(blocks: Blocks, fmt: Format) -> np.ndarray:
    return fmt.pack_header(blocks)[..., 0].reshape(-1)


def canonical(codes: np.ndarray, info: object) -> np.ndarray:
    """Return gfloat's codes with -0 as +0, and without the integer's -2, as we store them."""
    if info.etype.has_nz:
        return np.where(codes == info.etype.code_of_negzero, 0, codes)
    return np.where(codes == MOST_NEGATIVE, MOST_NEGATIVE + 1, codes)


def check(x: np.ndarray, name: str) -> Blocks:
    """Compare scales, codes and values of finite float32 blocks (n, 32); return our blocks."""
    fmt, info = FORMATS[name], PEERS[name]
    tensors = fast.encode(torch.from_numpy(x), fmt)
    blocks = tensors.numpy()
    wide = x.astype(np.float64)
    scales = their_scales(wide, info)
    stored = gfloat.encode_ndarray(info.stype, scales)
    assert np.array_equal(our_scales(blocks, fmt), stored)
    codes = canonical(their_codes(wide, scales, info), info)
    assert np.array_equal(fmt.pack_elements(blocks).astype(np.int64), codes)
    ours = fast.decode(tensors, fmt).numpy().view(np.uint32)
    assert np.array_equal(ours, peer_data.bits_of(their_values(codes, stored, info)))
    return blocks


@pytest.mark.parametrize("name", PEERS)
def test_blocks(name):
    """4 million values: hard ones, subnormals and extremes of the exponent, and normal ones."""
    fmt = FORMATS[name]
    for n, x in enumerate(peer_data.chunks(CHUNKS, seed=10)):
        blocks = check(x, name)
        if n == 0:
            ours = reference.encode(x, fmt)
            assert np.array_equal(ours.codes, blocks.codes)
            assert np.array_equal(ours.exponents, blocks.exponents)
            assert np.array_equal(
                reference.decode(ours, fmt).view(np.uint32),
                fast.decode(fast.TensorBlocks.from_numpy(ours), fmt).numpy().view(np.uint32),
            )


@pytest.mark.parametrize("name", PEERS)
def test_block_functions(name):
    """gfloat's own scale rule, encoder and decoder of a block, one value at a time."""
    fmt, info = FORMATS[name], PEERS[name]
    rng = np.random.default_rng(11)
    x = np.concatenate([peer_data.hard(11)[:: peer_data.KIND // 16], peer_data.normals(rng, 100)])
    blocks = reference.encode(x, fmt)
    scales, codes = our_scales(blocks, fmt), fmt.pack_elements(blocks)
    values = peer_data.bits_of(reference.decode(blocks, fmt))
    for n, row in enumerate(x.astype(np.float64)):
        scale = gfloat.compute_scale_amax(info.etype.emax, row)
        encoded = np.array(list(gfloat.encode_block(info, scale, row / scale)), np.int64)
        encoded[1:] = canonical(encoded[1:], info)
        assert encoded[0] == scales[n]
        assert np.array_equal(encoded[1:], codes[n])
        decoded = np.array(list(gfloat.decode_block(info, encoded.tolist())))
        assert np.array_equal(peer_data.bits_of(decoded), values[n])


@pytest.mark.parametrize("name", PEERS)
def test_every_stored_element(name):
    fmt, info = FORMATS[name], PEERS[name]
    bits = np.arange(1 << info.etype.k)
    values = gfloat.decode_ndarray(info.etype, bits)
    is_number = np.isfinite(values)
    ours = np.ldexp(fmt.element.from_bits(bits).astype(np.float64), fmt.element.lsb)
    assert np.array_equal(ours[is_number], values[is_number])


def test_block_sizes():
    """Bytes of a block, scale included."""
    for name, info in PEERS.items():
        assert FORMATS[name].row_bytes(info.k) == info.block_size_bytes
        assert FORMATS[name].unit == info.k


def one_block(*values: float) -> np.ndarray:
    return np.array([[*values] + [0.0] * (32 - len(values))], np.float32)


def test_mxint8_has_no_most_negative():
    """gfloat rounds below -127.5/64 to -2; we saturate at -127/64, as OCP MX allows."""
    info, fmt = PEERS["mxint8"], FORMATS["mxint8"]
    x = one_block(-127.5 / 64, -1.9999, 127.5 / 64, -127.25 / 64)
    theirs = their_codes(x.astype(np.float64), np.ones(1), info)[0, :4]
    assert theirs.tolist() == [0x80, 0x80, 0x7F, 0x81]
    blocks = reference.encode(x, fmt)
    assert blocks.codes[0, 0, :4].tolist() == [-127, -127, 127, -127]
    assert fmt.pack_elements(blocks)[0, :4].tolist() == [0x81, 0x81, 0x7F, 0x81]


@pytest.mark.parametrize("name", [name for name in PEERS if name != "mxint8"])
def test_negative_zero_is_not_kept(name):
    """gfloat keeps -0, and -0 for what rounds to it; we store 0. OCP allows either."""
    info, fmt = PEERS[name], FORMATS[name]
    x = one_block(1.0, -0.0, -1e-30)
    negative_zero = info.etype.code_of_negzero
    assert (
        their_codes(x.astype(np.float64), np.ones(1), info)[0, 1:3].tolist() == [negative_zero] * 2
    )
    assert fmt.pack_elements(reference.encode(x, fmt))[0, 1:3].tolist() == [0, 0]


def test_scale_of_float32_blocks():
    """gfloat takes log2 in the input's type: in float32 it rounds up to the next power.

    The largest power of two below the maximum is OCP's rule, which we keep; with float64 inputs,
    as elsewhere in this file, gfloat does too.
    """
    info = PEERS["mxint8"]
    x = one_block(np.uint32(0x717FFFFF).view(np.float32))  # the number below 2**100
    assert gfloat.compute_scale_amax(info.etype.emax, x[0]) == 2.0**100
    assert gfloat.compute_scale_amax(info.etype.emax, x[0].astype(np.float64)) == 2.0**99
    assert check(x, "mxint8").exponents.tolist() == [[99 + 127] * 2]


def test_inf_is_a_nan_block():
    """gfloat saturates it under the greatest scale; we make the block NaN. OCP leaves it open."""
    info, fmt = PEERS["mxfp4"], FORMATS["mxfp4"]
    x = one_block(np.inf, 1.0)
    scale = gfloat.compute_scale_amax(info.etype.emax, x[0].astype(np.float64))
    assert scale == 2.0**127
    assert list(gfloat.encode_block(info, scale, x[0] / scale))[:3] == [254, 7, 0]
    blocks = reference.encode(x, fmt)
    assert our_scales(blocks, fmt).tolist() == [255] and not blocks.codes.any()


def test_nan_is_a_nan_block():
    """Both store the NaN scale; gfloat refuses a NaN where the element has none."""
    x = one_block(1.0, np.nan).astype(np.float64)[0]
    for name, info in PEERS.items():
        scale = gfloat.compute_scale_amax(info.etype.emax, x)
        blocks = reference.encode(x.astype(np.float32)[None], FORMATS[name])
        assert our_scales(blocks, FORMATS[name]).tolist() == [255] and not blocks.codes.any()
        if info.etype.num_nans:
            encoded = list(gfloat.encode_block(info, scale, x))
            assert encoded[0] == 255
            assert np.isnan(list(gfloat.decode_block(info, encoded))).all()
        else:
            with pytest.raises(ValueError):
                list(gfloat.encode_block(info, scale, x))
