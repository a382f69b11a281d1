"""Tiles that the output buffer cannot cut into bus words are refused."""

from dataclasses import replace

import pytest

from mixdit_hw.config import ArrayConfig
from mixdit_hw.engine.config import EngineConfig, get_engine
from mixdit_sw.errors import MixditError


@pytest.mark.parametrize(
    ("rows", "cluster_rows", "message"),
    [
        # The output buffer takes its address and its group of clusters from bits of one counter.
        (6, 2, "cluster rows must take a power of two of bus words, not 3"),
        # A bus word of BF16 is two of FP32.
        (3, 3, "even number of bus words, not 3"),
        (1, 1, "even number of bus words, not 1"),
    ],
)
def test_refused(rows, cluster_rows, message):
    array = ArrayConfig(rows=rows, cols=2, cluster_rows=cluster_rows, cluster_cols=2)
    with pytest.raises(MixditError, match=message):
        EngineConfig(array=array, port_bytes=8, buffer_bytes=4096)


@pytest.mark.parametrize(
    ("memory", "message"),
    [
        ({"memory_words": 2.5}, "memory_words must be 0.01..2, not 2.5"),
        ({"memory_words": float("nan")}, "memory_words must be 0.01..2, not nan"),
        ({"memory_words": "1"}, "memory_words must be 0.01..2, not '1'"),
        ({"memory_latency": 0}, "memory_latency must be a positive integer, not 0"),
    ],
)
def test_memory_refused(memory, message):
    with pytest.raises(MixditError, match=message):
        replace(get_engine("tiny"), **memory)
