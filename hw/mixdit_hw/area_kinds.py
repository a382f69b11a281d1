"""What the units of an engine are for: the kinds that its area is broken down by."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from mixdit_hw.packet import LANES_LAYOUT
from mixdit_hw.synth.shares import Rule

ARRAY, SURROUNDINGS, EPILOGUE = "array", "surroundings", "epilogue"


@dataclass(frozen=True)
class Kind:
    """A kind.

    Attributes
    ----------
    name, group
        What it is called, and what it is a part of.
    units
        Patterns of the names of its units; a unit is of the first kind that fits.
    """

    name: str
    group: str
    units: tuple[str, ...] = ()


MULTIPLIERS = Kind("multipliers", ARRAY)
TREES = Kind("trees and join", ARRAY, ("dot",))
ACCUMULATE = Kind("accumulate", ARRAY, ("step_*", "pe_*"))
DRAIN = Kind("drain", ARRAY, ("to_fp32_*",))
KINDS = (
    MULTIPLIERS,
    TREES,
    ACCUMULATE,
    Kind("operand registers", ARRAY, ("row_*", "cluster_*", "gate_*", "array", "*.array")),
    DRAIN,
    Kind("sequencer", ARRAY, ("*.sequencer",)),
    Kind("converters", SURROUNDINGS, ("converter_*",)),
    Kind(
        "reorder and pack",
        SURROUNDINGS,
        ("*.quantizer*", "*.memory_source*", "*.gather*", "transpose_*"),
    ),
    Kind("unpackers", SURROUNDINGS, ("unpacker_*",)),
    Kind("loader", SURROUNDINGS, ("*.loader*", "gearbox_lane_*")),
    Kind(
        "buffer control",
        SURROUNDINGS,
        (
            "operand_buffer_*",
            *(f"*.{queue}" for queue in ("output", "extra", "loads", "tags", "kinds", "writes")),
            *(f"*.{queue}" for queue in ("queue", "lengths", "addresses")),
        ),
    ),
    Kind("bus masters", SURROUNDINGS, ("*.reader", "*.writer", "*.packer")),
    Kind("walkers and feed", SURROUNDINGS, ("*_walker*", "tile_address_*", "*_slot", "*.feed*")),
    Kind(
        "controller, registers", SURROUNDINGS, ("engine", "*.core", "*.controller", "*.registers")
    ),
    Kind("epilogue arithmetic", EPILOGUE, ("fp32_add", "fp32_multiply", "all_ones_*")),
    Kind("epilogue operands", EPILOGUE, ("epilogue_*", "*.epilogue", "*.epilogue.*")),
    Kind("other", SURROUNDINGS, ("*",)),
)

_MAGNITUDES = "|".join(str(i) for i in range(LANES_LAYOUT["mag"].width))
RULES: dict[str, tuple[Rule, ...]] = {
    # Before signs come in, lanes are multiplied.
    "dot": (Rule(MULTIPLIERS.name, only_from=rf"[ab]\[({_MAGNITUDES})\]$"),),
    "pe_*": (
        Rule(TREES.name, into=r"(joined|exponent|nan|joined_control)(\[|$)"),
        Rule(DRAIN.name, into=r"(drain_out|accumulator\.(drain_\d|copied_\d))"),
    ),
    "cluster_*": (Rule(DRAIN.name, into=r"(timer\.|o__valid)"),),
}
"""Units of more than one kind: what of them is not of their own."""


def kind_of(unit: str) -> Kind:
    """Kind of a unit."""
    return next(kind for kind in KINDS if any(fnmatchcase(unit, name) for name in kind.units))


def rules_of(unit: str) -> tuple[Rule, ...]:
    """Rules that share a unit out; none if it is of one kind."""
    return next((rules for name, rules in RULES.items() if fnmatchcase(unit, name)), ())
