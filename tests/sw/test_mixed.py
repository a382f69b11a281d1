"""Mixed-precision tensors: by tile and K-block, in memory and in files."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mixdit_sw.codec.reference import decode, encode
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import FORMATS, MX6, MX9, get_format
from mixdit_sw.gemm.fast import golden_gemm
from mixdit_sw.gemm.kinds import DEFAULT_KIND
from mixdit_sw.mixed import golden_gemm_mixed, quantize_mixed
from mixdit_sw.mixed_file import KEY, load_mixed, save_mixed
from mixdit_sw.operand import quantize_operand

ROWS, K, TILE = 40, 300, 16


@pytest.fixture
def x():
    return np.random.default_rng(0).standard_normal((ROWS, K)).astype(np.float32)


@pytest.fixture
def order():
    return np.random.default_rng(1).permutation(K)


def any_formats(tiles=3, seed=2):
    """A map with every format and variants of group size."""
    names = [*FORMATS, "int4_asym_g32", "fp4_e2m1_row"]
    rng = np.random.default_rng(seed)
    return [[get_format(str(rng.choice(names))) for _ in range(19)] for _ in range(tiles)]


def test_each_block_has_its_format(x, order):
    formats = [[MX9 if (k + t) % 3 == 0 else MX6 for k in range(19)] for t in range(3)]
    tensor = quantize_mixed(x, formats, tile_rows=TILE, order=order)
    padded = np.pad(x[:, order], [(0, 0), (0, 4)])
    ordered = tensor.values()[:, order]
    for t, row in enumerate(formats):
        for k, fmt in enumerate(row):
            rows, lanes = slice(TILE * t, TILE * (t + 1)), slice(16 * k, min(16 * k + 16, K))
            block = padded[rows, 16 * k : 16 * k + 16]
            expected = decode(encode(block, fmt), fmt)[:, : lanes.stop - lanes.start]
            assert np.array_equal(ordered[rows, lanes], expected)


def test_one_tile_is_an_operand(x):
    tensor = quantize_mixed(x, [[MX9] * 2 + [MX6] * 17])
    operand = quantize_operand(x, MX6, high=np.arange(32))
    assert np.array_equal(tensor.operands[0].codes, operand.codes)
    assert tensor.packed_bytes == operand.packed_bytes == ROWS * (2 * 18 + 17 * 12)
    assert tensor.bits_per_element == 8 * tensor.packed_bytes / (ROWS * K)


def test_gemm_by_tiles(x, order):
    a = quantize_mixed(x, any_formats(), tile_rows=TILE, order=order)
    b = quantize_mixed(x[:24], [[MX6] * 19], order=order)
    c = golden_gemm_mixed(a, b, DEFAULT_KIND)
    for t, operand in enumerate(a.operands):
        expected = golden_gemm(operand, b.operands[0], DEFAULT_KIND)
        assert np.array_equal(c[TILE * t : TILE * (t + 1)], expected)


def test_summary_says_what_it_is(x, order):
    tensor = quantize_mixed(x, [[MX9] + [MX6] * 18] * 3, tile_rows=TILE, order=order)
    text = str(tensor)
    assert text.startswith("40 x 300, 3 row tile(s) of 16\n")
    assert "760 of 16, mx9 5.3 %, mx6 94.7 %; NaN blocks: 0" in text
    assert f"{tensor.packed_bytes} bytes, {tensor.bits_per_element:.4f} bits an element" in text


def test_file_holds_the_same_tensor(x, order, tmp_path):
    x[3, 7], x[20, 200] = np.nan, np.inf
    tensor = quantize_mixed(x, any_formats(), tile_rows=TILE, order=order)
    save_mixed(tmp_path / "x.safetensors", tensor)
    again = load_mixed(tmp_path / "x.safetensors")
    assert np.array_equal(again.values(), tensor.values(), equal_nan=True)
    for found, expected in zip(again.operands, tensor.operands, strict=True):
        for name in ("codes", "exponents", "micro_exponents", "scales"):
            assert np.array_equal(
                getattr(found, name), getattr(expected, name), equal_nan=name == "scales"
            )
    save_mixed(tmp_path / "y.safetensors", again)
    files = [(tmp_path / f"{name}.safetensors").read_bytes() for name in "xy"]
    assert files[0] == files[1]


@pytest.fixture
def stored(x, tmp_path):
    """A file, and a function that writes it again with changes."""
    path = tmp_path / "x.safetensors"
    save_mixed(path, quantize_mixed(x, [[MX9] + [MX6] * 18] * 3, tile_rows=TILE))
    arrays = load_file(path)
    about = {
        "version": 1,
        "shape": [ROWS, K],
        "tile_rows": TILE,
        "formats": [[["mx9", 1], ["mx6", 18]]] * 3,
    }

    def rewrite(arrays=arrays, metadata=None, **changes):
        metadata = {KEY: json.dumps({**about, **changes})} if metadata is None else metadata
        save_file(arrays, path, metadata=metadata)
        return path

    return path, arrays, rewrite


def test_files_that_are_none(stored, tmp_path):
    path, _, _ = stored
    content = path.read_bytes()
    for size in (0, 5, 100, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(MixditError, match=r"^Cannot read .*damaged"):
            load_mixed(path)
    for missing, message in ((tmp_path / "none", "No such file"), (tmp_path, "Cannot read")):
        with pytest.raises(MixditError, match=message):
            load_mixed(missing)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metadata": {}}, "holds no mixed-precision tensor"),
        ({"metadata": {KEY: "{"}}, "its metadata is damaged"),
        ({"version": 2}, "another version than 1"),
        ({"shape": [ROWS, K + 1]}, "no permutation"),
        ({"shape": [ROWS + 16, K]}, "its row tiles do not match"),
        ({"shape": "x"}, "damaged"),
        ({"tile_rows": 0}, "damaged|do not match"),
        ({"formats": [[["mx9", 1], ["mx6", 17]]] * 3}, "a format for each K-block"),
        ({"formats": [[["mx7", 19]]] * 3}, "Format must be one of"),
        ({"formats": [[["mx4", 19]]] * 3}, "damaged"),
        ({"formats": [[["mx9", 2], ["mx6", 17]]] * 3}, "must have shape"),
    ],
)
def test_files_that_lie(changes, message, stored):
    with pytest.raises(MixditError, match=message):
        load_mixed(stored[2](**changes))


def test_stored_bits_that_no_block_has(stored):
    _, arrays, rewrite = stored
    arrays = {name: array.copy() for name, array in arrays.items()}
    arrays["1.mx6"][0, :12] = 0
    arrays["1.mx6"][0, 2] = 1 << 4
    with pytest.raises(MixditError, match="negative zero"):
        load_mixed(rewrite(arrays))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"formats": [[MX6] * 18]}, "must be 1 row tiles x 19 K-blocks"),
        ({"formats": [[MX6] * 19] * 2}, "must be 1 row tiles x 19 K-blocks"),
        ({"formats": [MX6] * 19}, "a list of formats for each row tile"),
        ({"tile_rows": 0}, "at least one row, not 0"),
        ({"tile_rows": 1.5}, "at least one row, not 1.5"),
        ({"order": np.zeros(K, np.int64)}, "each of the channels 0..299 once"),
    ],
)
def test_maps_that_do_not_fit(changes, message, x):
    with pytest.raises(MixditError, match=message):
        quantize_mixed(x, **{"formats": [[MX6] * 19], **changes})
