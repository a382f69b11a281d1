"""`mixdit quantize`, there and back."""

import numpy as np
import pytest

from mixdit_sw.codec.reference import decode, encode
from mixdit_sw.formats import FORMATS, Rounding, get_format

KEYS = {"format", "blocks", "bits_per_element", "qsnr_db"}


def tensor(inputs):
    """A (2, 3, 20) tensor in a file."""
    x = np.random.default_rng(1).normal(size=(2, 3, 20)).astype(np.float32)
    return x, inputs.save("x.npy", x)


@pytest.mark.parametrize("name", FORMATS)
def test_there_and_back(name, report, inputs):
    x, source = tensor(inputs)
    quantized, back = inputs.folder / "x.npz", inputs.folder / "new" / "y.npy"
    found = report("quantize", source, "--format", name, "--out", quantized)
    assert set(found) >= KEYS
    assert (found["format"], found["blocks"]) == (name, 12)
    assert found["bits_per_element"] == get_format(name).bits_per_element(20)
    expected = encode(x, get_format(name))
    with np.load(quantized) as arrays:
        for array in ("codes", "exponents", "micro_exponents"):
            assert arrays[array].dtype == getattr(expected, array).dtype
            assert np.array_equal(arrays[array], getattr(expected, array))
        assert arrays["shape"].tolist() == [2, 3, 20]
    report("quantize", quantized, "--dequantize", "--out", back)
    y = np.load(back)
    assert y.dtype == np.float32
    assert np.array_equal(y, decode(expected, get_format(name), 20))
    noise, signal = np.square(y - x, dtype=float).sum(), np.square(x, dtype=float).sum()
    assert found["qsnr_db"] == pytest.approx(10 * np.log10(signal / noise))


def test_nan_is_data(report, mixdit, inputs):
    x, source = tensor(inputs)
    x[1, 2, 19] = np.nan
    inputs.save("x.npy", x)
    quantized = inputs.folder / "x.npz"
    found = report("quantize", source, "--out", quantized)
    assert found["qsnr_db"] is None
    done = mixdit("quantize", quantized, "--dequantize", "--out", inputs.folder / "y.npy")
    assert (done.status, done.err) == (0, "warning: 1 blocks hold NaN or Inf\n")
    y = np.load(inputs.folder / "y.npy")
    assert np.isnan(y[1, 2, 16:]).all()
    assert np.isnan(y).sum() == 4


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((2, 16)), "must hold float32, not float64"),
        (np.ones((2, 16), np.int8), "must hold float32, not int8"),
        (np.float32(1), "not shape ()"),
        (np.ones((2, 0), np.float32), "not shape (2, 0)"),
        (np.ones((0, 2), np.float32), "not shape (0, 2)"),
    ],
)
def test_bad_tensor(values, message, refused, inputs):
    source = inputs.save("x.npy", values)
    assert message in refused("quantize", source, "--out", inputs.folder / "x.npz")


def test_bad_files(refused, inputs):
    _, source = tensor(inputs)
    out = inputs.folder / "out"
    foreign = inputs.folder / "foreign.npz"
    np.savez(foreign, codes=np.zeros((1, 1, 16), np.int16))
    for arguments, message in (
        ((source, "--format", "mx5"), "Format must be one of mx9, mx6, mx4"),
        ((inputs.folder / "none.npy",), "No such file"),
        ((inputs.folder,), "Is a directory"),
        ((foreign,), "is not a .npy file"),
        ((inputs.write("text.npy", "text"),), "is damaged"),
        ((source, "--dequantize"), "is a .npy file"),
        ((inputs.write("half.npz", foreign.read_bytes()[:60]), "--dequantize"), "is damaged"),
        ((foreign, "--dequantize"), "has no array"),
        ((inputs.folder, "--dequantize"), "Is a directory"),
    ):
        assert message in refused("quantize", *arguments, "--out", out)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": np.array("mx5")}, "Format must be one of"),
        ({"format": np.array(6)}, "must be text"),
        ({"codes": np.zeros((2, 3, 2, 16))}, "must be an integer"),
        ({"codes": np.full((2, 3, 2, 16), 99, np.int16)}, "x.npz: "),
        ({"codes": np.zeros((2, 3, 2, 8), np.int16)}, "x.npz: "),
        ({"micro_exponents": np.full((2, 3, 2, 8), 2, np.uint8)}, "x.npz: "),
        ({"shape": np.array([2, 3, 33])}, "do not make a tensor"),
        ({"shape": np.array([2, -3, 20])}, "do not make a tensor"),
        ({"shape": np.array([], np.int64)}, "do not make a tensor"),
    ],
)
def test_bad_arrays(changes, message, mixdit, refused, inputs):
    _, source = tensor(inputs)
    quantized = inputs.folder / "x.npz"
    assert mixdit("quantize", source, "--out", quantized).status == 0
    with np.load(quantized) as arrays:
        values = {**arrays, **changes}
    np.savez(quantized, **values)
    out = inputs.folder / "y.npy"
    assert message in refused("quantize", quantized, "--dequantize", "--out", out)


@pytest.mark.parametrize("back", [False, True])
def test_output_that_cannot_be_written(back, mixdit, refused, inputs):
    _, source = tensor(inputs)
    quantized = inputs.folder / "x.npz"
    assert mixdit("quantize", source, "--out", quantized).status == 0
    arguments = (quantized, "--dequantize") if back else (source,)
    for out in (source / "out", "", "/proc/none/out"):
        assert "Cannot write" in refused("quantize", *arguments, "--out", out)


def test_rounding_and_seed(report, inputs):
    x, source = tensor(inputs)
    for mode, seed in (("truncate", 0), ("stochastic", 7)):
        options = ("--rounding", mode, "--seed", seed)
        report("quantize", source, "--out", inputs.folder / "x.npz", *options)
        expected = encode(x, get_format("mx6"), Rounding(mode, seed))
        assert np.array_equal(np.load(inputs.folder / "x.npz")["codes"], expected.codes)


def test_formats_of_a_user(report, refused, inputs):
    _, source = tensor(inputs)
    mine = inputs.write(
        "mine.py",
        "from mixdit_sw.formats import register\n"
        "from mixdit_sw.formats.micro_exponent import micro_exponent\n"
        "register(micro_exponent('mx5', 3))\n",
    )
    options = ("--formats", mine, "--format", "mx5")
    found = report("quantize", source, "--out", inputs.folder / "x.npz", *options)
    assert (found["format"], found["bits_per_element"]) == ("mx5", 5.0)
    for text, message in (
        ("1 / 0", "ZeroDivisionError"),
        ("def", "SyntaxError"),
        ("import sys; sys.exit(0)", "it exits"),
    ):
        bad = inputs.write("bad.py", text)
        error = refused("quantize", source, "--out", inputs.folder / "y.npz", "--formats", bad)
        assert f"{bad} failed: {message}" in error
    missing = refused("quantize", source, "--out", inputs.folder / "y.npz", "--formats", "none.py")
    assert "Cannot read none.py: No such file" in missing


def test_results_and_sources_stay_apart(refused, inputs):
    _, source = tensor(inputs)
    out = inputs.folder / "x.npz"
    assert "different files" in refused("quantize", source, "--out", out, "--json", out)
    assert "is read: write to another file" in refused("quantize", source, "--out", source)
    assert "no ordinary file" in refused("quantize", source, "--out", "/dev/null")


@pytest.mark.parametrize(
    ("name", "array", "value"),
    [
        ("nvfp4", "tensor_scale", np.zeros(0, np.float32)),
        ("nvfp4", "tensor_scale", np.float32(-1)),
        ("int4_asym_g32", "zero_points", np.zeros((2, 3, 2), np.uint8)),
        ("mx6", "format", np.array("mxint8")),
    ],
    ids=["no-scale", "negative-scale", "zero-points", "other-format"],
)
def test_arrays_that_do_not_fit(name, array, value, report, refused, inputs):
    x = np.random.default_rng(1).normal(size=(2, 3, 16)).astype(np.float32)
    file = inputs.folder / "x.npz"
    report("quantize", inputs.save("x.npy", x), "--format", name, "--out", file)
    with np.load(file) as loaded:
        arrays = dict(loaded)
    np.savez(file, **{**arrays, array: value})
    assert str(file) in refused("quantize", file, "--dequantize", "--out", inputs.folder / "y.npy")
