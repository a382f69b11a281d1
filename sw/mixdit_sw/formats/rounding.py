"""Rounding of magnitudes to integers, in NumPy; `mixdit_sw.codec.fast` has the same in torch."""

from dataclasses import dataclass

import numpy as np

from mixdit_sw.errors import MixditError

MODES = ("nearest-even", "half-away", "truncate", "stochastic")

_MULTIPLIERS = (0x85EBCA6B, 0xC2B2AE35)
"""Of the finalizer of MurmurHash3 (public domain), which spreads every bit of its input."""


@dataclass(frozen=True)
class Rounding:
    """How a number between two codes is rounded.

    Members
    -------
    mode : str
        "nearest-even" (ties to the even code), "half-away" (ties away from zero), "truncate"
        (toward zero), or "stochastic": up with the probability of the distance, by a hash of the
        seed and of the element's position in the tensor, so that the order of work changes nothing.
    seed : int
        Seed of "stochastic", 0..2**32 - 1.
    """

    mode: str = "nearest-even"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise MixditError(f"Rounding must be one of {', '.join(MODES)}, not '{self.mode}'")
        if not isinstance(self.seed, int) or not 0 <= self.seed < 1 << 32:
            raise MixditError(f"Seed must be an integer 0..2**32 - 1, not {self.seed!r}")


NEAREST = Rounding()


def round_magnitude(x: np.ndarray, rounding: Rounding) -> np.ndarray:
    """Return float64 x >= 0, rounded to integers."""
    if rounding.mode == "nearest-even":
        return np.rint(x)
    if rounding.mode == "half-away":
        return np.floor(x + 0.5)
    if rounding.mode == "truncate":
        return np.floor(x)
    return np.floor(x + uniform(x.size, rounding.seed).reshape(x.shape))


def uniform(count: int, seed: int) -> np.ndarray:
    """Return one number in 0 .. 1 - 2**-24 for each position, float64 (count,)."""
    hashed = np.arange(count, dtype=np.uint64)
    hashed = (hashed ^ (hashed >> np.uint64(32))) & np.uint64(0xFFFFFFFF)
    hashed = _mix(hashed ^ np.uint64(seed))
    return (_mix(hashed + np.uint64(0x9E3779B9)) >> np.uint64(8)) / 2.0**24


def _mix(x: np.ndarray) -> np.ndarray:
    """Return a bijection of 32-bit numbers, held in uint64."""
    low = np.uint64(0xFFFFFFFF)
    x = x & low
    x ^= x >> np.uint64(16)
    x = (x * np.uint64(_MULTIPLIERS[0])) & low
    x ^= x >> np.uint64(13)
    x = (x * np.uint64(_MULTIPLIERS[1])) & low
    return x ^ (x >> np.uint64(16))
