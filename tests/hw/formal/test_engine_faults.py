"""Each fault in the engine's queues, bus masters and controller is rejected by a proof."""

import inspect
import sys
from functools import partial

import pytest

from mixdit_hw.engine import controller, feed, fifo, reader, writer
from mixdit_hw.engine.config import ENGINES
from mixdit_hw.formal import control, operands, queues, reads, writes
from mixdit_hw.formal.axi import short_bursts
from mixdit_hw.formal.runner import PropertyError, prove

pytestmark = pytest.mark.skipif(
    sys.platform == "darwin", reason="bitwuzla has no package for macOS"
)
HEAVY = pytest.mark.heavy
QUEUE = partial(queues.QueueProof, 8, 3)
SHORT, SMALL = short_bursts(1), ENGINES["small"]


def fails(monkeypatch, unit, harnesses, name, old, new, harness, depth, mode="bmc"):
    """Return the properties that fail once a line of a unit is another."""
    source = inspect.getsource(unit)
    assert source.count(old) == 1
    broken = {"__name__": unit.__name__}
    exec(compile(source.replace(old, new), unit.__file__, "exec"), broken)
    monkeypatch.setattr(harnesses, name, broken[name])
    with pytest.raises(PropertyError) as caught:
        prove(harness(), "fault", mode=mode, depth=depth)
    message = str(caught.value).splitlines()[0].split(";")[0]
    assert message.endswith(" fails")
    return message.removeprefix("fault: ").removesuffix(" fails").split(", ")


@pytest.mark.parametrize(
    ("name", "old", "new", "harness", "property_"),
    [
        ("Fifo", "level != self._depth)", "level <= self._depth)", QUEUE, "takes_if_room"),
        pytest.param(
            "Fifo",
            "(self.i.payload),",
            "(self.i.payload + level[1]),",
            QUEUE,
            "is_kept",
            marks=HEAVY,
        ),
        pytest.param(
            "Fifo", "self._depth - 1, 0,", "self._depth - 1, 1,", QUEUE, "places", marks=HEAVY
        ),
        pytest.param(
            "Slot",
            "self.i.ready.eq(~self.o.valid)",
            "self.i.ready.eq(1)",
            partial(queues.SlotProof, 8),
            "takes_if_room",
        ),
    ],
)
def test_queue(monkeypatch, name, old, new, harness, property_):
    assert property_ in fails(monkeypatch, fifo, queues, name, old, new, harness, 8)


@pytest.mark.parametrize(
    ("old", "new", "config", "property_"),
    [
        ("free.eq(~pending | taken)", "free.eq(1)", SHORT, "ar_0_stays"),
        pytest.param(
            "config.burst - address",
            "config.burst - 0 * address",
            SMALL,
            "ar_0_in_page",
            marks=HEAVY,
        ),
        pytest.param(
            "config.outstanding - config.burst)",
            "config.outstanding - 1)",
            SHORT,
            "not_too_many",
            marks=HEAVY,
        ),
        pytest.param("& free & ~self.stop", "& free", SHORT, "stays_idle", marks=HEAVY),
        ("there & (self.stop | (", "there & ((", SHORT, "stops"),
        pytest.param(
            "Cat(port.rvalid for port in ports).all()",
            "ports[0].rvalid",
            short_bursts(2),
            "words_stays",
            marks=HEAVY,
        ),
    ],
)
def test_reader(monkeypatch, old, new, config, property_):
    harness = partial(reads.ReadProof, config)
    assert property_ in fails(monkeypatch, reader, reads, "Reader", old, new, harness, 9)


@HEAVY
@pytest.mark.parametrize(
    ("old", "new", "property_"),
    [
        ("payload.beats - 1)", "payload.beats)", "last"),
        ("queue.o.payload.address + count", "queue.o.payload.address", "address"),
        (
            "o.payload.target.eq(queue.o.payload",
            "o.payload.target.eq(self.request.payload",
            "target",
        ),
    ],
)
def test_reader_mixes_up(monkeypatch, old, new, property_):
    harness = partial(reads.ReadOrderProof, SHORT)
    assert property_ in fails(monkeypatch, reader, reads, "Reader", old, new, harness, 10)


@pytest.mark.parametrize(
    ("old", "new", "config", "property_"),
    [
        ("self.stop & ~held", "self.stop", SHORT, "w_0_stays"),
        pytest.param("free.eq(~pending | taken)", "free.eq(1)", SHORT, "aw_0_stays", marks=HEAVY),
        ("config.burst - address", "config.burst - 0 * address", SMALL, "aw_0_in_page"),
        pytest.param("(without_response == 0) & ~pending", "~pending", SHORT, "idle", marks=HEAVY),
    ],
)
def test_writer(monkeypatch, old, new, config, property_):
    harness = partial(writes.WriteProof, config)
    assert property_ in fails(monkeypatch, writer, writes, "Writer", old, new, harness, 8)


@pytest.mark.parametrize(
    ("old", "new", "property_"),
    [
        ("last.eq(count == lengths", "last.eq(count == 1 + lengths", "last_0"),
        pytest.param(
            "offered.eq(lengths.o.valid & (", "offered.eq((", "word_of_a_burst_0", marks=HEAVY
        ),
        pytest.param("(self.i.valid | blank)", "self.i.valid", "stops", marks=HEAVY),
        pytest.param("& free & ~self.stop", "& free", "stays_idle", marks=HEAVY),
    ],
)
def test_writer_words(monkeypatch, old, new, property_):
    harness = partial(writes.WriteWordsProof, SHORT)
    assert property_ in fails(monkeypatch, writer, writes, "Writer", old, new, harness, 8)


@pytest.mark.parametrize(
    ("old", "new", "property_"),
    [
        ("with m.If(self.bus_idle):", "with m.If(self.bus_idle & self.quiet):", "ends"),
        pytest.param(
            "with m.Elif(self.quiet):", "with m.If(self.quiet):", "trouble_halts", marks=HEAVY
        ),
        pytest.param(
            "m.d.sync += self.failed.eq(1)",
            "m.d.sync += self.failed.eq(0)",
            "reset_fails",
            marks=HEAVY,
        ),
        pytest.param(
            "[self.halt.eq(1), self.reset.eq(1)]",
            "[self.reset.eq(1)]",
            "reset_when_idle",
            marks=HEAVY,
        ),
        pytest.param(
            "with m.FSM() as fsm:", 'with m.FSM(init="FETCH") as fsm:', "reset_ends_it", marks=HEAVY
        ),
    ],
)
def test_controller(monkeypatch, old, new, property_):
    harness = partial(control.ControlProof, ENGINES["paper"])
    names = fails(monkeypatch, controller, control, "Controller", old, new, harness, 9)
    assert property_ in names


@HEAVY
def test_controller_starts_while_it_runs(monkeypatch):
    old = "m.d.comb += self.words.ready.eq(1)"
    new = f"{old}; m.d.sync += pointer.eq(Mux(self.start, 0, pointer))"
    harness = partial(control.StartProof, SMALL)
    names = fails(monkeypatch, controller, control, "Controller", old, new, harness, 6)
    assert names == ["the_same"]


@HEAVY
@pytest.mark.parametrize(
    ("old", "new", "property_"),
    [
        ("return port.written.count != port.at.count", "return Const(1)", "reads_what_is_written_"),
        ("sum_ - depth, sum_)", "sum_ - depth + 1, sum_)", "place_"),
        ("block_end & Mux(is_streamed", "in_block & Mux(is_streamed", "releases_what_is_read_"),
    ],
)
def test_feed(monkeypatch, old, new, property_):
    found = fails(monkeypatch, feed, operands, "Feed", old, new, operands.FeedProof, 10)
    assert any(name.startswith(property_) for name in found)
