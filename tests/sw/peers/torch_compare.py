"""Comparisons that the tests against torch packages share."""

import numpy as np
import torch

from mixdit_sw.codec import fast, reference
from mixdit_sw.formats import Format


def words_of(x: torch.Tensor) -> torch.Tensor:
    """Return the bits of float32, with +0 for -0."""
    return (x + 0.0).view(torch.int32)


def check_reference(x: np.ndarray, blocks: fast.TensorBlocks, fmt: Format) -> None:
    """Compare the codec in NumPy with the fast one."""
    ours, other = reference.encode(x, fmt), blocks.numpy()
    for member in ("codes", "exponents", "micro_exponents"):
        assert np.array_equal(getattr(ours, member), getattr(other, member))
    if ours.scales is not None:
        assert np.array_equal(ours.scales, other.scales, equal_nan=True)
        assert ours.tensor_scale == other.tensor_scale
    values = reference.decode(ours, fmt).view(np.uint32)
    assert np.array_equal(values, fast.decode(blocks, fmt).numpy().view(np.uint32))
