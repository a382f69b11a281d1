"""Files by which operands reach the simulator's process."""

from dataclasses import fields
from pathlib import Path

import numpy as np

from mixdit_sw.formats import get_format
from mixdit_sw.operand import QuantizedOperand


def save_operands(path: Path, a: QuantizedOperand, b: QuantizedOperand) -> None:
    """Write the two operands of a GEMM."""
    arrays = {}
    for side, x in (("a", a), ("b", b)):
        for field in fields(x):
            value = getattr(x, field.name)
            if field.name == "formats":
                value = np.array([fmt.name for fmt in value])
            arrays[f"{side}_{field.name}"] = value
    np.savez(path, **arrays)


def load_operands(path: Path) -> tuple[QuantizedOperand, QuantizedOperand]:
    """Read what `save_operands` wrote."""
    with np.load(path) as arrays:
        sides = []
        for side in "ab":
            values = {f.name: arrays[f"{side}_{f.name}"] for f in fields(QuantizedOperand)}
            values["formats"] = tuple(get_format(str(name)) for name in values["formats"])
            sides.append(QuantizedOperand(**values))
    return sides[0], sides[1]
