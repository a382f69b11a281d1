"""The gather against NumPy's take: any order, and exactly as many cycles as the banks need."""

import numpy as np
import pytest
from stream_driver import run_stream

from mixdit_hw.blocks import gather
from mixdit_hw.blocks.gather import Gather
from mixdit_sim.gather_cycles import gather_cycles

BEATS = 6


def run_gather(rows, order, *, max_beats=8, **pauses):
    """Return the rows that come out, and the cycles from the first beat to the last."""
    dut = Gather(max_beats)

    async def set_up(ctx):
        ctx.set(dut.beats, rows.shape[1] // 16)
        for n, indices in enumerate(order.reshape(-1, 16)):
            ctx.set(dut.table.payload.beat, n)
            for lane, index in enumerate(indices):
                ctx.set(dut.table.payload.indices[lane], int(index))
            ctx.set(dut.table.valid, 1)
            await ctx.tick()
        ctx.set(dut.table.valid, 0)

    words = [sum(int(x) << 32 * i for i, x in enumerate(beat)) for beat in rows.reshape(-1, 16)]
    found, cycles = run_stream(dut, words, set_up, **pauses)
    assert len(found) == len(words)
    out = [[beat >> 32 * i & 0xFFFFFFFF for i in range(16)] for beat in found]
    return np.array(out, np.uint32).reshape(rows.shape), cycles


def rows_of(count, beats=BEATS, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 1 << 32, (count, 16 * beats), dtype=np.uint32)


def orders(beats=BEATS):
    rng = np.random.default_rng(1)
    k = 16 * beats
    high = np.sort(rng.choice(k, 16, replace=False))
    return {
        "identity": np.arange(k),
        "reversed": np.arange(k)[::-1],
        "random": rng.permutation(k),
        "high-first": np.concatenate([high, np.setdiff1d(np.arange(k), high)]),
    }


@pytest.mark.parametrize("name", orders())
def test_words_and_cycles(name):
    """Rows follow each other without a gap, if they come as fast as they leave."""
    order, rows = orders()[name], rows_of(5)
    found, cycles = run_gather(rows, order)
    assert np.array_equal(found, rows[:, order])
    first = np.bincount(order[:16] % 16).max()
    assert cycles == 5 * gather_cycles(order) - first + 1


def test_every_word_in_one_bank():
    """The worst order: 16 cycles a beat."""
    order, rows = np.arange(256).reshape(16, 16).T.reshape(-1), rows_of(2, 16)
    found, cycles = run_gather(rows, order, max_beats=16)
    assert np.array_equal(found, rows[:, order])
    assert gather_cycles(order) == 256 and cycles == 2 * 256 - 15


@pytest.mark.parametrize("pauses", [{"valid": 0.5}, {"ready": 0.4}, {"valid": 0.7, "ready": 0.7}])
@pytest.mark.parametrize("name", ["random", "high-first"])
def test_pauses_change_nothing(name, pauses):
    order, rows = orders()[name], rows_of(4, seed=2)
    assert np.array_equal(run_gather(rows, order, **pauses)[0], rows[:, order])


def test_short_rows():
    order, rows = np.random.default_rng(3).permutation(16), rows_of(6, 1)
    assert np.array_equal(run_gather(rows, order)[0], rows[:, order])


def test_words_may_repeat():
    """A table need not be a permutation."""
    order, rows = np.zeros(96, int), rows_of(2)
    assert np.array_equal(run_gather(rows, order)[0], rows[:, order])


def test_fault_is_seen(monkeypatch):
    """Banks that serve all who want them at once give them one word."""
    monkeypatch.setattr(gather, "_lowest", lambda bits: bits)
    order, rows = orders()["random"], rows_of(2)
    assert not np.array_equal(run_gather(rows, order)[0], rows[:, order])
