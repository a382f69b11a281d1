"""MX9, MX6 and MX4 against both forms that amd-quark has of them, on decoded values.

"torch" is what quark's fake quantization of a model calls; it knows MX6 and MX9 by name, and MX4 by
the same function's parameters. "kernel" is the C++ kernel of quark's ONNX operator, written apart
from it. quark 0.13 takes `pip install amd-quark==0.13 transformers==5.23.0 onnxruntime==1.28.0` and
a C++ compiler; transformers and onnxruntime are not among its declared dependencies.

Zeros are compared without their sign, which has a test of its own.
"""

import numpy as np
import pytest
import torch

from mixdit_sw.codec import fast
from mixdit_sw.codec.fake import fake_quantize
from mixdit_sw.formats import MX4, MX6, MX9

pytestmark = pytest.mark.heavy

SHAPE = (1024, 2048)
FORMATS = (MX9, MX6, MX4)
PEERS = ("torch", "kernel")

_HALF_EVEN = 2
"""Rounding mode of the kernel."""


@pytest.fixture(scope="module")
def quark_torch():
    """Return quark's torch form."""
    module = pytest.importorskip("quark.torch.kernel.hw_emulation.hw_emulation_interface")

    def fake(x, fmt):
        if fmt is MX4:
            bits = 1 + fmt.magnitude_bits
            return module.fake_quantize_mx6_mx9(x, -1, 16, quant_bit=bits, sub_block_size=2)
        return torch.ops.quark.non_scaled_fake_quantize(x, fmt.name, "", -1, 16)

    return fake


@pytest.fixture(scope="module")
def quark_kernel():
    """Return quark's C++ kernel; it takes whole blocks only."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("quark.onnx.operators.custom_ops")

    def fake(x, fmt):
        width = 9 + fmt.magnitude_bits
        return torch.ops.quark_custom_ops.bfp_prime(x, width, 16, 2, 1, _HALF_EVEN)

    return fake


@pytest.fixture
def peer(request):
    return request.getfixturevalue(f"quark_{request.param}")


def fields_between(rng, low, high):
    """Random signs and fractions, exponent fields of low..high."""
    random = rng.integers(0, 1 << 32, SHAPE, dtype=np.uint32) & 0x807FFFFF
    return random | (rng.integers(low, high + 1, SHAPE, dtype=np.uint32) << 23)


def gaussian(rng):
    """Blocks of any magnitude."""
    scale = np.exp2(rng.integers(-60, 61, (SHAPE[0], SHAPE[1] // 16)))
    return (rng.standard_normal(SHAPE) * scale.repeat(16, axis=1)).astype(np.float32)


def zeros(rng):
    """Zeros of both signs, whole blocks of them too, among a few numbers."""
    share = rng.random((SHAPE[0], SHAPE[1] // 16)).repeat(16, axis=1) ** 0.2
    numbers = fields_between(rng, 110, 140)
    return np.where(rng.random(SHAPE) < share, numbers & 0x80000000, numbers)


DATA = {
    "gaussian": gaussian,
    "mixed exponents": lambda rng: fields_between(rng, 115, 135),
    "zeros": zeros,
    # Five bits of significand, so that many values are half way between codes.
    "ties": lambda rng: fields_between(rng, 120, 127) & 0xFFF80000,
    # Fractions that start with ones: many round up to 2**m and are clamped.
    "saturation": lambda rng: fields_between(rng, 124, 127) | 0x007C0000,
    "any finite": lambda rng: fields_between(rng, 0, 254),
    "tiny": lambda rng: fields_between(rng, 0, 14),
    "huge": lambda rng: fields_between(rng, 230, 254),
}


def tensor(values):
    return torch.from_numpy(np.ascontiguousarray(values).view(np.float32))


def block(*values):
    """One block that starts with these values; the others are zero."""
    return torch.tensor([values + (0.0,) * (16 - len(values))])


def words(x):
    """Bits of a tensor, of which all NaNs are one and all zeros are +0."""
    return x.add(0.0).masked_fill(x.isnan(), torch.nan).view(torch.int32)


@pytest.mark.parametrize("peer", PEERS, indirect=True)
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
def test_values_are_equal(fmt, data, peer):
    x = tensor(DATA[data](np.random.default_rng([fmt.magnitude_bits, *data.encode()])))
    expected = words(peer(x, fmt))
    for ours in (fake_quantize(x, fmt), fast.decode(fast.encode(x, fmt), fmt)):
        assert torch.equal(ours.view(torch.int32), expected)


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
def test_rows_are_padded_with_zeros(fmt, quark_torch):
    x = tensor(gaussian(np.random.default_rng(1))[:64, :1001])
    assert torch.equal(fake_quantize(x, fmt).view(torch.int32), words(quark_torch(x, fmt)))


@pytest.mark.parametrize("peer", PEERS, indirect=True)
@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
def test_subnormals_are_zeros(fmt, peer):
    """No deviation: all flush them, also beside the smallest normal number.

    The definition takes the raw exponent field, 0, and no hidden bit, so that a subnormal has no
    place of its own; the largest one is below the smallest normal number but would round to it.
    """
    largest, smallest_normal = 2.0**-126 - 2.0**-149, 2.0**-126
    x = block(largest, -largest, smallest_normal, largest)
    values = block(0.0, 0.0, smallest_normal)
    assert torch.equal(fake_quantize(x, fmt), values)
    assert torch.equal(peer(x, fmt), values)


@pytest.mark.parametrize("peer", PEERS, indirect=True)
@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
def test_quark_has_negative_zeros(fmt, peer, request):
    """Negative numbers that round to zero are -0 in quark, and so is -0 in its kernel; here all +0.

    All follow the definition: its elements have a sign bit, and it does not say which of the two
    codes a zero gets. Ours is the choice that makes the stored bits of a block unique; the values
    are equal. (quark's torch form turns -0 into +0 as it flushes subnormals.)
    """
    x = block(1.0, -0.0, -1e-9, 0.0)
    ours, theirs = fake_quantize(x, fmt), peer(x, fmt)
    assert torch.equal(ours, theirs)
    assert not ours.signbit().any()
    is_kernel = request.node.callspec.params["peer"] == "kernel"
    assert theirs.signbit()[0, :4].tolist() == [False, is_kernel, True, False]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
def test_quark_kernel_has_nan_blocks_too(fmt, bad, quark_kernel):
    """No deviation: a NaN or an Inf makes all its block NaN, and no other block."""
    x = torch.cat([block(1.0, bad, 3.0), block(1.0, 2.0)], dim=1)
    for found in (fake_quantize(x, fmt), quark_kernel(x, fmt)):
        assert found[0, :16].isnan().all()
        assert torch.equal(found[0, 16:], x[0, 16:])


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
def test_quark_torch_passes_single_elements_that_are_not_finite(fmt, bad, quark_torch):
    """quark's torch form leaves NaN and Inf in place and quantizes the rest of the block.

    We make the block NaN, as quark's own kernel does. That is what the definition leads to: the
    shared exponent is the largest of the block, 255, which scales no number, and no element has a
    code for NaN or Inf, so that no stored block decodes into what quark returns.
    """
    x = block(1.0, bad, 3.0)
    values = fake_quantize(block(1.0, 0.0, 3.0), fmt)
    values[0, 1] = bad
    assert torch.equal(words(quark_torch(x, fmt)), words(values))
    assert fake_quantize(x, fmt).isnan().all()
