"""Mixed-precision tensors in safetensors files: the packed bytes, and JSON that says what they are.

Tensors of a file: `order` int64 (K,); for each row tile t and format f, `t.f` uint8
(rows, bytes of a row) as `mixdit_sw.codec.pack` makes them, and `t.f.tensor_scale` float32 (1,)
where the format has one. The metadata key `mixdit_mixed` holds version, shape, tile_rows, and for
each tile its K-blocks as runs of [format, count].
"""

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from mixdit_sw.codec.pack import pack, unpack
from mixdit_sw.errors import MixditError
from mixdit_sw.files import write_atomically
from mixdit_sw.formats import LANES, Format, get_format
from mixdit_sw.mixed import MixedTensor, RowTile

KEY = "mixdit_mixed"
VERSION = 1


def save_mixed(path: Path, tensor: MixedTensor) -> None:
    """Write a tensor, whole or not at all; the same tensor gives the same bytes.

    Raises
    ------
    MixditError
        When the file cannot be written.
    """
    from safetensors.numpy import save

    arrays: dict[str, np.ndarray] = {"order": np.ascontiguousarray(tensor.order, np.int64)}
    runs = []
    for n, tile in enumerate(tensor.tiles):
        runs.append([[name, len(list(run))] for name, run in groupby(f.name for f in tile.formats)])
        for fmt, part in tile.parts.items():
            arrays[f"{n}.{fmt.name}"] = np.ascontiguousarray(pack(part, fmt))
            if part.tensor_scale is not None:
                arrays[f"{n}.{fmt.name}.tensor_scale"] = np.array([part.tensor_scale], np.float32)
    about = {
        "version": VERSION,
        "shape": list(tensor.shape),
        "tile_rows": tensor.tile_rows,
        "formats": runs,
    }
    content = save(arrays, metadata={KEY: json.dumps(about)})
    write_atomically(path, lambda partial: partial.write_bytes(content))


def load_mixed(path: Path) -> MixedTensor:
    """Read a tensor.

    Raises
    ------
    MixditError
        When the file is missing, damaged or something else.
    """
    arrays, about = _read(path)
    try:
        return _build(arrays, about)
    except MixditError as error:
        raise MixditError(f"Cannot read {path}: {error}") from error
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise MixditError(f"Cannot read {path}: it is damaged ({error!r})") from error


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and the metadata of a file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise MixditError(f"Cannot read {path}: No such file") from error
    except (OSError, SafetensorError) as error:
        raise MixditError(f"Cannot read {path}: it is damaged or no safetensors file") from error
    if KEY not in metadata:
        raise MixditError(f"Cannot read {path}: it holds no mixed-precision tensor")
    try:
        about = json.loads(metadata[KEY])
    except ValueError as error:
        raise MixditError(f"Cannot read {path}: its metadata is damaged") from error
    if not isinstance(about, dict) or about.get("version") != VERSION:
        raise MixditError(f"Cannot read {path}: it has another version than {VERSION}")
    return arrays, about


def _build(arrays: dict[str, np.ndarray], about: dict[str, Any]) -> MixedTensor:
    """Return the tensor; whatever does not fit raises."""
    rows, channels = (int(n) for n in about["shape"])
    tile_rows, order = int(about["tile_rows"]), arrays["order"]
    if min(rows, channels, tile_rows) < 1 or len(about["formats"]) != -(-rows // tile_rows):
        raise MixditError("its shape and its row tiles do not match")
    if order.dtype != np.int64 or not np.array_equal(np.sort(order), np.arange(channels)):
        raise MixditError("its order is no permutation of the channels")
    tiles = []
    for n, runs in enumerate(about["formats"]):
        formats = tuple(get_format(name) for name, count in runs for _ in range(int(count)))
        if len(formats) != -(-channels // LANES):
            raise MixditError(f"row tile {n} does not have a format for each K-block")
        height = min(tile_rows, rows - n * tile_rows)
        parts = {fmt: _part(arrays, n, fmt, formats, height) for fmt in dict.fromkeys(formats)}
        tiles.append(RowTile(formats, parts))
    return MixedTensor(tuple(tiles), tile_rows, order)


def _part(
    arrays: dict[str, np.ndarray], n: int, fmt: Format, formats: tuple[Format, ...], height: int
) -> Any:
    """Return the blocks of one format in one row tile."""
    stored = arrays[f"{n}.{fmt.name}"]
    if stored.ndim != 2 or stored.shape[0] != height:
        raise MixditError(f"row tile {n} does not have {height} rows of {fmt.name}")
    scale = arrays.get(f"{n}.{fmt.name}.tensor_scale")
    tensor_scale = None if scale is None else np.float32(scale.reshape(-1)[0])
    return unpack(stored, fmt, formats.count(fmt) * LANES, tensor_scale)
