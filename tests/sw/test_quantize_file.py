"""Quantized tensors in files: round trips, reports, and a clear line for every bad file."""

import numpy as np
import pytest

from mixdit_sw.codec.reference import decode, encode
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import FORMATS, MX6
from mixdit_sw.metrics import qsnr_db
from mixdit_sw.quantize_file import dequantize_npz, quantize_npy


@pytest.fixture
def tensor():
    return np.random.default_rng(5).standard_normal((2, 3, 37)).astype(np.float32)


def quantized(tmp_path, x, format_name="mx6"):
    source, out = tmp_path / "x.npy", tmp_path / "x.npz"
    np.save(source, x)
    return quantize_npy(source, format_name, out), out


@pytest.mark.parametrize("fmt", FORMATS.values(), ids=lambda f: f.name)
def test_round_trip(tmp_path, tensor, fmt):
    report, file = quantized(tmp_path, tensor, fmt.name)
    expected = decode(encode(tensor, fmt), fmt, 37)
    assert report == {
        "format": fmt.name,
        "blocks": 6 * fmt.padded(37) // 16,
        "nan_blocks": 0,
        "padding": fmt.padded(37) - 37,
        "bits_per_element": fmt.bits_per_element(37),
        "qsnr_db": qsnr_db(tensor, expected),
    }
    back = dequantize_npz(file, tmp_path / "y.npy")
    assert back == {
        "format": fmt.name,
        "blocks": 6 * fmt.padded(37) // 16,
        "nan_blocks": 0,
        "shape": [2, 3, 37],
    }
    y = np.load(tmp_path / "y.npy")
    assert y.dtype == np.float32 and np.array_equal(y, expected)


def test_arrays_are_as_documented(tmp_path, tensor):
    _, file = quantized(tmp_path, tensor)
    with np.load(file, allow_pickle=False) as arrays:
        found = {name: (arrays[name].dtype.kind, arrays[name].shape) for name in arrays.files}
        assert str(arrays["format"]) == "mx6" and arrays["shape"].tolist() == [2, 3, 37]
        assert np.array_equal(arrays["codes"], encode(tensor, MX6).codes)
    assert found == {
        "codes": ("i", (2, 3, 3, 16)),
        "exponents": ("u", (2, 3, 3)),
        "micro_exponents": ("u", (2, 3, 3, 8)),
        "shape": ("i", (3,)),
        "format": ("U", ()),
    }


def test_nan_is_data(tmp_path, tensor):
    tensor[0, 0, 3] = np.inf
    tensor[1, 2, 20] = np.nan
    report, file = quantized(tmp_path, tensor)
    assert report["nan_blocks"] == 2 and report["qsnr_db"] is None
    assert dequantize_npz(file, tmp_path / "y.npy")["nan_blocks"] == 2
    assert np.isnan(np.load(tmp_path / "y.npy")).sum() == 32


def test_zeros_have_no_qsnr(tmp_path):
    report, _ = quantized(tmp_path, np.zeros(5, np.float32))
    assert report["qsnr_db"] is None and report["blocks"] == 1


def test_old_result_survives_a_failure(tmp_path, tensor):
    _, file = quantized(tmp_path, tensor)
    before = file.read_bytes()
    with pytest.raises(MixditError):
        quantized(tmp_path, np.ones(3))
    assert file.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.npy", "x.npz"]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones(3), "must hold float32, not float64: save x.astype"),
        (np.ones(3, np.int8), "must hold float32, not int8"),
        (np.array(1.0, np.float32), r"at least one row of elements, not shape \(\)"),
        (np.ones((2, 0), np.float32), r"at least one row of elements, not shape \(2, 0\)"),
    ],
)
def test_bad_tensors(tmp_path, x, message):
    with pytest.raises(MixditError, match=message):
        quantized(tmp_path, x)
    assert not (tmp_path / "x.npz").exists()


def test_bad_format(tmp_path, tensor):
    with pytest.raises(MixditError, match="one of mx9, mx6, mx4, .*, not 'fp8'"):
        quantized(tmp_path, tensor, "fp8")


def test_unreadable_files(tmp_path, tensor):
    missing, out = tmp_path / "missing", tmp_path / "out"
    with pytest.raises(MixditError, match="Cannot read .*missing: No such file"):
        quantize_npy(missing, "mx6", out)
    with pytest.raises(MixditError, match="Cannot read .*missing: No such file"):
        dequantize_npz(missing, out)
    with pytest.raises(MixditError, match="Cannot write .*: "):
        quantized_to_folder(tmp_path, tensor)


def quantized_to_folder(tmp_path, x):
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "folder").mkdir()
    quantize_npy(tmp_path / "x.npy", "mx6", tmp_path / "folder")


@pytest.mark.parametrize("kept", [0, 3, 60, 500, -1])
def test_truncated_files(tmp_path, tensor, kept):
    _, file = quantized(tmp_path, tensor)
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(MixditError, match="Cannot read .*: it is damaged or not a .npz file"):
        dequantize_npz(file, tmp_path / "y.npy")
    npy = tmp_path / "x.npy"
    npy.write_bytes(npy.read_bytes()[:kept])
    with pytest.raises(MixditError, match="Cannot read .*: it is damaged or not a .npy file"):
        quantize_npy(npy, "mx6", tmp_path / "z.npz")


def test_damage_inside_is_found(tmp_path, tensor):
    _, file = quantized(tmp_path, tensor)
    data = bytearray(file.read_bytes())
    data[300] ^= 0x5A
    file.write_bytes(data)
    with pytest.raises(MixditError, match="it is damaged"):
        dequantize_npz(file, tmp_path / "y.npy")


def test_npy_instead_of_npz(tmp_path, tensor):
    _, file = quantized(tmp_path, tensor)
    with pytest.raises(MixditError, match="it is a .npy file"):
        dequantize_npz(tmp_path / "x.npy", tmp_path / "y.npy")
    with pytest.raises(MixditError, match="it is not a .npy file"):
        quantize_npy(file, "mx6", tmp_path / "y.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codes": None}, "has no array 'codes': it is not a quantized tensor"),
        ({"codes": np.zeros((1, 1, 16))}, "Array 'codes' of .* must be an integer, not float64"),
        ({"codes": np.full((1, 1, 16), 16, np.int16)}, r"Codes of mx6 must be -15..15, not 16..16"),
        ({"codes": np.zeros((1, 1, 15), np.int16)}, "Blocks must have 16 codes"),
        ({"micro_exponents": np.full((1, 1, 8), 2, np.uint8)}, "Micro-exponents must be 0 or 1"),
        ({"exponents": np.full((1, 1), 255, np.uint8)}, "of a NaN block must be 0"),
        (
            {"shape": np.array([1, 17])},
            r"blocks of shape \(1, 1\) do not make a tensor of \(1, 17\)",
        ),
        ({"shape": np.array([], np.int64)}, r"do not make a tensor of \(\)"),
        ({"shape": np.array([-1, 16])}, r"do not make a tensor of \(-1, 16\)"),
        ({"format": np.array("mx7")}, "not 'mx7'"),
        ({"format": np.array(6)}, "Array 'format' of .* must be text, not int64"),
    ],
)
def test_other_contents(tmp_path, change, message):
    arrays = {
        "codes": np.ones((1, 1, 16), np.int16),
        "exponents": np.full((1, 1), 127, np.uint8),
        "micro_exponents": np.zeros((1, 1, 8), np.uint8),
        "shape": np.array([1, 16]),
        "format": np.array("mx6"),
    }
    arrays |= change
    file = tmp_path / "x.npz"
    np.savez(file, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(MixditError, match=message):
        dequantize_npz(file, tmp_path / "y.npy")
    assert not (tmp_path / "y.npy").exists()
