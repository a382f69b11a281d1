"""Dimensions of a sweep: what can be varied, what cannot, and the machine that values describe."""

from collections.abc import Mapping
from itertools import product

from mixdit_hw.config import ArrayConfig
from mixdit_hw.engine.config import EngineConfig, engine_from_dict
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import DIGIT_BITS, LANES

Machine = ArrayConfig | EngineConfig
Grid = Mapping[str, tuple[object, ...]]
"""Values of each dimension that is varied; every combination is a point."""

ARRAY_DIMENSIONS = tuple(ArrayConfig.__dataclass_fields__)
ENGINE_DIMENSIONS = tuple(name for name in EngineConfig.__dataclass_fields__ if name != "array")
DIMENSIONS = {"array": ARRAY_DIMENSIONS, "engine": ARRAY_DIMENSIONS + ENGINE_DIMENSIONS}
"""By scope."""

FIXED = {
    "lanes": (LANES, "a digit packet holds the 16 lanes of a K-block"),
    "digit_bits": (DIGIT_BITS, "a digit packet holds magnitudes of 4 bits"),
}
"""What a packet decides: its value, and why there is no other."""

DERIVED = {
    "converters": "their number follows from cluster_rows (one to FP32 for each column of a "
    "cluster) and from port_bytes and ports (those to MX take a bus word a cycle)"
}
"""What other dimensions decide."""

DEFAULTS = {"rows": 8, "cols": 8}
CLUSTER = 8
"""PEs of a cluster's side, where the array has as many."""


def check_dimension(name: str, values: tuple[object, ...], scope: str) -> None:
    """Check that a dimension can be varied as asked.

    Raises
    ------
    MixditError
        When it cannot, or there is none of this name in the scope.
    """
    if not values:
        raise MixditError(f"Dimension {name} has no values")
    if name in FIXED:
        fixed, why = FIXED[name]
        other = [value for value in values if value != fixed]
        if other:
            raise MixditError(f"{name} must be {fixed}, not {other[0]!r}: {why}")
    elif name in DERIVED:
        raise MixditError(f"{name} cannot be varied: {DERIVED[name]}")
    elif name in ENGINE_DIMENSIONS and scope != "engine":
        raise MixditError(f'Dimension {name} is one of the engine: it needs scope = "engine"')
    elif name not in DIMENSIONS[scope]:
        known = ", ".join((*DIMENSIONS[scope], *FIXED))
        raise MixditError(f"Unknown dimension '{name}'; known are {known}")


def combinations(grid: Grid) -> list[dict[str, object]]:
    """Return the values of every point of a grid, the last dimension changing fastest."""
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def build(values: Mapping[str, object], scope: str) -> Machine:
    """Return the array, or the engine, that values describe.

    Rows and columns are 8, clusters 8x8 or as large as the array, all else as `ArrayConfig` and
    `mixdit_hw.engine.config.engine_for` have it.

    Raises
    ------
    MixditError
        When it cannot be built.
    """
    chosen = {**DEFAULTS, **{name: x for name, x in values.items() if name not in FIXED}}
    for of, per in (("rows", "cluster_rows"), ("cols", "cluster_cols")):
        side = chosen[of]
        if isinstance(side, int) and per not in chosen:
            chosen[per] = max(1, min(CLUSTER, side))
    array = {name: x for name, x in chosen.items() if name in ARRAY_DIMENSIONS}
    if scope == "array":
        return ArrayConfig.from_dict(array)
    own = {name: x for name, x in chosen.items() if name in ENGINE_DIMENSIONS}
    return engine_from_dict({**array, "engine": own})


def array_of(machine: Machine) -> ArrayConfig:
    """Return the array of a machine."""
    return machine.array if isinstance(machine, EngineConfig) else machine


def converters(machine: Machine) -> tuple[int, int | None]:
    """Return the number of converters to FP32 and, in an engine, of those to MX."""
    array = array_of(machine)
    to_fp32 = array.cols * array.cluster_grid[0]
    if not isinstance(machine, EngineConfig):
        return to_fp32, None
    shape = machine.shape
    return to_fp32, shape.group * (shape.lanes // shape.cols)
