"""Tensors in files, quantized along their last axis and back (docs/numerics.md)."""

from pathlib import Path
from typing import Any

import numpy as np

from mixdit_sw.codec.pack import check_blocks
from mixdit_sw.codec.reference import decode, encode
from mixdit_sw.errors import MixditError
from mixdit_sw.files import load_npy, save_npy, write_atomically
from mixdit_sw.formats import (
    LANES,
    NAN_EXPONENT,
    NEAREST,
    Blocks,
    Format,
    Rounding,
    get_format,
)
from mixdit_sw.metrics import QsnrSum

ARRAYS = {
    "codes": np.signedinteger,
    "exponents": np.uint8,
    "micro_exponents": np.uint8,
    "shape": np.int64,
    "format": np.str_,
}
"""Arrays of a quantized file and their types; `shape` is that of the original tensor."""

SCALE_ARRAYS = {"scales": np.float32, "zero_points": np.uint8, "tensor_scale": np.float32}
"""Arrays that a file has as well where the format has them."""

_CHUNK = 1 << 22
"""Elements that are quantized at a time."""


def quantize_npy(
    path: Path, format_name: str, out: Path, rounding: Rounding = NEAREST
) -> dict[str, Any]:
    """Quantize the float32 tensor of a .npy file into a .npz file of `ARRAYS`.

    Returns
    -------
    dict
        format, blocks, nan_blocks, padding (zeros added to each row), bits_per_element and qsnr_db,
        None where it is not defined.

    Raises
    ------
    MixditError
        When there is no such format, or a file cannot be read or written.
    """
    fmt = get_format(format_name)
    _check_other(path, out)
    x = load_npy(path)
    if x.dtype != np.float32:
        raise MixditError(f"{path} must hold float32, not {x.dtype}: save x.astype(numpy.float32)")
    if x.ndim == 0 or x.size == 0:
        raise MixditError(f"{path} must hold at least one row of elements, not shape {x.shape}")
    k = x.shape[-1]
    blocks = _encode_in_chunks(x.reshape(-1, k), fmt, rounding)
    qsnr = _qsnr_in_chunks(x.reshape(-1, k), blocks, fmt)
    arrays: dict[str, Any] = {
        name: np.asarray(value).reshape(*x.shape[:-1], *np.shape(value)[1:])
        for name, value in vars(blocks).items()
        if value is not None and name != "tensor_scale"
    }
    if blocks.tensor_scale is not None:
        arrays["tensor_scale"] = np.array(blocks.tensor_scale)

    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            shape, name = np.array(x.shape, np.int64), np.array(fmt.name)
            np.savez(file, **arrays, shape=shape, format=name)

    write_atomically(out, write)
    return {
        **_counts(blocks, fmt),
        "padding": fmt.padded(k) - k,
        "bits_per_element": fmt.bits_per_element(k),
        "qsnr_db": qsnr,
    }


def _encode_in_chunks(x: np.ndarray, fmt: Format, rounding: Rounding) -> Blocks:
    """Encode x (rows, K) some rows at a time, which bounds the memory in between."""
    if fmt.depends_on_tensor or rounding.mode == "stochastic":
        return encode(x, fmt, rounding)
    parts = [encode(x[rows], fmt, rounding) for rows in _chunks(x)]
    joined: dict[str, Any] = {}
    for name in vars(parts[0]):
        values = [getattr(part, name) for part in parts]
        joined[name] = None if values[0] is None else np.concatenate(values)
    return Blocks(**joined)


def _qsnr_in_chunks(x: np.ndarray, blocks: Blocks, fmt: Format) -> float | None:
    """Return the QSNR of blocks of x (rows, K)."""
    total = QsnrSum()
    for rows in _chunks(x):
        total.add(x[rows], decode(_rows_of(blocks, rows), fmt, x.shape[1]))
    return total.db()


def _rows_of(blocks: Blocks, rows: slice) -> Blocks:
    """Return some rows of blocks whose arrays are (rows, ...)."""
    chosen: dict[str, Any] = {
        name: value[rows] if isinstance(value, np.ndarray) and value.ndim else value
        for name, value in vars(blocks).items()
    }
    return Blocks(**chosen)


def _chunks(x: np.ndarray) -> list[slice]:
    step = max(_CHUNK // x.shape[1], 1)
    return [slice(start, start + step) for start in range(0, x.shape[0], step)]


def dequantize_npz(path: Path, out: Path) -> dict[str, Any]:
    """Turn a file that `quantize_npy` wrote into the float32 tensor of its values.

    Returns
    -------
    dict
        format, blocks, nan_blocks and the tensor's shape.

    Raises
    ------
    MixditError
        When a file cannot be read or written, or does not hold the blocks of a tensor.
    """
    _check_other(path, out)
    arrays = _load_arrays(path)
    try:
        fmt = get_format(str(arrays["format"]))
        blocks = _blocks(arrays)
        if blocks.codes.ndim < 2:
            raise MixditError("its codes are no blocks")
        check_blocks(blocks, fmt)
    except MixditError as error:
        raise MixditError(f"{path}: {error}") from error
    except (ValueError, LookupError) as error:
        raise MixditError(f"{path}: its arrays do not fit together") from error
    shape = tuple(int(n) for n in arrays["shape"].reshape(-1))
    if not shape or min(shape) < 1 or blocks.exponents.shape != _blocks_shape(shape, fmt):
        raise MixditError(
            f"{path}: blocks of shape {blocks.exponents.shape} do not make a tensor of {shape}"
        )
    save_npy(out, decode(blocks, fmt, shape[-1]))
    return {**_counts(blocks, fmt), "shape": list(shape)}


def _check_other(path: Path, out: Path) -> None:
    """Check that the result does not take the place of what it is made from."""
    if out.absolute() == path.absolute():
        raise MixditError(f"The result must not replace its source {path}")


def _counts(blocks: Blocks, fmt: Format) -> dict[str, Any]:
    return {
        "format": fmt.name,
        "blocks": blocks.exponents.size,
        "nan_blocks": int((blocks.exponents == NAN_EXPONENT).sum()),
    }


def _blocks_shape(shape: tuple[int, ...], fmt: Format) -> tuple[int, ...]:
    return (*shape[:-1], fmt.padded(shape[-1]) // LANES)


def _blocks(arrays: dict[str, np.ndarray]) -> Blocks:
    """Return the blocks of a file's arrays."""
    scale = arrays.get("tensor_scale")
    return Blocks(
        codes=arrays["codes"],
        exponents=arrays["exponents"],
        micro_exponents=arrays["micro_exponents"],
        scales=arrays.get("scales"),
        zero_points=arrays.get("zero_points"),
        tensor_scale=None if scale is None else np.float32(scale.reshape(-1)[0]),
    )


def _name(dtype: type) -> str:
    """Return what people call a type of `ARRAYS`."""
    return {np.signedinteger: "an integer", np.str_: "text"}.get(dtype, dtype.__name__)


def _load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a quantized file, each of its type."""
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise MixditError(f"Cannot read {path}: it is a .npy file, already dequantized")
            with loaded:
                arrays = {name: loaded[name] for name in loaded.files}
    except MixditError:
        raise
    except OSError as error:
        raise MixditError(f"Cannot read {path}: {error.strerror or 'not a .npz file'}") from error
    except Exception as error:  # whatever NumPy's parsers raise: zip, zlib, tokens, memory
        raise MixditError(f"Cannot read {path}: it is damaged or not a .npz file") from error
    for name, dtype in (ARRAYS | SCALE_ARRAYS).items():
        if name not in arrays and name in SCALE_ARRAYS:
            continue
        if name not in arrays:
            raise MixditError(f"{path} has no array '{name}': it is not a quantized tensor")
        if not np.issubdtype(arrays[name].dtype, dtype):
            raise MixditError(
                f"Array '{name}' of {path} must be {_name(dtype)}, not {arrays[name].dtype}"
            )
    return arrays
