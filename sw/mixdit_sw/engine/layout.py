"""How operands, results and vectors lie in the engine's memory (docs/programming.md)."""

import numpy as np

from mixdit_sw.codec.pack import pack
from mixdit_sw.engine.shape import TAG_BITS, EngineShape
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import Blocks, Format
from mixdit_sw.gemm.epilogue import to_bf16
from mixdit_sw.operand import QuantizedOperand


def pack_operand(
    x: QuantizedOperand, shape: EngineShape, *, is_b: bool, tiles: int | None = None
) -> np.ndarray:
    """Return an operand as its tiles lie in memory.

    Parameters
    ----------
    x : QuantizedOperand
        Operand (rows, K).
    shape : EngineShape
        Engine.
    is_b : bool
        It is B of C = A @ B.T.
    tiles : int, optional
        Tiles, if more than the rows fill.

    Returns
    -------
    uint8 (tiles, bytes of a tile)
        Each tile: for every section of up to `shape.section` K-blocks a header, one bus word with
        a tag for each, then K-block after K-block the stored blocks of the tile's rows, with zeros
        up to the next bus word behind each group of `shape.group` of them. Rows past the end of
        the matrix are zero blocks.

    Raises
    ------
    MixditError
        When the engine does not load a format.
    """
    height = shape.height(is_b)
    tiles = tiles or -(-x.rows // height)
    slices = [
        _slices(x.blocks(slice(k, k + 1)), fmt, tiles, height) for k, fmt in enumerate(x.formats)
    ]
    parts = []
    for start in range(0, x.n_blocks, shape.section):
        part = slice(start, start + shape.section)
        parts.append(np.broadcast_to(header(x.formats[part], shape), (tiles, shape.bus_bytes)))
        for first in range(start, min(start + shape.section, x.n_blocks), shape.group):
            group = slices[first : first + shape.group]
            filled = sum(block.shape[1] for block in group)
            parts += [*group, np.zeros((tiles, -filled % shape.bus_bytes), np.uint8)]
    return np.concatenate(parts, axis=1)


def header(formats: tuple[Format, ...], shape: EngineShape) -> np.ndarray:
    """Return a section's bus word of tags, uint8 (shape.bus_bytes,).

    Raises
    ------
    MixditError
        When the engine does not load a format.
    """
    tags = sum(shape.tag(fmt) << TAG_BITS * i for i, fmt in enumerate(formats))
    return np.frombuffer(tags.to_bytes(shape.bus_bytes, "little"), np.uint8)


def _slices(blocks: Blocks, fmt: Format, tiles: int, height: int) -> np.ndarray:
    """Return the stored blocks of one K-block, tile by tile, uint8 (tiles, bytes)."""
    stored = pack(blocks, fmt)
    padded = np.zeros((tiles * height, stored.shape[1]), np.uint8)
    padded[: len(stored)] = stored
    return padded.reshape(tiles, -1)


def pack_matrix(
    x: np.ndarray,
    shape: EngineShape,
    grid: tuple[int, int] | None = None,
    *,
    bf16: bool = False,
) -> np.ndarray:
    """Return a float32 matrix (M, N) as a grid of tiles of words, uint8 (rows, columns, bytes).

    The grid is the smallest that holds the matrix, if none is given. With `bf16` it is rounded.
    """
    height, width = shape.rows, shape.cols
    grid = grid or (-(-x.shape[0] // height), -(-x.shape[1] // width))
    padded = np.zeros((grid[0] * height, grid[1] * width), np.float32)
    padded[: x.shape[0], : x.shape[1]] = x
    words = to_bf16(padded) if bf16 else padded
    tiles = words.reshape(grid[0], height, grid[1], width).swapaxes(1, 2)
    return np.ascontiguousarray(tiles).view(np.uint8).reshape(*grid, -1)


def unpack_matrix(
    stored: np.ndarray, shape: EngineShape, m: int, n: int, *, bf16: bool = False
) -> np.ndarray:
    """Return the matrix float32 (m, n) of tiles as the engine stores them.

    Parameters
    ----------
    stored : uint8 (bytes)
        Tiles, row of tiles after row of tiles.
    shape : EngineShape
        Engine.
    m, n : int
        Shape of the matrix.
    bf16 : bool
        Words are BF16.

    Raises
    ------
    MixditError
        When there are more or fewer bytes than tiles have.
    """
    height, width = shape.rows, shape.cols
    grid = -(-m // height), -(-n // width)
    words = stored.view(np.uint16 if bf16 else np.uint32)
    if words.size != grid[0] * grid[1] * height * width:
        raise MixditError(f"{stored.size} bytes are not the tiles of a {m} x {n} matrix")
    bits = words.astype(np.uint32) << 16 if bf16 else words
    tiles = bits.reshape(*grid, height, width).swapaxes(1, 2)
    return tiles.reshape(grid[0] * height, -1)[:m, :n].view(np.float32).copy()


def pack_vector(
    parts: list[np.ndarray], size: int, shape: EngineShape, tiles: int | None = None
) -> np.ndarray:
    """Return vectors of tiles' rows or columns, for each tile one after the other in bus words.

    Parameters
    ----------
    parts : list of float32 (length,)
        Vectors of the same length.
    size : int
        Words of a tile.
    shape : EngineShape
        Engine.
    tiles : int, optional
        Tiles, if more than the vectors fill.
    """
    tiles = tiles or (-(-len(parts[0]) // size) if parts else 0)
    width = -(-size // shape.lanes) * shape.lanes
    words = np.zeros((tiles, len(parts), width), np.float32)
    for i, part in enumerate(parts):
        padded = np.zeros(tiles * size, np.float32)
        padded[: len(part)] = part
        words[:, i, :size] = padded.reshape(tiles, size)
    return words.view(np.uint8).reshape(-1)
