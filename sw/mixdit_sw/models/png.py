"""Grey images as PNG files, the same bytes wherever they are written."""

import struct
import zlib
from pathlib import Path

import numpy as np
from torch import Tensor

from mixdit_sw.errors import MixditError
from mixdit_sw.files import write_atomically


def save_png(path: Path, image: Tensor) -> None:
    """Write an image float32 (1, H, W) in [-1, 1] with 8 bits a pixel, whole or not at all.

    Raises
    ------
    MixditError
        When the image is not finite or not grey, or the file cannot be written.
    """
    if image.ndim != 3 or len(image) != 1 or not image.isfinite().all():
        raise MixditError(f"An image must be finite and grey, not of shape {tuple(image.shape)}")
    pixels = ((image[0].double().clamp(-1, 1) + 1) * 127.5).round().byte().cpu().numpy()
    content = _png(pixels)
    write_atomically(path, lambda partial: partial.write_bytes(content))


def _png(pixels: np.ndarray) -> bytes:
    height, width = pixels.shape
    # Filter 0 in front of each row. Stored, not compressed: versions of zlib compress differently.
    rows = np.pad(pixels, ((0, 0), (1, 0))).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data))
        + kind
        + data
        + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))
        for kind, data in chunks
    )
