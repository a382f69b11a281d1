"""Weights by GPTQ in formats with shared micro-exponents.

Method: Frantar et al., "GPTQ" (arXiv:2210.17323), algorithm 1. Weights are rounded one input
channel after the other, and each error is spread over the channels that are still to come, so that
the output changes least under the inputs' second moments. What a format with blocks adds: a block's
exponent is taken when the first of its 16 channels is reached, a pair's micro-exponent when the
pair is, from the weights as corrected by then; codes that no longer fit are clamped.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mixdit_sw.errors import MixditError
from mixdit_sw.formats import EXPONENT_BIAS, LANES, PAIR, MicroExponentFormat

DAMPING = 0.01
"""Added to the diagonal, as a share of its mean (section 3.3 of the paper)."""

_LEAST = 2.0**-126
"""Smaller magnitudes are zero to these formats."""


@torch.no_grad()
def gptq(weight: Tensor, hessian: Tensor, formats: Sequence[MicroExponentFormat]) -> Tensor:
    """Round a weight by GPTQ.

    Parameters
    ----------
    weight : float32 (N, K)
        Weight of a linear, finite.
    hessian : float (K, K)
        Mean outer product of its inputs, in the same order of channels; its scale has no effect.
    formats : sequence of MicroExponentFormat
        Format of each K-block.

    Returns
    -------
    float32 (N, K)
        Values that the formats hold: nearest rounding returns them unchanged.

    Raises
    ------
    MixditError
        When shapes do not match, or the Hessian has NaN or is not positive.
    """
    n, k = weight.shape
    if hessian.shape != (k, k) or len(formats) != -(-k // LANES):
        raise MixditError(
            f"A weight of {k} inputs needs a Hessian ({k}, {k}) and {-(-k // LANES)} formats, "
            f"not {tuple(hessian.shape)} and {len(formats)}"
        )
    spread = _spread(hessian.to(weight.device))
    rest = weight.double().clone()
    result = torch.empty_like(rest)
    for block, fmt in enumerate(formats):
        start, stop = block * LANES, min((block + 1) * LANES, k)
        errors = torch.zeros(n, stop - start, dtype=torch.float64, device=weight.device)
        exponent = _exponents(rest[:, start:stop])
        for column in range(start, stop):
            if (column - start) % PAIR == 0:
                pair = rest[:, column : min(column + PAIR, stop)]
                tau = (_exponents(pair) < exponent).double()
                step = torch.exp2(exponent - tau - (fmt.magnitude_bits - 1))
            codes = (rest[:, column] / step).round().clamp(-fmt.max_code, fmt.max_code)
            result[:, column] = torch.where(rest[:, column].abs() < _LEAST, 0.0, codes * step)
            error = (rest[:, column] - result[:, column]) / spread[column, column]
            rest[:, column + 1 : stop] -= torch.outer(error, spread[column, column + 1 : stop])
            errors[:, column - start] = error
        rest[:, stop:] -= errors @ spread[start:stop, stop:]
    # -0.0 is not a value of the formats.
    return (result + 0.0).float()


def _spread(hessian: Tensor) -> Tensor:
    """Return the upper Cholesky factor of the damped Hessian's inverse, float64 (K, K)."""
    damped = hessian.double().clone()
    diagonal = damped.diagonal()
    # An input that is always zero says nothing: its weights are rounded to nearest.
    diagonal[diagonal == 0] = 1.0
    diagonal += DAMPING * diagonal.mean()
    try:
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
        return torch.linalg.cholesky(inverse, upper=True)
    except torch.linalg.LinAlgError:
        raise MixditError("GPTQ's Hessian is not positive definite: calibrate again") from None


def _exponents(values: Tensor) -> Tensor:
    """Return floor(log2) of each row's largest magnitude, float64 (N,); -127 for zeros."""
    largest = nn.functional.pad(values.abs(), (0, 1)).amax(dim=1)
    exponents = torch.frexp(largest).exponent.double() - 1
    return torch.where(largest < _LEAST, -float(EXPONENT_BIAS), exponents)
