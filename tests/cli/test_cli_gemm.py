"""`mixdit gemm`."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from mixdit_sim import gemm_rtl
from mixdit_sw.formats import MX4, MX6, MX9
from mixdit_sw.gemm.kinds import parse_kind
from mixdit_sw.gemm.reference import golden_gemm
from mixdit_sw.operand import quantize_pair, select_high_channels

KEYS = {
    "scope",
    "shape",
    "macs",
    "padding",
    "nan_blocks",
    "cycles",
    "predicted_cycles",
    "utilization",
    "bit_exact",
    "mismatches",
    "wall_s",
}

needs_icarus = pytest.mark.skipif(not shutil.which("iverilog"), reason="iverilog is not installed")


def golden(a, b, a_format=MX6, b_format=MX6, kind="aligned40", a_high=None, b_high=None):
    return golden_gemm(*quantize_pair(a, b, a_format, b_format, a_high, b_high), parse_kind(kind))


def same_bits(path, expected):
    return np.load(path).tobytes() == expected.tobytes()


def test_golden_is_the_default(report, inputs):
    c = inputs.folder / "new" / "c.npy"
    found = report(*inputs.gemm, "--out", c)
    assert set(found) >= KEYS
    assert same_bits(c, golden(inputs.a, inputs.b))
    assert found["scope"] == "array"
    assert found["shape"] == [3, 5, 40]
    assert (found["macs"], found["padding"], found["nan_blocks"]) == (600, 8, 0)
    assert found["cycles"] is found["bit_exact"] is found["mismatches"] is None
    # One 8 x 8 tile of 3 K-blocks: 8 cycles to drain, 6 of latency.
    assert found["predicted_cycles"] == 16
    assert found["utilization"] == 600 / (16 * 64 * 16)
    assert 20 < found["qsnr_db"] < 40


def test_float_has_no_cycles(report, inputs):
    c = inputs.folder / "c.npy"
    found = report(*inputs.gemm, "--backend", "float", "--out", c)
    assert set(found) >= KEYS
    assert same_bits(c, inputs.a @ inputs.b.T)
    for key in ("scope", "padding", "nan_blocks", "cycles", "predicted_cycles", "utilization"):
        assert found[key] is None
    assert found["bit_exact"] is found["mismatches"] is None
    assert found["macs"] == 600


@needs_icarus
def test_rtl_is_checked_against_golden(report, inputs):
    c = inputs.folder / "c.npy"
    rtl = ["--backend", "rtl", "--simulator", "icarus", "--preset", "tiny"]
    found = report(*inputs.gemm, "--a-format", "mx9", *rtl, "--out", c)
    assert set(found) >= KEYS
    assert same_bits(c, golden(inputs.a, inputs.b, MX9))
    assert found["bit_exact"] is True
    assert found["mismatches"] == 0
    assert found["cycles"] == found["predicted_cycles"]


@needs_icarus
def test_mismatch_is_exit_status_1(mixdit, inputs, monkeypatch):
    real = gemm_rtl.run_layers

    def wrong(*arguments, **options):
        results = real(*arguments, **options)
        results[0].c[0].view(np.uint32)[0, 0] ^= 1
        return results

    monkeypatch.setattr(gemm_rtl, "run_layers", wrong)
    rtl = ["--backend", "rtl", "--simulator", "icarus", "--preset", "tiny"]
    done = mixdit(*inputs.gemm, *rtl, "--out", inputs.folder / "c.npy")
    assert done.status == 1
    assert "mismatches         1" in done.out


def test_formats_accumulator_and_config(report, inputs):
    c = inputs.folder / "c.npy"
    config = inputs.write("config.json", '{"rows": 4, "cols": 8, "cluster_rows": 4}')
    options = ["--a-format", "mx4", "--b-format", "mx9", "--accumulator", "fp32"]
    found = report(*inputs.gemm, *options, "--config", config, "--out", c)
    assert same_bits(c, golden(inputs.a, inputs.b, MX4, MX9, "fp32"))
    # 2 digit passes for each of 3 K-blocks.
    assert found["predicted_cycles"] == 6 + 5 + 4


def test_column_major_input(mixdit, inputs):
    a = inputs.save("columns.npy", np.asfortranarray(inputs.a))
    c = inputs.folder / "c.npy"
    assert mixdit("gemm", a, inputs.folder / "b.npy", "--out", c).status == 0
    assert same_bits(c, golden(inputs.a, inputs.b))


@pytest.mark.parametrize("given", ["number", "text", "npy"])
def test_high_channels(given, mixdit, inputs):
    high = select_high_channels(inputs.a, 5)
    value = {
        "number": 5,
        "text": inputs.write("high.txt", "\n".join(map(str, high))),
        "npy": inputs.save("high.npy", high),
    }[given]
    c = inputs.folder / "c.npy"
    assert mixdit(*inputs.gemm, "--high-channels", value, "--out", c).status == 0
    assert same_bits(c, golden(inputs.a, inputs.b, a_high=high))
    assert not same_bits(c, golden(inputs.a, inputs.b))


def test_high_channels_of_both(mixdit, inputs):
    c = inputs.folder / "c.npy"
    options = ["--high-channels", 3, "--b-high-channels", 20]
    assert mixdit(*inputs.gemm, *options, "--out", c).status == 0
    high = select_high_channels(inputs.a, 3), select_high_channels(inputs.b, 20)
    assert same_bits(c, golden(inputs.a, inputs.b, a_high=high[0], b_high=high[1]))


@pytest.mark.parametrize("count", [0, 40])
def test_none_and_all_channels_high(count, mixdit, inputs):
    c = inputs.folder / "c.npy"
    assert mixdit(*inputs.gemm, "--high-channels", count, "--out", c).status == 0
    assert same_bits(c, golden(inputs.a, inputs.b, MX9 if count else MX6))


def test_nan_and_inf_are_data(mixdit, report, inputs):
    inputs.a[0, 0] = np.nan
    inputs.a[2, 39] = -np.inf
    inputs.save("a.npy", inputs.a)
    c = inputs.folder / "c.npy"
    found = report(*inputs.gemm, "--out", c)
    assert found["nan_blocks"] == 2
    assert found["qsnr_db"] is None
    product = np.load(c)
    assert np.isfinite(product[1]).all()
    assert np.unique(product[[0, 2]].view(np.uint32)).tolist() == [0x7FC00000]
    done = mixdit(*inputs.gemm, "--out", c)
    assert (done.status, done.err) == (0, "warning: 2 blocks hold NaN or Inf\n")


def test_nan_and_inf_in_floating_point(mixdit, inputs):
    inputs.a[0, 0] = np.nan
    inputs.a[2, :2] = np.inf
    inputs.b[:, :2] = 1, -1
    inputs.save("a.npy", inputs.a)
    inputs.save("b.npy", inputs.b)
    c = inputs.folder / "c.npy"
    done = mixdit(*inputs.gemm, "--backend", "float", "--out", c)
    assert (done.status, done.err) == (0, "")
    assert np.isnan(np.load(c)).all(axis=1).tolist() == [True, False, True]


def test_overflow_is_data(report, inputs):
    inputs.save("a.npy", np.full((3, 40), 1e38, np.float32))
    inputs.save("b.npy", np.full((5, 40), -1e38, np.float32))
    c = inputs.folder / "c.npy"
    for backend in ("golden", "float"):
        report(*inputs.gemm, "--backend", backend, "--out", c)
        assert (np.load(c) == -np.inf).all()


def test_brackets_in_names_are_no_markup(mixdit, inputs):
    c = inputs.folder / "[bold]" / "[/x].npy"
    done = mixdit(*inputs.gemm, "--backend", "float", "--out", c)
    assert done.status == 0
    assert str(c) in done.out.replace("\n", "")
    assert c.is_file()


def test_in_a_process_of_its_own(inputs):
    command = [sys.executable, "-m", "mixdit_cli.main", "gemm", "a.npy", "b.npy"]
    for name, status in (("c.npy", 0), ("a.npy/c.npy", 2)):
        done = subprocess.run(
            [*command, "--backend", "float", "--out", name],
            cwd=inputs.folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stderr
    assert done.stderr.startswith("error: Cannot write a.npy/c.npy: ")
    assert done.stderr.endswith("a.npy is not a folder\n")
    assert same_bits(inputs.folder / "c.npy", inputs.a @ inputs.b.T)


@needs_icarus
def test_formats_of_a_user_on_rtl(report, inputs):
    mine = inputs.write(
        "mine.py",
        "from mixdit_sw.formats import Element, OcpFormat, register\n"
        "five = Element(bits=5, max_code=15, lsb=-3, is_twos_complement=True)\n"
        "register(OcpFormat(name='int5_16', unit=16, element=five))\n",
    )
    size = {"rows": 2, "cols": 2, "cluster_rows": 2, "cluster_cols": 2}
    config = inputs.write("array.json", json.dumps({**size, "formats": ["mx6", "int5_16"]}))
    options = ("--formats", mine, "--config", config, "--a-format", "int5_16", "--backend", "rtl")
    found = report(
        *inputs.gemm, *options, "--simulator", "icarus", "--out", inputs.folder / "c.npy"
    )
    assert found["mismatches"] == 0 and found["cycles"] == found["predicted_cycles"]
