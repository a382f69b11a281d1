"""Cycles that the gather of channels takes (docs/converter.md)."""

import numpy as np

from mixdit_sw.formats import LANES


def gather_cycles(order: np.ndarray) -> int:
    """Return the cycles of a row: for each output beat, the words of its busiest bank.

    Parameters
    ----------
    order : int (K,)
        Channel at each place of the new order; K is a multiple of 16.
    """
    beats = np.asarray(order).reshape(-1, LANES) % LANES
    return int(sum(np.bincount(beat).max() for beat in beats))
