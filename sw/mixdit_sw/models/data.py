"""Fashion-MNIST as installed by the Debian package `dataset-fashion-mnist`."""

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mixdit_sw.errors import MixditError

DATA_DIR = Path("/usr/share/datasets/fashion-mnist")
PACKAGE = "dataset-fashion-mnist"
CLASS_NAMES = (
    "T-shirt",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


class DataError(MixditError):
    """The training data is missing or damaged."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """One split of the data.

    Attributes
    ----------
    images : Tensor
        uint8 (S, 1, 28, 28), 0 is background.
    labels : Tensor
        int64 (S,), index into `CLASS_NAMES`.
    """

    images: Tensor
    labels: Tensor


def load_split(name: str, directory: Path = DATA_DIR) -> Split:
    """Read a split.

    Parameters
    ----------
    name : {"train", "t10k"}
        60 000 training or 10 000 test images.
    directory : Path
        Folder of the four gzipped IDX files.

    Raises
    ------
    DataError
        If a file is missing (the message names the Debian package) or is no valid IDX file.
    """
    images = _read_idx(directory / f"{name}-images-idx3-ubyte.gz")
    labels = _read_idx(directory / f"{name}-labels-idx1-ubyte.gz")
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise DataError(
            f"{name} in {directory}: {images.shape} images do not match {labels.shape} labels"
        )
    return Split(
        images=torch.from_numpy(images).unsqueeze(1), labels=torch.from_numpy(labels).long()
    )


def to_signed(images: Tensor) -> Tensor:
    """Map uint8 pixels to float32 in [-1, 1]."""
    return images.float() / 127.5 - 1.0


def _read_idx(path: Path) -> np.ndarray:
    """Read one gzipped IDX file of unsigned bytes."""
    try:
        raw = gzip.decompress(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path} is missing: install the Debian package {PACKAGE}") from None
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read ({error}): reinstall {PACKAGE}") from None
    rank = raw[3] if raw[:3] == b"\0\0\x08" and len(raw) > 3 else 0
    shape = tuple(np.frombuffer(raw, ">u4", rank, offset=4)) if len(raw) >= 4 + 4 * rank else ()
    if not rank or len(raw) != 4 + 4 * rank + int(np.prod(shape, dtype=np.int64)):
        raise DataError(f"{path} is not an IDX file of bytes: reinstall {PACKAGE}")
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape).copy()
