import io

import numpy as np
import pytest

from mixdit_sw import files
from mixdit_sw.errors import MixditError
from mixdit_sw.files import load_matrix, load_npy, save_npy, write_atomically
from mixdit_sw.metrics import qsnr_db

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def one_line(error):
    return "\n" not in str(error.value)


def test_there_and_back(tmp_path):
    path = tmp_path / "new" / "folder" / "x.npy"
    save_npy(path, X)
    assert np.array_equal(load_matrix(path), X)
    assert [file.name for file in path.parent.iterdir()] == ["x.npy"]


def test_name_is_kept_without_suffix(tmp_path):
    save_npy(tmp_path / "x", X)
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


def test_any_array_is_a_npy_file(tmp_path):
    np.save(tmp_path / "x.npy", np.array([3, 1]))
    assert load_npy(tmp_path / "x.npy").tolist() == [3, 1]


def test_every_flipped_header_byte_is_read_or_refused(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, X)
    good, path = buffer.getvalue(), tmp_path / "x.npy"
    refused = 0
    for position in range(len(good) - X.nbytes):
        for flip in (0x01, 0x10, 0x80):
            bad = bytearray(good)
            bad[position] ^= flip
            path.write_bytes(bad)
            try:
                load_matrix(path)
            except MixditError as error:
                assert str(path) in str(error)
                refused += 1
    assert refused > 100


@pytest.mark.parametrize("size", [0, 1, 6, 10, 100, 127, 128, 151])
def test_truncated(size, tmp_path):
    path = tmp_path / "x.npy"
    save_npy(path, X)
    assert path.stat().st_size == 152
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(MixditError, match="it is damaged or not a .npy file") as error:
        load_npy(path)
    assert one_line(error)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (X.astype(np.float64), "must hold float32, not float64"),
        (X.astype(int), "must hold float32, not int64"),
        (X[0], r"must hold a matrix \(rows, K\), not shape \(3,\)"),
        (X[None], r"not shape \(1, 2, 3\)"),
        (X[:, :0], r"not shape \(2, 0\)"),
        (X[:0], r"not shape \(0, 3\)"),
    ],
)
def test_no_matrix(values, message, tmp_path):
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(MixditError, match=message) as error:
        load_matrix(tmp_path / "x.npy")
    assert one_line(error)


def test_other_contents(tmp_path):
    path = tmp_path / "x.npz"
    with pytest.raises(MixditError, match="No such file"):
        load_npy(path)
    with pytest.raises(MixditError, match="Is a directory"):
        load_npy(tmp_path)
    np.savez(path, X)
    with pytest.raises(MixditError, match="it is not a .npy file"):
        load_npy(path)
    np.save(tmp_path / "x.npy", np.array([{}], object))
    with pytest.raises(MixditError, match="damaged"):
        load_npy(tmp_path / "x.npy")


@pytest.mark.parametrize("reason", [KeyboardInterrupt, RuntimeError])
def test_interruption_leaves_the_old_file(reason, tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")

    def write(partial):
        partial.write_text("ne")
        raise reason

    with pytest.raises(reason):
        write_atomically(path, write)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["x.txt"]


def test_full_disk(tmp_path, monkeypatch):
    def full(file, array):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.np, "save", full)
    with pytest.raises(MixditError, match=r"Cannot write .*x.npy: No space left") as error:
        save_npy(tmp_path / "x.npy", X)
    assert one_line(error)
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path, message in (
        (tmp_path / "file" / "x.npy", "Not a directory"),
        (tmp_path / "folder", "Is a directory"),
        (tmp_path / ("x" * 250), "File name too long"),
        (tmp_path / "..", "Is a directory|Device or resource busy|not empty"),
        (files.Path(), "it is a folder"),
        (files.Path("/"), "it is a folder"),
    ):
        with pytest.raises(MixditError, match=message) as error:
            save_npy(path, X)
        assert one_line(error)
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["file", "folder"]


def test_qsnr():
    exact = np.array([3.0, 4.0])
    assert qsnr_db(exact, exact + [0.3, 0.4]) == pytest.approx(20)
    assert qsnr_db(exact, -exact) == pytest.approx(10 * np.log10(1 / 4))


@pytest.mark.parametrize(
    ("exact", "approximate"),
    [([1, 2], [1, 2]), ([0, 0], [1, 0]), ([1, np.nan], [1, 2]), ([1, 2], [np.inf, 2])],
)
def test_no_qsnr(exact, approximate):
    assert qsnr_db(np.array(exact, np.float32), np.array(approximate, np.float32)) is None


def test_qsnr_does_not_overflow_single_precision():
    x = np.array([3e38, -3e38], np.float32)
    assert qsnr_db(x, x * np.float32(0.9)) == pytest.approx(20, abs=1e-3)
