"""A sweep as it is asked for: a TOML file of grids and settings, checked before any work."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mixdit_hw.synth.scripts import SynthOptions
from mixdit_hw.synth.targets import find_target
from mixdit_sim.sweep.space import Grid, Machine, array_of, build, check_dimension, combinations
from mixdit_sim.workloads import formats, get_workload
from mixdit_sw.errors import MixditError

DEFAULT_FILE = Path(__file__).with_name("default.toml")
SCOPES = ("array", "engine")
AUTO_TARGETS = ("osu018", "osu035", "generic")
"""The target "auto" is the first of these that is installed."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How every point is measured.

    Members
    -------
    scope : str
        "array" or "engine": whose area, clock and cycles are measured.
    target, recipe : str
        Of synthesis (docs/flows.md): "generic", "osu018", "osu035", a Liberty file, or "auto".
    workload : str
        Model and resolution whose denoising step is counted.
    memory_ge_per_bit : float
        Gate equivalents that a bit of a memory macro counts.
    quality : bool
        Whether the QSNR of accumulators is measured.
    """

    scope: str = "array"
    target: str = "auto"
    recipe: str = "sized"
    workload: str = "dit-s-2-256"
    memory_ge_per_bit: float = 0.0
    quality: bool = True

    def __post_init__(self) -> None:
        for name, kind, what in (
            *((name, str, "text") for name in ("scope", "target", "recipe", "workload")),
            ("quality", bool, "true or false"),
        ):
            if not isinstance(getattr(self, name), kind):
                raise MixditError(f"{name} must be {what}, not {getattr(self, name)!r}")
        if self.scope not in SCOPES:
            raise MixditError(f"Scope must be one of {', '.join(SCOPES)}, not '{self.scope}'")
        bits = self.memory_ge_per_bit
        if not isinstance(bits, int | float) or isinstance(bits, bool) or not 0 <= bits < 1000:
            raise MixditError(f"memory_ge_per_bit must be 0..1000, not {bits!r}")
        get_workload(self.workload)
        SynthOptions(recipe=self.recipe)
        if self.target != "auto" and find_target(self.target).kind == "fpga":
            raise MixditError(f"A sweep needs gate equivalents, which {self.target} has not")

    @property
    def resolved(self) -> "Settings":
        """The same with "auto" replaced by the target that it stands for."""
        if self.target != "auto":
            return self
        return replace(self, target=next(name for name in AUTO_TARGETS if _is_there(name)))

    def to_dict(self) -> dict[str, Any]:
        """Return the members, as written to JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A point of a sweep: what was asked for, and the machine or why there is none."""

    values: dict[str, object]
    machine: Machine | None
    refusal: str | None


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Settings and grids; a point is a combination of a grid's values."""

    settings: Settings
    grids: tuple[Grid, ...]

    def candidates(self) -> list[Candidate]:
        """Return all points in their order; one that occurs twice is kept once.

        Raises
        ------
        MixditError
            When a dimension cannot be varied, or a value is in no point that can be built.
        """
        found: dict[str, Candidate] = {}
        for number, grid in enumerate(self.grids, 1):
            for name, values in grid.items():
                check_dimension(name, values, self.settings.scope)
            points = [self._candidate(values) for values in combinations(grid)]
            _check_values(number, grid, points)
            for point in points:
                what = point.values if point.machine is None else point.machine.to_dict()
                found.setdefault(repr(what), point)
        return list(found.values())

    def _candidate(self, values: dict[str, object]) -> Candidate:
        try:
            machine = build(values, self.settings.scope)
            _check_workload(machine, self.settings.workload)
        except MixditError as error:
            return Candidate(values=values, machine=None, refusal=str(error))
        return Candidate(values=values, machine=machine, refusal=None)


def read_sweep(
    file: Path | None = None,
    options: Mapping[str, object] | None = None,
    vary: Sequence[str] = (),
) -> Sweep:
    """Read a sweep and check it.

    Parameters
    ----------
    file : Path, optional
        TOML. Without one, `vary` is the only grid; without that too, it is the default sweep.
    options : mapping, optional
        Settings that replace those of the file; None is none.
    vary : sequence of str
        Dimensions that replace those of every grid, each as "name=value,value"; values of a list
        are joined by "+".

    Raises
    ------
    MixditError
        When the file, a setting or a dimension is wrong.
    """
    content = _read(file or DEFAULT_FILE) if file or not vary else {}
    grids = content.pop("grid", [{}])
    if not isinstance(grids, list) or not all(isinstance(grid, dict) for grid in grids):
        raise MixditError("A sweep's grids are tables [[grid]] of lists")
    for name, value in (options or {}).items():
        if value is not None:
            content[name] = value
    for name in content:
        if name not in Settings.__dataclass_fields__:
            known = ", ".join((*Settings.__dataclass_fields__, "[[grid]]"))
            raise MixditError(f"Unknown setting '{name}'; known are {known}")
    settings = Settings(**content).resolved
    changes = dict(_parse_dimension(text) for text in vary)
    sweep = Sweep(settings=settings, grids=tuple(_grid({**grid, **changes}) for grid in grids))
    sweep.candidates()
    return sweep


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise MixditError(f"Cannot read {file}: {error.strerror}") from error
    except ValueError as error:
        raise MixditError(f"Cannot read {file}: it is not TOML ({error})") from error


def _grid(table: Mapping[str, object]) -> Grid:
    """Return a table with a single value made a list, and lists inside made tuples."""
    grid = {}
    for name, values in table.items():
        listed = values if isinstance(values, list) else [values]
        grid[name] = tuple(tuple(x) if isinstance(x, list) else x for x in listed)
    return grid


def _parse_dimension(text: str) -> tuple[str, list[object]]:
    name, equals, values = text.partition("=")
    if not equals or not name or not values:
        raise MixditError(f"A dimension is given as name=value,value, not '{text}'")
    is_list = name in ("formats", "steps")
    return name, [x.split("+") if is_list else _parse_value(x) for x in values.split(",")]


def _parse_value(text: str) -> object:
    """Return text as TOML has it: a number, true or false; otherwise the text itself."""
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text


def _check_values(number: int, grid: Grid, points: Sequence[Candidate]) -> None:
    """Refuse a grid with a value that no point can be built with."""
    for name, values in grid.items():
        for value in values:
            of_value = [point for point in points if point.values[name] == value]
            if all(point.refusal for point in of_value):
                raise MixditError(
                    f"Grid {number} has no point with {name} = {show_value(value)}: "
                    f"{of_value[0].refusal}"
                )


def show_value(value: object) -> str:
    """Return a dimension's value as in `--vary`."""
    if isinstance(value, tuple):
        return "+".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_workload(machine: Machine, name: str) -> None:
    """Refuse an array that is not built for a format of the workload."""
    workload = get_workload(name)
    used = {
        fmt.name
        for matmul in workload.matmuls
        for _, a, b in formats(matmul, workload.heads, workload.policy)
        for fmt in {*a, *b}
    }
    missing = sorted(used - set(array_of(machine).formats))
    if missing:
        raise MixditError(f"{name} needs {missing[0]}, which the array is not built for")


def _is_there(target: str) -> bool:
    try:
        find_target(target)
    except MixditError:
        return False
    return True
