"""The engines of the tests: always these, so that each simulator builds them once."""

import shutil

import pytest

from mixdit_hw.config import ArrayConfig
from mixdit_hw.engine.config import ENGINES, EngineConfig

TINY = ENGINES["tiny"]
LOCKSTEP = EngineConfig(
    array=ArrayConfig(rows=4, cols=2, cluster_rows=2, cluster_cols=2),
    port_bytes=8,
    ports=2,
    buffer_bytes=1024,
    extra_words=4,
    steps=("row_scale", "bias"),
)
"""Two ports, four clusters' rows in a bus word, shallow buffers, half of the epilogue."""

SQUARE = EngineConfig(
    array=ArrayConfig(rows=4, cols=4, cluster_rows=2, cluster_cols=2),
    port_bytes=16,
    ports=2,
    buffer_bytes=2048,
    extra_words=4,
    steps=("row_scale", "bias"),
)
"""Two rows of a tile in a bus word, four of BF16, and a transposition that gives two a cycle."""

needs_icarus = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="Icarus (Debian's iverilog) is not installed"
)
