"""Files by which operands reach the simulator's process."""

from pathlib import Path

import numpy as np

from mixdit_sw.formats import get_format
from mixdit_sw.operand import QuantizedOperand

ARRAYS = ("codes", "exponents", "micro_exponents", "order")


def save_operands(path: Path, a: QuantizedOperand, b: QuantizedOperand) -> None:
    """Write the two operands of a GEMM; the array takes none with real-valued scales."""
    arrays = {}
    for side, x in (("a", a), ("b", b)):
        arrays.update({f"{side}_{name}": getattr(x, name) for name in ARRAYS})
        arrays[f"{side}_formats"] = np.array([fmt.name for fmt in x.formats])
    np.savez(path, **arrays)


def load_operands(path: Path) -> tuple[QuantizedOperand, QuantizedOperand]:
    """Read what `save_operands` wrote."""
    with np.load(path) as arrays:
        sides = []
        for side in "ab":
            values = {name: arrays[f"{side}_{name}"] for name in ARRAYS}
            formats = tuple(get_format(str(name)) for name in arrays[f"{side}_formats"])
            sides.append(QuantizedOperand(**values, formats=formats))
    return sides[0], sides[1]
