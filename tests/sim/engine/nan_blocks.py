"""How often NaN blocks are loaded."""

import numpy as np

from mixdit_sw.formats import NAN_EXPONENT


def count(gemm, command, shape):
    """NaN blocks that a command loads: every time, not once for each in the operand."""
    total = 0
    stationary_b = bool(command.stationary_b)
    for is_b, operand in ((False, gemm.a), (True, gemm.b)):
        height = shape.height(is_b)
        nans = (operand.exponents == NAN_EXPONENT).sum(axis=1)
        tiles = np.add.reduceat(nans, np.arange(0, operand.rows, height))
        count = command.col_tiles if is_b else command.row_tiles
        tiles = np.pad(tiles, (0, count - len(tiles)))
        loads = np.ones(len(tiles), int)
        if is_b != stationary_b:
            held = command.col_tiles if stationary_b else command.row_tiles
            loads = streamed_loads(len(tiles), -(-held // command.panel))
        total += int((tiles * loads).sum())
    return total


def streamed_loads(tiles, panels):
    """How often each streamed tile is loaded; it is kept where panels turn round."""
    loads = np.full(tiles, panels)
    for panel in range(1, panels):
        loads[-1 if panel % 2 else 0] -= 1
    return loads
