"""NVFP4 against torchao's NVFP4 tensors: bit for bit, but next to ties."""

from fractions import Fraction

import numpy as np
import peer_data
import pytest
import torch
from torch_compare import check_reference, words_of

from mixdit_sw.codec import fast
from mixdit_sw.codec.pack import pack
from mixdit_sw.codec.rounding import round_codes
from mixdit_sw.formats import FORMATS, NEAREST

mx = pytest.importorskip("torchao.prototype.mx_formats.mx_tensor")
nv = pytest.importorskip("torchao.prototype.mx_formats.nvfp4_tensor")

CHUNKS = 10
NVFP4 = FORMATS["nvfp4"]
E4M3_TINY = 2.0**-6
"""torchao's least block scale; E4M3 goes on to 2**-9 in subnormals."""

CLOSE = 5 * 2.0**-24
"""Bound of torchao's relative error in the FP32 quotients that it rounds: four roundings."""


def nv_quantize(x: torch.Tensor, scale: np.float32 | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return torchao's block scales in FP32, and its elements as codes, which count halves."""
    tensor_scale = None if scale is None else torch.tensor(float(scale))
    scales, data = nv.nvfp4_quantize(x, 16, tensor_scale)
    bits = mx.unpack_uint4(data).numpy()
    return scales.float().view(len(x), -1), torch.from_numpy(NVFP4.element.from_bits(bits))


def nv_values(x: torch.Tensor, scale: np.float32) -> torch.Tensor:
    tensor = nv.NVFP4Tensor.to_nvfp4(x, per_tensor_scale=torch.tensor(float(scale)))
    return tensor.dequantize(torch.float32)


def e4m3(x: torch.Tensor) -> torch.Tensor:
    """Return x rounded by our E4M3."""
    grid = NVFP4.block_scale
    return (round_codes(x.double() * 2.0**-grid.lsb, grid, NEAREST) * 2.0**grid.lsb).float()


def is_close_to_tie(x: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Return where |x| is within torchao's error of the middle between neighbours of a grid."""
    close = torch.zeros_like(x, dtype=torch.bool)
    for middle in (grid[1:] + grid[:-1]) / 2:
        close |= (x.abs() - middle).abs() <= CLOSE * middle
    return close


def check_nv(x: torch.Tensor, blocks: fast.TensorBlocks) -> tuple[torch.Tensor, torch.Tensor]:
    """Compare float32 x (n, 16 m) with torchao; return which scales and codes differ.

    Everything must be equal but for ties, and where torchao clamps the scale. What differs must be
    our own rounding of torchao's FP32 quotients.
    """
    t = blocks.tensor_scale
    scales, codes = nv_quantize(x, t)
    groups = x.view(len(x), -1, 16)
    largest = groups.abs().amax(dim=-1)

    fp32 = ((largest / 6.0) / float(t)).clamp(E4M3_TINY, 448.0)
    assert torch.equal(scales, e4m3(fp32))
    exact = largest.double() / 6.0 / float(t)
    e4m3_grid = torch.arange(0x7F, dtype=torch.uint8).view(torch.float8_e4m3fn).double()
    may_differ = is_close_to_tie(exact, e4m3_grid) | (exact < E4M3_TINY)
    assert torch.equal(scales[~may_differ], blocks.scales[~may_differ])

    reciprocals = (1.0 / torch.tensor(float(t))) / scales
    scaled = (groups * reciprocals[..., None]).double()
    codes = codes.view(groups.shape)
    assert torch.equal(codes, round_codes(2.0 * scaled, NVFP4.element, NEAREST))
    same_scale = scales == blocks.scales
    steps = (blocks.scales.double() * float(t)).float()[..., None]
    e2m1_grid = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6], dtype=torch.float64)
    close = is_close_to_tie(groups.double() / steps, e2m1_grid)
    ours = blocks.codes.view(groups.shape)
    kept = same_scale[..., None] & ~close
    assert torch.equal(codes[kept], ours[kept].long())

    differs = codes != ours
    equal = same_scale[..., None] & ~differs
    values = words_of(nv_values(x, t)).view(groups.shape)
    decoded = words_of(fast.decode(blocks, NVFP4)).view(groups.shape)
    assert torch.equal(values[equal], decoded[equal])
    return ~same_scale, differs & same_scale[..., None]


def nv_tensor(seed: int) -> np.ndarray:
    """Return a tensor whose blocks have various scales, none below torchao's least one."""
    rng = np.random.default_rng([30, seed])
    x = rng.standard_normal((1024, 1024), dtype=np.float32).reshape(1024, 64, 16)
    x = np.ldexp(x, rng.integers(-9, 1, (1024, 64, 1)))
    return np.ldexp(x.reshape(1024, 1024), int(rng.integers(-60, 60)))


def test_nvfp4_blocks():
    """10 million values, equal but for at most a few in a million, which are next to a tie."""
    scales_differ = codes_differ = 0
    for seed in range(CHUNKS):
        x = torch.from_numpy(nv_tensor(seed))
        blocks = fast.encode(x, NVFP4)
        assert float(nv.per_tensor_amax_to_scale(x.abs().max())) == float(blocks.tensor_scale)
        scales, codes = check_nv(x, blocks)
        scales_differ += int(scales.sum())
        codes_differ += int(codes.sum())
        if seed == 0:
            check_reference(x.numpy(), blocks, NVFP4)
    assert scales_differ <= 10
    assert codes_differ <= 100


def nv_blocks(x: torch.Tensor, scale: float) -> fast.TensorBlocks:
    """Return our blocks of x under a tensor scale that is given."""
    return fast.TensorBlocks.from_numpy(NVFP4.encode(x.numpy(), tensor_scale=np.float32(scale)))


@pytest.mark.parametrize("exponent", [-40, 0, 40])
def test_nvfp4_hard_blocks(exponent):
    """Zeros, ties, edges of saturation, all exponents: 0.5 million values under one scale each."""
    x = torch.from_numpy(peer_data.hard(31)[: 4 * peer_data.KIND])
    scales, codes = check_nv(x, nv_blocks(x, 2.0**exponent))
    assert 0 < scales.sum() < 0.8 * scales.numel()
    assert codes.sum() < 1e-3 * codes.numel()


def test_nvfp4_next_to_ties():
    """Where torchao's quotients are too coarse to compare with, our two codecs agree."""
    rng = np.random.default_rng(34)
    middles = np.array([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0])
    for _ in range(100):
        largest = np.float32(rng.uniform(1, 2))
        x = np.zeros((126, 16), np.float32)
        scales = np.arange(1, 127, dtype=np.uint8)[:, None]
        scales = torch.from_numpy(scales).view(torch.float8_e4m3fn).double().numpy()
        steps = (scales * np.float64(NVFP4.tensor_scale(largest))).astype(np.float32)
        x[:, :7] = x[:, 7:14] = middles * steps
        x[:, 14] = 6 * steps[:, 0]
        x[:, 15] = 0
        shifts = np.where(np.arange(16) < 7, rng.integers(-1, 2, x.shape), 0).astype(np.int32)
        x = (x.view(np.int32) + shifts).clip(0).view(np.float32)
        x[-1, 15] = largest
        tensor = torch.from_numpy(x)
        blocks = fast.encode(tensor, NVFP4)
        check_reference(x, blocks, NVFP4)
        check_nv(tensor, blocks)


def test_nvfp4_without_tensor_scale():
    """torchao's other form is NVFP4 with a tensor scale of 1, where large blocks saturate."""
    x = torch.from_numpy(peer_data.normals(np.random.default_rng(32), 1 << 14, exponents=11))
    scales, codes = nv_quantize(x, None)
    assert (scales == 448).any()
    other_scales, other_codes = nv_quantize(x, np.float32(1))
    assert torch.equal(scales, other_scales) and torch.equal(codes, other_codes)
    check_nv(x, nv_blocks(x, 1.0))


def test_nvfp4_bytes():
    """Elements as they lie in memory, low nibble first, and the bits of the scale."""
    x = torch.from_numpy(nv_tensor(33)[:, :16]).abs().contiguous()
    ours = NVFP4.encode(x.numpy())
    tensor_scale = torch.tensor(float(ours.tensor_scale))
    scales, data = nv.nvfp4_quantize(x, 16, tensor_scale)
    kept = ours.scales[:, 0] >= E4M3_TINY
    theirs = torch.cat([scales.view(torch.uint8), data], dim=-1).numpy()
    assert kept.sum() > 500
    assert np.array_equal(pack(ours, NVFP4)[kept], theirs[kept])


def test_every_stored_nvfp4_scale():
    """Scales are E4M3 without a sign; 0x7F is NaN."""
    bits = torch.arange(0x80, dtype=torch.uint8)
    blocks = NVFP4.unpack(bits.numpy()[:, None, None], np.ones((128, 16), np.uint64), np.float32(1))
    expected = bits.view(torch.float8_e4m3fn).float().numpy()
    assert np.array_equal(blocks.scales[:, 0], expected, equal_nan=True)


def nv_block(*values: float) -> torch.Tensor:
    """Return a row of one block that begins with `values`."""
    return torch.tensor([[*values] + [0.0] * (16 - len(values))])


def test_nvfp4_elements_at_ties():
    """torchao multiplies by FP32(1 / s), which moves exact ties; ours go to the even code.

    No specification settles it: torchao follows a kernel. By the definition, x / s to nearest even,
    the last three numbers here are wrong.
    """
    s = 1.875
    x = nv_block(6 * s, 0.25 * s, 0.75 * s, 5 * s, 2.5 * s, -1.25 * s)
    scales, codes = nv_quantize(x, np.float32(1))
    blocks = nv_blocks(x, 1.0)
    assert scales.item() == blocks.scales.item() == s
    assert codes[0, :6].tolist() == [12, 0, 2, 12, 6, -3]
    assert blocks.codes[0, 0, :6].tolist() == [12, 0, 2, 8, 4, -2]


@pytest.mark.parametrize(
    ("tensor_scale", "largest", "theirs", "ours"),
    [
        (15524161 * 2.0**-23, 0x17987 * 2.0**-19, 0.015625, 0.017578125),
        (10970868 * 2.0**-23, 0x168F5FE * 2.0**-27, 0.0234375, 0.021484375),
    ],
)
def test_nvfp4_scales_at_ties(tensor_scale, largest, theirs, ours):
    """torchao rounds max / 6 to FP32, then the quotient, then to E4M3; ours is rounded once.

    So a quotient just beside a tie becomes the tie. The definition, E4M3 of the quotient, is ours.
    """
    x = nv_block(largest)
    scales, _ = nv_quantize(x, np.float32(tensor_scale))
    blocks = nv_blocks(x, tensor_scale)
    check_nv(x, blocks)
    assert (scales.item(), blocks.scales.item()) == (theirs, ours)
    exact = Fraction(largest) / 6 / Fraction(tensor_scale)
    assert abs(exact - Fraction(ours)) < abs(exact - Fraction(theirs))


def test_nvfp4_least_scale():
    """torchao clamps scales at 2**-6, the least normal E4M3; ours go on to 2**-9, and to 0.

    Its small blocks lose precision. Blocks of zeros are zeros in both.
    """
    x = torch.cat([nv_block(6 * 2.0**-k, 2.0**-k) for k in (6, 7, 9, 10, 11)] + [nv_block()])
    scales, codes = nv_quantize(x, np.float32(1))
    blocks = nv_blocks(x, 1.0)
    check_nv(x, blocks)
    assert scales[:, 0].tolist() == [2.0**-6] * 6
    assert blocks.scales[:, 0].tolist() == [2.0**-6, 2.0**-7, 2.0**-9, 0, 0, 0]
    assert codes[:, :2].tolist() == [[12, 2], [6, 1], [2, 0], [1, 0], [0, 0], [0, 0]]
    assert blocks.codes[:, 0, :2].tolist() == [[12, 2]] * 3 + [[0, 0]] * 3


def test_nvfp4_tensor_of_zeros():
    """torchao divides by the tensor scale 0, and the tensor is NaN; ours is zeros."""
    x = nv_block()
    scale = nv.per_tensor_amax_to_scale(x.abs().max())
    assert scale == 0 and nv_values(x, scale.numpy()).isnan().all()
    blocks = fast.encode(x, NVFP4)
    assert blocks.tensor_scale == 0
    assert torch.equal(fast.decode(blocks, NVFP4).view(torch.int32), torch.zeros(1, 16).int())


def test_nvfp4_of_tiny_tensors():
    """Where 1 / t overflows, torchao's elements are the largest, and NaN for 0; ours are right."""
    x = nv_block(2.0**-120, 2.0**-121, 0.0)
    blocks = fast.encode(x, NVFP4)
    _, codes = nv_quantize(x, blocks.tensor_scale)
    assert codes[0, :2].tolist() == [12, 12]
    assert blocks.codes[0, 0, :3].tolist() == [12, 6, 0]


def test_nvfp4_nan():
    """Under a given tensor scale both make the block NaN; torchao's own scale makes all NaN."""
    x = torch.cat([nv_block(1.0, torch.nan), nv_block(1.0)])
    blocks = fast.encode(x, NVFP4)
    values = nv_values(x, blocks.tensor_scale)
    assert values.isnan().all(dim=-1).tolist() == [True, False]
    assert torch.equal(values.isnan(), fast.decode(blocks, NVFP4).isnan())
    assert torch.equal(values[1], fast.decode(blocks, NVFP4)[1])
    assert nv_values(x, nv.per_tensor_amax_to_scale(x.abs().max()).numpy()).isnan().all()


def test_nvfp4_inf():
    """torchao saturates an Inf under a given tensor scale; we make the block NaN."""
    x = torch.cat([nv_block(1.0, -torch.inf), nv_block(1.0)])
    blocks = fast.encode(x, NVFP4)
    scales, codes = nv_quantize(x, blocks.tensor_scale)
    assert scales[0].item() == 448 and codes[0, :2].tolist() == [12, -12]
    assert blocks.scales[0].isnan().all() and not blocks.codes[0].any()
    assert torch.equal(nv_values(x, blocks.tensor_scale)[1], fast.decode(blocks, NVFP4)[1])


def test_nvfp4_negative_zero_is_not_kept():
    """torchao keeps -0, and -0 for what rounds to it; we store 0."""
    x = nv_block(6.0, -0.0, -1e-30)
    _, data = nv.nvfp4_quantize(x, 16, torch.tensor(1.0))
    assert mx.unpack_uint4(data)[0, 1:3].tolist() == [8, 8]
    assert NVFP4.pack_elements(NVFP4.encode(x.numpy()))[0, 1:3].tolist() == [0, 0]
