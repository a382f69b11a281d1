"""Quality of a quantized result."""

import numpy as np


class QsnrSum:
    """Signal to quantization noise ratio of a tensor that comes in parts."""

    def __init__(self) -> None:
        self._signal = self._noise = 0.0

    def add(self, exact: np.ndarray, approximate: np.ndarray) -> None:
        """Count in a part."""
        exact = exact.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            self._noise += float(np.square(approximate.astype(np.float64) - exact).sum())
            self._signal += float(np.square(exact).sum())

    def db(self) -> float | None:
        """Return the ratio in dB; None where it is not a number."""
        noise, signal = self._noise, self._signal
        if not (np.isfinite(noise) and np.isfinite(signal)) or noise == 0 or signal == 0:
            return None
        return float(10 * np.log10(signal / noise))


def qsnr_db(exact: np.ndarray, approximate: np.ndarray) -> float | None:
    """Return the signal to quantization noise ratio in dB (Rouhani et al., section 4).

    None where it is not a number: an exact result, a signal of zeros, or values that are not
    finite.
    """
    total = QsnrSum()
    total.add(exact, approximate)
    return total.db()
