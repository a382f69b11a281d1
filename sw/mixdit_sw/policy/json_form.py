"""Frozen dataclasses as JSON: strict reading, atomic writing."""

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from mixdit_sw.errors import MixditError
from mixdit_sw.files import write_atomically

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Return dataclasses as dictionaries and tuples as lists, for `json.dumps`."""
    if dataclasses.is_dataclass(value):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    return [to_plain(item) for item in value] if isinstance(value, tuple | list) else value


def from_plain(kind: type[T], value: Any, where: str) -> T:
    """Build a dataclass from what `to_plain` returned; `where` names it in messages.

    Raises
    ------
    MixditError
        When a key is unknown or missing, or a value has another type.
    """
    return _read(kind, value, where)


def save_json(path: Path, value: Any) -> None:
    """Write a dataclass as JSON, whole or not at all."""
    text = json.dumps(to_plain(value), indent=1) + "\n"
    write_atomically(path, lambda partial: partial.write_text(text))


def load_json(path: Path, kind: type[T]) -> T:
    """Read a dataclass that `save_json` wrote.

    Raises
    ------
    MixditError
        When the file is missing or damaged, or does not describe a `kind`.
    """
    try:
        value = json.loads(path.read_text())
    except OSError as error:
        raise MixditError(f"Cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise MixditError(f"Cannot read {path}: it is not JSON") from error
    return from_plain(kind, value, str(path))


def _read(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(kind, value, where)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return _read(inner, value, where)
    if origin is tuple and isinstance(value, list):
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(kinds) == len(value):
            pairs = zip(kinds, value, strict=True)
            return tuple(_read(k, v, f"{where}[{n}]") for n, (k, v) in enumerate(pairs))
    if origin is dict and isinstance(value, dict):
        return {key: _read(arguments[1], v, f"{where}.{key}") for key, v in value.items()}
    if kind is float and type(value) is int:
        return float(value)
    if origin is None and type(value) is kind:
        return value
    raise MixditError(f"{where} must be {_name(kind)}, not {value!r}")


def _read_dataclass(kind: Any, value: Any, where: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if not isinstance(value, dict):
        raise MixditError(f"{where} must be an object of {kind.__name__}, not {value!r}")
    for key in value:
        if key not in fields:
            raise MixditError(f"{where} has the unknown key {key!r}; there are {', '.join(fields)}")
    for name, field in fields.items():
        missing = dataclasses.MISSING
        if name not in value and field.default is missing and field.default_factory is missing:
            raise MixditError(f"{where} lacks {name}")
    kinds = typing.get_type_hints(kind)
    return kind(**{k: _read(kinds[k], v, f"{where}.{k}") for k, v in value.items()})


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind)) if typing.get_origin(kind) is None else str(kind)
