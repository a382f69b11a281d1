"""Tensors in files, quantized along their last axis and back (docs/numerics.md)."""

from pathlib import Path
from typing import Any

import numpy as np

from mixdit_sw.codec.pack import check_blocks
from mixdit_sw.codec.reference import Blocks, decode, encode
from mixdit_sw.errors import MixditError
from mixdit_sw.files import load_npy, save_npy, write_atomically
from mixdit_sw.formats import LANES, NAN_EXPONENT, BlockFormat, get_format
from mixdit_sw.metrics import qsnr_db

ARRAYS = {
    "codes": np.int16,
    "exponents": np.uint8,
    "micro_exponents": np.uint8,
    "shape": np.int64,
    "format": np.str_,
}
"""Arrays of a quantized file and their types; `shape` is that of the original tensor."""


def quantize_npy(path: Path, format_name: str, out: Path) -> dict[str, Any]:
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
    x = load_npy(path)
    if x.dtype != np.float32:
        raise MixditError(f"{path} must hold float32, not {x.dtype}: save x.astype(numpy.float32)")
    if x.ndim == 0 or x.size == 0:
        raise MixditError(f"{path} must hold at least one row of elements, not shape {x.shape}")
    blocks = encode(x, fmt)

    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            np.savez(
                file,
                codes=blocks.codes,
                exponents=blocks.exponents,
                micro_exponents=blocks.micro_exponents,
                shape=np.array(x.shape, np.int64),
                format=np.array(fmt.name),
            )

    write_atomically(out, write)
    return {
        **_counts(blocks, fmt),
        "padding": -x.shape[-1] % LANES,
        "bits_per_element": fmt.bits_per_element,
        "qsnr_db": qsnr_db(x, decode(blocks, fmt, x.shape[-1])),
    }


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
    arrays = _load_arrays(path)
    try:
        fmt = get_format(str(arrays["format"]))
        blocks = Blocks(arrays["codes"], arrays["exponents"], arrays["micro_exponents"])
        check_blocks(blocks, fmt)
    except MixditError as error:
        raise MixditError(f"{path}: {error}") from error
    shape = tuple(int(n) for n in arrays["shape"].reshape(-1))
    if not shape or min(shape) < 1 or blocks.exponents.shape != _blocks_shape(shape):
        raise MixditError(
            f"{path}: blocks of shape {blocks.exponents.shape} do not make a tensor of {shape}"
        )
    save_npy(out, decode(blocks, fmt, shape[-1]))
    return {**_counts(blocks, fmt), "shape": list(shape)}


def _counts(blocks: Blocks, fmt: BlockFormat) -> dict[str, Any]:
    return {
        "format": fmt.name,
        "blocks": blocks.exponents.size,
        "nan_blocks": int((blocks.exponents == NAN_EXPONENT).sum()),
    }


def _blocks_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:-1], -(-shape[-1] // LANES))


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
    for name, dtype in ARRAYS.items():
        if name not in arrays:
            raise MixditError(f"{path} has no array '{name}': it is not a quantized tensor")
        if not np.issubdtype(arrays[name].dtype, dtype):
            raise MixditError(
                f"Array '{name}' of {path} must be {np.dtype(dtype).name}, not {arrays[name].dtype}"
            )
    return arrays
