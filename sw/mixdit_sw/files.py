"""Reading and writing of files: one clear line on bad input, nothing half-written."""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from mixdit_sw.errors import MixditError


def load_matrix(path: Path) -> np.ndarray:
    """Return the float32 matrix of a .npy file.

    Raises
    ------
    MixditError
        When the file is missing or damaged, or holds something else.
    """
    array = load_npy(path)
    if array.dtype != np.float32:
        raise MixditError(
            f"{path} must hold float32, not {array.dtype}: save x.astype(numpy.float32)"
        )
    if array.ndim != 2 or 0 in array.shape:
        raise MixditError(f"{path} must hold a matrix (rows, K), not shape {array.shape}")
    return array


def load_npy(path: Path) -> np.ndarray:
    """Return the array of a .npy file.

    Raises
    ------
    MixditError
        When the file is missing or damaged, or is no .npy file.
    """
    try:
        with path.open("rb") as file:
            array = np.load(file, allow_pickle=False)
    except OSError as error:
        raise MixditError(f"Cannot read {path}: {error.strerror or 'not a .npy file'}") from error
    except Exception as error:  # whatever NumPy's parsers raise: zip, tokens, memory
        raise MixditError(f"Cannot read {path}: it is damaged or not a .npy file") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise MixditError(f"Cannot read {path}: it is not a .npy file")
    return array


def load_object(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file.

    Raises
    ------
    MixditError
        When the file is missing, is not JSON, or holds something else.
    """
    try:
        value = json.loads(path.read_text())
    except OSError as error:
        raise MixditError(f"Cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise MixditError(f"Cannot read {path}: it is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise MixditError(f"{path} must hold an object of parameters")
    return value


def save_npy(path: Path, array: np.ndarray) -> None:
    """Write a .npy file, whole or not at all.

    Raises
    ------
    MixditError
        When it cannot be written.
    """

    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            np.save(file, array)

    write_atomically(path, write)


def check_writable(path: Path) -> None:
    """Check that a file can be written, before long work; leaves nothing behind.

    Raises
    ------
    MixditError
        When it cannot.
    """
    try:
        if not path.name or path.is_dir():
            raise MixditError(f"Cannot write {path}: it is a folder")
        if path.exists() and not path.is_file():
            raise MixditError(f"Cannot write {path}: it is no ordinary file")
        folder = next(parent for parent in path.absolute().parents if parent.exists())
    except OSError as error:
        raise MixditError(f"Cannot write {path}: {error.strerror}") from error
    if not folder.is_dir():
        raise MixditError(f"Cannot write {path}: {folder} is not a folder")
    try:
        # Permissions alone do not say: there are folders in which not even root can create files.
        TemporaryFile(dir=folder).close()
    except OSError as error:
        raise MixditError(f"Cannot write {path}: {folder}: {error.strerror}") from error


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a file beside `path`, then rename it to `path`.

    An interruption leaves the old file, if there was one, as it was.

    Raises
    ------
    MixditError
        When the file cannot be written.
    """
    if not path.name:
        raise MixditError(f"Cannot write {path}: it is a folder")
    partial = path.with_name(path.name + ".partial")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise MixditError(f"Cannot write {path}: {error.strerror}") from error
