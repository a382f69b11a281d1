"""Tiles that the output buffer cannot cut into bus words are refused."""

import pytest

from mixdit_hw.config import ArrayConfig
from mixdit_hw.engine.config import EngineConfig
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
