"""The source: tiles of FP32 and BF16 as they lie, and transposed from rows in pieces."""

from functools import partial

import numpy as np
import pytest
from engine_driver import TINY, four_by_four, send, simulate, take

from mixdit_hw.engine import source
from mixdit_hw.engine.reader import Destination, word_layout
from mixdit_hw.engine.source import Source, row_layout

CHANCES = [(1.0, 1.0), (0.4, 1.0), (1.0, 0.3), (0.5, 0.5)]
CONFIGS = [TINY, four_by_four(), four_by_four(port_bytes=16)]
IDS = ["tiny", "four", "wide"]


def as_words(values, bits):
    """Rows of numbers as one value each."""
    return [sum(int(x) << bits * n for n, x in enumerate(row)) for row in values]


def bus_word(config, data, last, about):
    """A word as the reader gives it."""
    layout = word_layout(config)
    target = {
        "destination": Destination.SOURCE,
        "words": row_layout(config).const(about).as_value().value,
    }
    return layout.const({"data": data, "last": last, "target": target}).as_value().value


def widened(values, narrow):
    """FP32 words of BF16 or FP32 ones."""
    return values.astype(np.uint64) << (16 if narrow else 0)


def requests(rng, config, narrow, tiles):
    """Bus words of requests for rows of tiles, and the transposed tiles in bus words."""
    shape = config.shape
    size, bits = shape.cols, 16 if narrow else 32
    in_word = shape.rows_a_beat(narrow=narrow)
    given, wanted = [], []
    for _ in range(tiles):
        left, rows = size, []
        while left:
            count = int(rng.integers(1, left + 1))
            left -= count
            first = int(rng.integers(in_word))
            beats = -(-(first + count) // in_word)
            memory = rng.integers(0, 1 << bits, (beats * in_word, size), dtype=np.uint64)
            rows.append(memory[first : first + count])
            about = {
                "narrow": narrow,
                "transposed": 1,
                "first": first,
                "last": (first + count - 1) % in_word,
            }
            for n, data in enumerate(as_words(memory.reshape(beats, -1), bits)):
                given.append(bus_word(config, data, n == beats - 1, about))
        tile = widened(np.concatenate(rows), narrow).T.reshape(-1, shape.lanes)
        wanted += as_words(tile, 32)
    return given, wanted


def run_source(config, given, wanted, name, chances):
    dut, found = Source(config), []
    simulate(
        dut,
        partial(send, stream=dut.i, items=given, chance=chances[0]),
        partial(take, stream=getattr(dut, name), count=len(wanted), found=found, chance=chances[1]),
    )
    return found


@pytest.mark.parametrize("chances", CHANCES)
@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_transposed(config, chances):
    rng = np.random.default_rng(1)
    given, wanted = [], []
    for n in range(8):
        more = requests(rng, config, narrow=n % 3 == 1, tiles=2)
        given, wanted = given + more[0], wanted + more[1]
    assert run_source(config, given, wanted, "turned", chances) == wanted


@pytest.mark.parametrize("chances", CHANCES)
@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_as_it_lies(config, chances):
    rng, lanes = np.random.default_rng(2), config.shape.lanes
    given, wanted = [], []
    for n in range(12):
        narrow = n % 2
        bits = 16 if narrow else 32
        memory = rng.integers(0, 1 << bits, (3, lanes * 32 // bits), dtype=np.uint64)
        about = {"narrow": narrow, "transposed": 0, "first": 0, "last": 0}
        for i, data in enumerate(as_words(memory, bits)):
            given.append(bus_word(config, data, i == 2, about))
        wanted += as_words(widened(memory, narrow).reshape(-1, lanes), 32)
    assert run_source(config, given, wanted, "words", chances) == wanted


def test_fault_is_seen(monkeypatch):
    """BF16 that is widened at the wrong end."""
    monkeypatch.setattr(source, "_widen", lambda halves: halves)
    given, wanted = requests(np.random.default_rng(3), TINY, narrow=True, tiles=2)
    assert run_source(TINY, given, wanted, "turned", (1.0, 1.0)) != wanted
