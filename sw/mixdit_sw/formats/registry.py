"""The formats by name: the one table from which everything else takes them."""

import re
import runpy
from pathlib import Path

from mixdit_sw.errors import MixditError
from mixdit_sw.formats import halves, micro_exponent, nvfp4, ocp, scaled
from mixdit_sw.formats.base import Format
from mixdit_sw.formats.scaled import ROW, ScaledFormat

FORMATS: dict[str, Format] = {}
"""Registered formats. `get_format` also knows their variants with another group size."""


LOADED_FILES: list[Path] = []
"""Files of `load_formats`, which processes of simulations load as well."""


def register(fmt: Format) -> Format:
    """Add a format, which is then known by its name everywhere; return it.

    Raises
    ------
    MixditError
        When the name is taken, or could be taken for a group size.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", fmt.name) or re.search(r"_(g\d+|row)$", fmt.name):
        raise MixditError(
            f"Format name must be lower case letters, digits and _, not ending as a group size, "
            f"not '{fmt.name}'"
        )
    if FORMATS.get(fmt.name, fmt) != fmt:
        raise MixditError(f"There is already a format '{fmt.name}'")
    FORMATS[fmt.name] = fmt
    return fmt


def get_format(name: str) -> Format:
    """Return the format called `name`.

    A scaled format takes a group size: "int4_asym_g64", "fp4_e2m1_row".

    Raises
    ------
    MixditError
        When there is none.
    """
    if not isinstance(name, str):
        raise MixditError(f"Format must be a name, not {name!r}")
    if name in FORMATS:
        return FORMATS[name]
    match = re.fullmatch(r"(.+)_(?:g(\d{1,6})|row)", name)
    base = FORMATS.get(match[1]) if match else None
    if match is None or not isinstance(base, ScaledFormat):
        raise MixditError(f"Format must be one of {', '.join(FORMATS)}, not '{name}'")
    if isinstance(base, nvfp4.NvFormat):
        raise MixditError(f"Groups of {base.name} always have {base.group_size} elements")
    size = ROW if match[2] is None else int(match[2])
    if match[2] is not None and size == 0:
        raise MixditError("Group size must be positive; a whole row is '_row'")
    return base.with_group(size)


def load_formats(path: Path) -> None:
    """Run a Python file that registers formats of a user's own.

    Raises
    ------
    MixditError
        When it cannot be read or fails.
    """
    try:
        runpy.run_path(str(path))
        LOADED_FILES.append(path.resolve())
    except MixditError:
        raise
    except SystemExit as error:
        raise MixditError(f"{path} failed: it exits") from error
    except OSError as error:
        raise MixditError(f"Cannot read {path}: {error.strerror}") from error
    except Exception as error:
        raise MixditError(f"{path} failed: {type(error).__name__}: {error}") from error


for _module in (micro_exponent, ocp, scaled, nvfp4, halves):
    for _value in vars(_module).values():
        if isinstance(_value, Format):
            register(_value)
