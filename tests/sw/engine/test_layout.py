"""How operands and results lie in memory: read back byte by byte, as docs/programming.md says."""

import numpy as np
import pytest

from mixdit_sw.codec.pack import pack, unpack
from mixdit_sw.engine.layout import pack_matrix, pack_operand, pack_vector, unpack_matrix
from mixdit_sw.engine.shape import EngineShape, digit_words
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import LANES, MX4, MX6, MX9, get_format
from mixdit_sw.gemm.epilogue import to_bf16
from mixdit_sw.mixed import quantize_mixed

SHAPES = {
    "tiny": EngineShape(rows=2, cols=2, bus_bytes=8, a_words=83, b_words=83),
    "wide": EngineShape(rows=4, cols=6, bus_bytes=32, a_words=99, b_words=99),
    "widest": EngineShape(rows=8, cols=8, bus_bytes=256, a_words=99, b_words=99),
}


def operand(rows, blocks, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 16 * blocks - 3)).astype(np.float32)
    formats = tuple((MX9, MX6, MX4)[i] for i in rng.integers(3, size=blocks))
    return quantize_mixed(x, [formats]).operands[0]


def read_tile(tile, shape, height, blocks):
    """Yield (format, stored rows) of each K-block; check headers and what lies between."""
    bus, at, left = shape.bus_bytes, 0, blocks
    section = min(4 * bus, 512)
    while left:
        tags = int.from_bytes(tile[at : at + bus].tobytes(), "little")
        at += bus
        here = min(left, section)
        for k in range(here):
            fmt = get_format(shape.formats[tags >> 2 * k & 3])
            size = height * fmt.row_bytes(LANES)
            yield fmt, tile[at : at + size].reshape(height, -1)
            # Here a group is a K-block.
            end = -(-(at + size) // bus) * bus
            assert not tile[at + size : end].any()
            at = end
        assert tags >> 2 * here == 0
        left -= here
    assert at == tile.size


@pytest.mark.parametrize("is_b", [False, True])
@pytest.mark.parametrize(("rows", "blocks"), [(1, 1), (7, 5), (8, 33), (13, 70)])
@pytest.mark.parametrize("name", SHAPES)
def test_operand(name, rows, blocks, is_b):
    shape, x = SHAPES[name], operand(rows, blocks)
    height = shape.cols if is_b else shape.rows
    tiles = pack_operand(x, shape, is_b=is_b)
    assert tiles.dtype == np.uint8 and len(tiles) == -(-rows // height)
    assert tiles.shape[1] == shape.operand_beats(x.formats, is_b) * shape.bus_bytes
    for number, tile in enumerate(tiles):
        for k, (fmt, stored) in enumerate(read_tile(tile, shape, height, blocks)):
            assert fmt == x.formats[k]
            for row, found in enumerate(stored):
                place = number * height + row
                if place >= rows:
                    assert not found.any(), "rows past the end are zero blocks"
                    continue
                block = x.blocks(slice(k, k + 1))
                expected = pack(block, fmt)[place]
                assert np.array_equal(found, expected)
                codes = unpack(found[None], fmt, LANES).codes
                assert np.array_equal(codes[0, 0], x.codes[place, k])


def test_format_that_is_not_loaded():
    shape = EngineShape(rows=2, cols=2, bus_bytes=8, a_words=9, b_words=9, formats=("mx6",))
    x = quantize_mixed(np.ones((2, 16), np.float32), [(MX9,)]).operands[0]
    with pytest.raises(MixditError, match="The engine loads mx6, not mx9"):
        pack_operand(x, shape, is_b=False)


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (8, 12), (17, 3)])
@pytest.mark.parametrize("name", SHAPES)
def test_matrix_round_trip(name, size, bf16):
    shape = SHAPES[name]
    rng = np.random.default_rng(1)
    x = rng.normal(size=size).astype(np.float32)
    if bf16:
        x = (to_bf16(x).astype(np.uint32) << 16).view(np.float32)
    stored = pack_matrix(x, shape)
    if bf16:
        stored = (stored.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
    back = unpack_matrix(stored.reshape(-1), shape, *size, bf16=bf16)
    assert back.dtype == np.float32 and np.array_equal(back, x)


@pytest.mark.parametrize("name", SHAPES)
def test_matrix_places(name):
    """Word (i, j) of tile (r, c) is element (r * rows + i, c * cols + j)."""
    shape, (m, n) = SHAPES[name], (9, 13)
    x = np.arange(1, m * n + 1, dtype=np.float32).reshape(m, n)
    tiles = pack_matrix(x, shape)
    words = tiles.view(np.float32).reshape(*tiles.shape[:2], shape.rows, shape.cols)
    for r, c, i, j in np.ndindex(*words.shape):
        row, col = r * shape.rows + i, c * shape.cols + j
        assert words[r, c, i, j] == (x[row, col] if row < m and col < n else 0)


def test_matrix_of_another_size_is_refused():
    with pytest.raises(MixditError, match="are not the tiles of a 3 x 3 matrix"):
        unpack_matrix(np.zeros(16, np.uint8), SHAPES["tiny"], 3, 3)


@pytest.mark.parametrize("name", SHAPES)
def test_vectors(name):
    """For each tile its part of every vector, each from a bus word's start on."""
    shape, rng = SHAPES[name], np.random.default_rng(2)
    lanes = shape.bus_bytes // 4
    width = -(-shape.cols // lanes) * lanes
    parts = [rng.normal(size=11).astype(np.float32) for _ in range(2)]
    stored = pack_vector(parts, shape.cols, shape).view(np.float32)
    words = stored.reshape(-(-11 // shape.cols), 2, width)
    for tile, number, place in np.ndindex(*words.shape):
        at = tile * shape.cols + place
        is_there = place < shape.cols and at < 11
        assert words[tile, number, place] == (parts[number][at] if is_there else 0)
    assert pack_vector([], shape.cols, shape).size == 0


def test_words_of_a_tile():
    assert digit_words((MX9, MX6, MX4, MX9)) == 6
