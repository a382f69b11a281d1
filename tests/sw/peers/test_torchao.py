"""OCP block formats, bit for bit against torchao's MX tensors."""

import numpy as np
import peer_data
import pytest
import torch
from torch_compare import check_reference, words_of

from mixdit_sw.codec import fast, reference
from mixdit_sw.codec.pack import pack
from mixdit_sw.codec.rounding import round_codes
from mixdit_sw.formats import FORMATS, NEAREST, Format

mx = pytest.importorskip("torchao.prototype.mx_formats.mx_tensor")

DTYPES = {
    "mxfp8_e4m3": torch.float8_e4m3fn,
    "mxfp8_e5m2": torch.float8_e5m2,
    "mxfp6_e3m2": mx.DTYPE_FP6_E3M2,
    "mxfp6_e2m3": mx.DTYPE_FP6_E2M3,
    "mxfp4": torch.float4_e2m1fn_x2,
}
EMAX = {"mxfp8_e4m3": 8, "mxfp8_e5m2": 15, "mxfp6_e3m2": 4, "mxfp6_e2m3": 2, "mxfp4": 2}
CHUNKS = 10
NAN_SCALE = 255


def to_mx(x: torch.Tensor, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return torchao's stored scales, and its elements' bits, one to a byte."""
    floor = mx.ScaleCalculationMode.FLOOR
    scales, data = mx.to_mx(x.contiguous(), DTYPES[name], 32, scaling_mode=floor)
    bits = mx.unpack_uint4(data) if name == "mxfp4" else data.view(torch.uint8)
    return scales.view(torch.uint8)[..., 0], bits


def mx_values(x: torch.Tensor, name: str) -> torch.Tensor:
    """Return the values of torchao's tensor of x."""
    floor = mx.ScaleCalculationMode.FLOOR
    return mx.MXTensor.to_mx(x.contiguous(), DTYPES[name], 32, floor).dequantize(torch.float32)


def our_scales(blocks: fast.TensorBlocks) -> torch.Tensor:
    """Return the stored scale of each block of 32; there is one in a row here."""
    return blocks.exponents[..., 0]


def our_bits(blocks: fast.TensorBlocks, fmt: Format) -> torch.Tensor:
    bits = fmt.pack_elements(blocks.numpy())
    return torch.from_numpy(bits.astype(np.uint8))


def without_sign_of_zero(bits: torch.Tensor, fmt: Format) -> torch.Tensor:
    """Return elements' bits with +0 for -0, as we store them."""
    return torch.where(bits == 1 << (fmt.element.bits - 1), 0, bits)


def is_least_scale(x: torch.Tensor, name: str) -> torch.Tensor:
    """Return which blocks get the stored scale 0, where torchao divides by another one."""
    largest = x.abs().amax(dim=-1)
    return (largest > 0) & (largest.double() < 2.0 ** (EMAX[name] - 126))


@pytest.mark.parametrize("name", DTYPES)
def test_mx_blocks(name):
    """11.5 million values, of which blocks at the least scale are in a test of their own."""
    fmt = FORMATS[name]
    for n, chunk in enumerate(peer_data.chunks(CHUNKS, seed=20)):
        x = torch.from_numpy(chunk)
        blocks = fast.encode(x, fmt)
        scales, bits = to_mx(x, name)
        assert torch.equal(our_scales(blocks), scales)
        kept = ~is_least_scale(x, name)
        assert kept.sum() > 0.8 * len(kept)
        theirs = without_sign_of_zero(bits, fmt)
        assert torch.equal(our_bits(blocks, fmt)[kept], theirs[kept])
        ours = fast.decode(blocks, fmt).view(torch.int32)
        assert torch.equal(ours[kept], words_of(mx_values(x, name))[kept])
        if n == 0:
            check_reference(chunk, blocks, fmt)


@pytest.mark.parametrize("name", ["mxfp8_e4m3", "mxfp8_e5m2", "mxfp4"])
def test_mx_bytes(name):
    """Scales and elements as they lie in memory; torchao does not pack elements of 6 bits."""
    fmt = FORMATS[name]
    x = torch.from_numpy(peer_data.normals(np.random.default_rng(21), 4096)) + 0.0
    scales, data = mx.to_mx(x, DTYPES[name], 32, scaling_mode=mx.ScaleCalculationMode.FLOOR)
    _, bits = to_mx(x, name)
    kept = (bits != 1 << (fmt.element.bits - 1)).all(dim=-1)
    stored = torch.from_numpy(pack(reference.encode(x.numpy(), fmt), fmt))
    theirs = torch.cat([scales.view(torch.uint8), data.view(torch.uint8)], dim=-1)
    assert kept.sum() > 500
    assert torch.equal(stored[kept], theirs[kept])


@pytest.mark.parametrize("name", DTYPES)
def test_mx_at_the_least_scale(name):
    """torchao 0.18 stores the scale 2**-127 but divides by 2**-126, so its values are halved.

    This is pytorch/ao issue 1104. By OCP MX a value is its element times the stored scale, which
    ours are: their error is much less.
    """
    fmt, rng = FORMATS[name], np.random.default_rng(22)
    x = torch.from_numpy(peer_data.words(rng, (1 << 14, 32), 0, EMAX[name]))
    assert is_least_scale(x, name).all()
    scales, bits = to_mx(x, name)
    blocks = fast.encode(x, fmt)
    assert not scales.any() and not our_scales(blocks).any()

    codes = round_codes(x.double() * 2.0 ** (126 - fmt.element.lsb), fmt.element, NEAREST)
    expected = torch.from_numpy(fmt.element.to_bits(codes.numpy()).astype(np.uint8))
    assert torch.equal(without_sign_of_zero(bits, fmt), expected)
    theirs = (codes.double() * 2.0 ** (fmt.element.lsb - 127)).float()
    assert torch.equal(words_of(mx_values(x, name)), words_of(theirs))

    error = (fast.decode(blocks, fmt).double() - x).abs().sum()
    assert error < (theirs.double() - x).abs().sum() / 4


@pytest.mark.parametrize("name", DTYPES)
def test_mx_nan(name):
    """Both store the NaN scale, and every value is NaN; torchao's elements are whatever they are.

    Ours are 0, since a block has one form.
    """
    fmt = FORMATS[name]
    x = torch.from_numpy(peer_data.broken(23))
    x = x[x.isnan().any(dim=-1)]
    scales, bits = to_mx(x, name)
    blocks = fast.encode(x, fmt)
    assert (scales == NAN_SCALE).all() and torch.equal(our_scales(blocks), scales)
    assert mx_values(x, name).isnan().all() and fast.decode(blocks, fmt).isnan().all()
    assert bits.any() and not blocks.codes.any()


@pytest.mark.parametrize("name", DTYPES)
def test_mx_inf(name):
    """torchao takes an Inf for a number of exponent 128 and saturates it; we make the block NaN.

    OCP leaves it open. torchao's largest values then overflow to Inf again.
    """
    fmt = FORMATS[name]
    x = torch.from_numpy(peer_data.broken(24))
    x = x[x.isinf().any(dim=-1) & ~x.isnan().any(dim=-1)]
    scales, bits = to_mx(x, name)
    assert (scales == 255 - EMAX[name]).all()
    top = int(fmt.element.to_bits(np.array([fmt.max_code]))[0])
    assert (bits[x == torch.inf] == top).all()
    assert torch.equal(mx_values(x, name).isinf(), x.isinf())
    blocks = fast.encode(x, fmt)
    assert (our_scales(blocks) == NAN_SCALE).all() and not blocks.codes.any()


@pytest.mark.parametrize("name", DTYPES)
def test_mx_negative_zero_is_not_kept(name):
    """torchao keeps -0, and -0 for what rounds to it; we store 0. OCP allows either."""
    fmt = FORMATS[name]
    x = torch.zeros(1, 32)
    x[0, :3] = torch.tensor([1.0, -0.0, -1e-30])
    _, bits = to_mx(x, name)
    assert bits[0, 1:3].tolist() == [1 << (fmt.element.bits - 1)] * 2
    assert our_bits(fast.encode(x, fmt), fmt)[0, 1:3].tolist() == [0, 0]


@pytest.mark.parametrize("name", DTYPES)
def test_every_stored_mx_element(name):
    """What the bits of an element stand for at a scale of 1, but for Inf and NaN."""
    fmt = FORMATS[name]
    bits = torch.arange(1 << fmt.element.bits, dtype=torch.uint8).repeat(2)
    data = mx.pack_uint4(bits) if name == "mxfp4" else bits
    data = data.view(DTYPES[name]) if name.startswith("mxfp8") else data
    one = torch.full((len(bits) // 32,), 127, dtype=torch.uint8)
    values = mx.to_dtype(data, one, DTYPES[name], 32, torch.float32)
    codes = fmt.element.from_bits(bits.numpy()).astype(np.float64)
    ours = torch.from_numpy(np.ldexp(codes, fmt.element.lsb)).float()
    kept = values.isfinite()
    assert torch.equal(words_of(ours)[kept], words_of(values)[kept])


# NVFP4. torchao computes in FP32 what we define by exact quotients: the block scale is E4M3 of
# FP32(FP32(max / 6) / t), and an element is E2M1 of FP32(x * FP32(FP32(1 / t) / s)). Where an exact
# quotient is within a few 2**-24 of a tie the two may therefore differ, and nowhere else.
