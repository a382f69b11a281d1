"""The codec in torch and fake quantization against the codec in NumPy, bit for bit."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mixdit_sw import native
from mixdit_sw.codec import fake, fast, reference
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import MX4, MX6, MX9

ALL = [MX9, MX6, MX4]
FORMS = ["compiled", "passes"]


@pytest.fixture
def form(request, monkeypatch):
    """Make fake_quantize take one of its two ways, in chunks that end inside the tensor."""
    monkeypatch.setattr(fake, "_WORTH_COMPILING", 0)
    monkeypatch.setitem(fake._CHUNK, "cpu", 16 * 64)
    if request.param == "compiled":
        assert native.is_available()
    else:
        monkeypatch.setattr(native, "is_available", lambda: False)


def words(x) -> np.ndarray:
    return np.asarray(x).view(np.uint32)


def fields_between(rng, shape, low, high):
    """Random signs and fractions, exponent fields of low..high."""
    random = rng.integers(0, 1 << 32, shape, dtype=np.uint32) & 0x807FFFFF
    return random | (rng.integers(low, high + 1, shape, dtype=np.uint32) << 23)


def ties(rng, shape):
    """Few significant bits, so that many values are half way between codes."""
    return fields_between(rng, shape, 120, 127) & 0xFFF00000


def mostly_small(rng, shape):
    """Subnormals and zeros, in blocks of the smallest exponents."""
    small = rng.integers(0, 1 << 32, shape, dtype=np.uint32) & 0x807FFFFF
    normal = fields_between(rng, shape, 1, 20)
    return np.where(rng.random(shape) < 0.9, small * rng.integers(0, 2, shape), normal)


DATA = {
    "any bits": lambda rng, shape: rng.integers(0, 1 << 32, shape, dtype=np.uint32),
    "near": lambda rng, shape: fields_between(rng, shape, 110, 135),
    "tiny": lambda rng, shape: fields_between(rng, shape, 0, 14),
    "at the upper end of the passes": lambda rng, shape: fields_between(rng, shape, 222, 230),
    "beyond it": lambda rng, shape: fields_between(rng, shape, 226, 240),
    "huge": lambda rng, shape: fields_between(rng, shape, 215, 254),
    "huge and NaN": lambda rng, shape: fields_between(rng, shape, 236, 255),
    "ties": ties,
    "mostly small": mostly_small,
}


def compare(x: np.ndarray, fmt) -> None:
    """Compare the fast forms with the reference on an array."""
    k = x.shape[-1]
    expected = reference.encode(x, fmt)
    found = fast.encode(torch.from_numpy(x.copy()), fmt)
    for name in ("codes", "exponents", "micro_exponents"):
        array = getattr(found.numpy(), name)
        assert array.dtype == getattr(expected, name).dtype
        assert np.array_equal(array, getattr(expected, name))
    values = reference.decode(expected, fmt, k)
    assert np.array_equal(words(fast.decode(found, fmt, k)), words(values))
    assert np.array_equal(words(fake.fake_quantize(torch.from_numpy(x.copy()), fmt)), words(values))


@pytest.mark.parametrize("form", FORMS, indirect=True)
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("fmt", ALL, ids=lambda f: f.name)
@pytest.mark.parametrize("shape", [(3000,), (70, 48), (5, 7, 37), (2, 1500), (3, 1)])
def test_equals_reference(form, shape, fmt, data):
    rng = np.random.default_rng(len(data))
    compare(DATA[data](rng, shape).astype(np.uint32).view(np.float32), fmt)


@pytest.mark.parametrize("form", FORMS, indirect=True)
@pytest.mark.parametrize("fmt", ALL, ids=lambda f: f.name)
def test_every_exponent(form, fmt):
    """A block and its neighbour of every stored exponent, each with values of every size below."""
    top = np.arange(1, 255, dtype=np.uint32)[:, None]
    below = np.clip(top - np.arange(-8, 8, dtype=np.int64).clip(min=0), 0, None).astype(np.uint32)
    rng = np.random.default_rng(9)
    for fraction in (0, 0x400000, 0x7FFFFF):
        sign = rng.integers(0, 2, below.shape, dtype=np.uint32) << 31
        compare((sign | below << 23 | np.uint32(fraction)).view(np.float32), fmt)


@pytest.mark.parametrize("form", FORMS, indirect=True)
@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # it holds for all examples
)
@given(
    values=st.lists(
        st.one_of(st.floats(width=32), st.integers(-600, 600).map(lambda n: n / 256)),
        min_size=1,
        max_size=40,
    ),
    fmt=st.sampled_from(ALL),
)
def test_any_row(form, values, fmt):
    compare(np.array(values, np.float32), fmt)


@pytest.mark.parametrize("form", FORMS, indirect=True)
def test_result_goes_where_it_is_asked_for(form):
    fmt = MX6
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((40, 37)).astype(np.float32))
    expected = fake.fake_quantize(x, fmt)
    out = torch.empty_like(x)
    assert fake.fake_quantize(x, fmt, out=out) is out and torch.equal(out, expected)
    before = x.clone()
    assert torch.equal(fake.fake_quantize(x.T.contiguous().T, fmt), expected)
    assert torch.equal(x, before)
    assert fake.fake_quantize(x, fmt, out=x) is x and torch.equal(x, expected)


def test_gradients_pass_straight_through():
    x = torch.linspace(-3, 3, 32).requires_grad_()
    with torch.no_grad():
        assert not fake.fake_quantize(x, MX6).requires_grad
    weights = torch.arange(32.0)
    (fake.fake_quantize(x, MX6) * weights).sum().backward()
    assert torch.equal(x.grad, weights)


def test_no_gradient_reaches_nan_blocks():
    x = torch.ones(32)
    x[3] = torch.nan
    x.requires_grad_()
    fake.fake_quantize(x, MX6).nan_to_num(0.0).sum().backward()
    assert x.grad.tolist() == [0.0] * 16 + [1.0] * 16


def test_numpy_and_back():
    blocks = reference.encode(np.arange(40, dtype=np.float32), MX9)
    again = fast.TensorBlocks.from_numpy(blocks).numpy()
    for name in ("codes", "exponents", "micro_exponents"):
        assert np.array_equal(getattr(again, name), getattr(blocks, name))


@pytest.mark.parametrize("function", [fast.encode, fake.fake_quantize])
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.ones(4, dtype=torch.float64), "Tensor must be float32, not float64"),
        (torch.tensor(1.0), r"along its last axis, not shape \(\)"),
        (torch.ones(3, 0), r"along its last axis, not shape \(3, 0\)"),
    ],
)
def test_input_errors(function, x, message):
    with pytest.raises(MixditError, match=message):
        function(x, MX6)


@pytest.mark.parametrize("out", [torch.ones(3), torch.ones(4, dtype=torch.float64)])
def test_result_errors(out):
    with pytest.raises(MixditError, match=r"Result must be contiguous float32 of shape \(4,\)"):
        fake.fake_quantize(torch.ones(4), MX6, out=out)
