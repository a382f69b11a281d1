import gzip
import struct

import numpy as np
import pytest
import torch

from mixdit_sw.models.data import DataError, load_split, to_signed


def write_idx(path, array):
    header = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.fixture
def folder(tmp_path):
    images = np.arange(3 * 4 * 4, dtype=np.uint8).reshape(3, 4, 4)
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", images)
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.array([2, 0, 1], dtype=np.uint8))
    return tmp_path


def test_reads_images_and_labels(folder):
    split = load_split("train", folder)
    assert split.images.shape == (3, 1, 4, 4)
    assert split.images.dtype == torch.uint8
    assert split.images[1, 0, 0].tolist() == [16, 17, 18, 19]
    assert split.labels.tolist() == [2, 0, 1]


def test_missing_data_names_the_package(tmp_path):
    with pytest.raises(DataError, match="install the Debian package dataset-fashion-mnist$"):
        load_split("train", tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", gzip.compress(b""), gzip.compress(b"\0\0\x08\x03\0\0"), b"\x1f\x8b\x08\0"],
    ids=["empty", "text", "nothing", "header", "cut"],
)
def test_damaged_file_is_named(folder, content):
    (folder / "train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(DataError, match="train-images.*reinstall dataset-fashion-mnist$"):
        load_split("train", folder)


def test_cut_payload_is_refused(folder):
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1]))
    with pytest.raises(DataError, match="is not an IDX file of bytes"):
        load_split("train", folder)


def test_images_and_labels_must_match(folder):
    write_idx(folder / "train-labels-idx1-ubyte.gz", np.zeros(2, dtype=np.uint8))
    with pytest.raises(DataError, match="do not match"):
        load_split("train", folder)


def test_signed_pixels_span_minus_one_to_one():
    assert to_signed(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1.0, 1.0]
