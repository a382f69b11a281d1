"""What commands share: options, configurations, outputs."""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from mixdit_hw.config import PRESETS, ArrayConfig, get_preset
from mixdit_hw.engine.config import EngineConfig, engine_for, engine_from_dict
from mixdit_sw.errors import MixditError
from mixdit_sw.files import check_writable, load_object, write_atomically
from mixdit_sw.formats import load_formats

UserFormats = Annotated[
    Path | None, typer.Option("--formats", help="Python file that registers formats of your own.")
]
Json = Annotated[Path | None, typer.Option("--json", help="Write the result here as JSON.")]
DEFAULT_PRESET = "small"
Preset = Annotated[
    str | None,
    typer.Option(help=f"Array: {', '.join(PRESETS)}.", show_default=DEFAULT_PRESET),
]
Config = Annotated[Path | None, typer.Option(help="Array as JSON, instead of a preset.")]
Simulator = Annotated[str, typer.Option(help="verilator or icarus.")]
Accumulator = Annotated[
    str | None, typer.Option(help="fp32 or aligned29 to aligned52, instead of the array's.")
]
Waves = Annotated[
    Path | None,
    typer.Option(help="Record waveforms: .vcd (Verilator), .fst (Icarus; docs/flows.md)."),
]


def machine_of(
    preset: str | None, config: Path | None, default: str = DEFAULT_PRESET
) -> ArrayConfig | EngineConfig:
    """Return the array of a preset, or of a JSON file the engine if it describes one.

    Raises
    ------
    MixditError
        When there is none, or both are given.
    """
    if config is None:
        return get_preset(preset or default)
    if preset is not None:
        raise MixditError("Give --preset or --config, not both")
    values = load_object(config)
    return engine_from_dict(values) if "engine" in values else ArrayConfig.from_dict(values)


def array_of(preset: str | None, config: Path | None) -> ArrayConfig:
    """Return the array of a preset or a JSON file."""
    machine = machine_of(preset, config)
    return machine.array if isinstance(machine, EngineConfig) else machine


def engine_of(
    preset: str | None, config: Path | None, default: str = DEFAULT_PRESET
) -> EngineConfig:
    """Return the engine of a preset or a JSON file; around an array, if that describes one."""
    machine = machine_of(preset, config, default)
    return machine if isinstance(machine, EngineConfig) else engine_for(machine)


def check_outputs(*paths: Path | None, inputs: Iterable[Path | None] = ()) -> None:
    """Check, before the work, that files can be written, are different ones, and no inputs."""
    outputs = [path for path in paths if path is not None]
    read = {path.resolve() for path in inputs if path is not None}
    for path in outputs:
        check_writable(path)
        if path.resolve() in read:
            raise MixditError(f"{path} is read: write to another file")
    if len({path.absolute() for path in outputs}) < len(outputs):
        raise MixditError("Outputs must be different files")


def load_user_formats(formats: Path | None) -> None:
    """Register a user's formats, if there are any."""
    if formats is not None:
        load_formats(formats)


def save(path: Path | None, values: object) -> None:
    """Write values as JSON, if asked to."""
    if path is not None:
        text = json.dumps(values, indent=2, default=_plain) + "\n"
        write_atomically(path, lambda partial: partial.write_text(text))


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)
