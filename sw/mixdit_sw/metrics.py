"""Quality of a quantized result."""

import numpy as np


def qsnr_db(exact: np.ndarray, approximate: np.ndarray) -> float | None:
    """Return the signal to quantization noise ratio in dB (Rouhani et al., section 4).

    None where it is not a number: an exact result, a signal of zeros, or values that are not
    finite.
    """
    exact = exact.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        noise = float(np.square(approximate.astype(np.float64) - exact).sum())
        signal = float(np.square(exact).sum())
    if not (np.isfinite(noise) and np.isfinite(signal)) or noise == 0 or signal == 0:
        return None
    return float(10 * np.log10(signal / noise))
