"""Fake quantization and compiled codecs of all formats: the bits of the definitions."""

import numpy as np
import pytest
import torch

from mixdit_sw import native
from mixdit_sw.codec import fake, fast, reference
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import FORMATS, MODES, MX6, Element, OcpFormat, Rounding, get_format
from mixdit_sw.formats.micro_exponent import micro_exponent

NAMES = [*FORMATS, "int4_asym_g48", "fp4_e2m1_row"]
OCP = [name for name, fmt in FORMATS.items() if isinstance(fmt, OcpFormat)]


def tensors():
    """Words of any kind, exponents of any size, ties, short last blocks, zeros of both signs."""
    rng = np.random.default_rng(0)
    words = rng.integers(0, 1 << 32, (200, 320), dtype=np.uint32).view(np.float32)
    spread = rng.standard_normal((200, 333)) * 2.0 ** rng.integers(-149, 120, (200, 333))
    by_row = rng.standard_normal((200, 320)) * 2.0 ** rng.integers(-149, 120, (200, 1))
    ties = np.ldexp(rng.integers(-512, 512, (200, 320)), rng.integers(-12, 3, (200, 320)))
    plain = rng.standard_normal((200, 48))
    plain[3], plain[4] = 0.0, -0.0
    return [x.astype(np.float32) for x in (words, spread, by_row, ties, plain)]


@pytest.fixture(params=["compiled", "torch"])
def form(request, monkeypatch):
    """Use the compiled loops however small the tensor, or never."""
    if request.param == "compiled" and not native.is_available():
        pytest.skip("there is no C++ compiler")
    for module in (fake, fast):
        monkeypatch.setattr(module, "_WORTH_COMPILING", 0)
    if request.param == "torch":
        monkeypatch.setattr(native, "is_available", lambda: False)


def same_values(found, expected):
    is_nan = np.isnan(expected)
    assert np.array_equal(np.isnan(found), is_nan)
    assert np.array_equal(found.view(np.uint32)[~is_nan], expected.view(np.uint32)[~is_nan])


@pytest.mark.parametrize("name", NAMES)
def test_fake_quantization_is_decode_of_encode(form, name):
    fmt = get_format(name)
    for x in tensors():
        expected = reference.decode(reference.encode(x, fmt), fmt, x.shape[1])
        same_values(fake.fake_quantize(torch.from_numpy(x), fmt).numpy(), expected)


@pytest.mark.parametrize("name", ["mx4", "mx6", "mx9"])
def test_truncation_goes_around_the_codec(form, monkeypatch, name):
    """Blocks whose elements differ much, signed zeros among them; none is encoded."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 40)) * 2.0 ** rng.integers(-9, 9, size=(300, 40))
    x[rng.random(x.shape) < 0.1] = -0.0
    x[:5] = 0.0
    x = x.astype(np.float32)
    fmt, rounding = get_format(name), Rounding("truncate")
    expected = reference.decode(reference.encode(x, fmt, rounding), fmt, x.shape[1])
    monkeypatch.setattr(fake, "encode", None)
    found = fake.fake_quantize(torch.from_numpy(x), fmt, rounding=rounding).numpy()
    same_values(found, expected)


@pytest.mark.parametrize("name", ["mx4", "mx6", "mx9"])
def test_truncation_at_every_exponent(form, name):
    fmt, rounding = get_format(name), Rounding("truncate")
    for x in tensors():
        expected = reference.decode(reference.encode(x, fmt, rounding), fmt, x.shape[1])
        found = fake.fake_quantize(torch.from_numpy(x), fmt, rounding=rounding).numpy()
        same_values(found, expected)


def test_loops_that_are_there_take_small_tensors(monkeypatch):
    if not native.is_available():
        pytest.skip("there is no C++ compiler")
    shapes, loop = [], native.fake_quantize

    def seen(x, *rest, **options):
        shapes.append(x.shape)
        loop(x, *rest, **options)

    monkeypatch.setattr(native, "fake_quantize", seen)
    fake.fake_quantize(torch.ones(2, 16), MX6)
    assert shapes == [(2, 16)]
    monkeypatch.setattr(native, "is_loaded", lambda: False)
    fake.fake_quantize(torch.ones(2, 16), MX6)
    assert len(shapes) == 1


@pytest.mark.parametrize("mode", MODES[1:])
@pytest.mark.parametrize("name", ["mx6", "mxfp4", "int4_asym_g48", "nvfp4", "fp16"])
def test_other_roundings(form, name, mode):
    fmt, rounding = get_format(name), Rounding(mode, 5)
    for x in tensors()[2:]:
        expected = reference.decode(reference.encode(x, fmt, rounding), fmt, x.shape[1])
        found = fake.fake_quantize(torch.from_numpy(x), fmt, rounding=rounding).numpy()
        same_values(found, expected)


@pytest.mark.parametrize("name", OCP)
def test_compiled_codes(form, name):
    fmt = get_format(name)
    for x in tensors():
        expected = reference.encode(x, fmt)
        found = fast.encode(torch.from_numpy(x), fmt).numpy()
        for array in ("codes", "exponents", "micro_exponents"):
            assert getattr(found, array).dtype == getattr(expected, array).dtype
            assert np.array_equal(getattr(found, array), getattr(expected, array))


def test_scale_of_a_tensor_in_chunks(monkeypatch):
    """The largest number of all decides, wherever it is; NaN blocks do not count."""
    monkeypatch.setattr(fake, "_CHUNK", {"cpu": 64})
    x = np.random.default_rng(1).standard_normal((100, 48)).astype(np.float32)
    x[50, 7], x[70, 3], x[70, 4] = 100.0, np.nan, 1e30
    fmt = get_format("nvfp4")
    expected = reference.decode(reference.encode(x, fmt), fmt)
    same_values(fake.fake_quantize(torch.from_numpy(x), fmt).numpy(), expected)


def test_non_contiguous_tensors():
    x = torch.randn(64, 96, generator=torch.Generator().manual_seed(0))
    for name in ("mx6", "mxfp4", "int8_asym", "nvfp4", "bf16"):
        fmt = get_format(name)
        expected = fake.fake_quantize(x.T.contiguous(), fmt)
        assert torch.equal(fake.fake_quantize(x.T, fmt), expected)


def test_formats_wider_than_any_engine(form):
    """A user's micro-exponent format of 20 bits: its float32 forms would not hold it."""
    fmt = micro_exponent("mx22", 20)
    for x in tensors():
        expected = reference.decode(reference.encode(x, fmt), fmt, x.shape[1])
        same_values(fake.fake_quantize(torch.from_numpy(x), fmt).numpy(), expected)
        assert np.array_equal(
            fast.encode(torch.from_numpy(x), fmt).codes.numpy(), reference.encode(x, fmt).codes
        )


def test_gradient_is_zero_where_the_result_is_no_number():
    x = torch.ones(32)
    x[3] = torch.nan
    x.requires_grad_()
    y = fake.fake_quantize(x, get_format("mx6"))
    (y * y).sum().backward()
    assert x.grad.tolist() == [0.0] * 16 + [2.0] * 16


@pytest.mark.parametrize("arguments", [("mx6",), (get_format("mx6"), "truncate")])
def test_what_is_no_format(arguments):
    options = dict(zip(("rounding",), arguments[1:], strict=False))
    with pytest.raises(MixditError, match="takes a Format and a Rounding"):
        fake.fake_quantize(torch.ones(16), arguments[0], **options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Element(bits=3, max_code=15), "must end at 1..3, not 15"),
        (lambda: Element(bits=1, max_code=1), "2..32 bits, not 1"),
        (lambda: Element(bits=4, max_code=99, mantissa_bits=1), "must end at 1..12, not 99"),
        (lambda: Element(bits=4, max_code=3, mantissa_bits=4), "1..5 exponent bits"),
        (lambda: OcpFormat(name="x", unit=24, element=MX6.element), "multiple of 16 elements"),
        (lambda: Rounding("stochastic", 1.5), "Seed must be an integer"),
        (lambda: get_format(None), "Format must be a name, not None"),
    ],
    ids=["integer", "one-bit", "minifloat", "no-exponent", "unit", "seed", "name"],
)
def test_definitions_that_are_none(make, message):
    with pytest.raises(MixditError, match=message):
        make()


@pytest.mark.parametrize("name", ["bf16", "fp16"])
def test_every_nan_is_the_quiet_one(name):
    words = np.uint32([0x7F800001, 0x7FFFFFFF, 0xFFC00000, 0xFF800001] * 4).view(np.float32)
    fmt = get_format(name)
    expected = reference.encode(words, fmt).codes
    assert len(set(expected.flat)) == 1
    assert np.array_equal(fast.encode(torch.from_numpy(words), fmt).codes.numpy(), expected)
