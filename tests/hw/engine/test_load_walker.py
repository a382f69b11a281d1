"""The load walker against a plain order of requests."""

import random
from functools import partial

import pytest
from engine_driver import TINY, four_by_four, send, simulate, take
from test_tiles import order

from mixdit_hw.engine import load_walker
from mixdit_hw.engine.command import command_layout
from mixdit_hw.engine.load_walker import LoadWalker
from mixdit_hw.engine.reader import Destination, request_layout
from mixdit_sw.engine.commands import STEPS


def requests(config, c, steps):
    """Yield (address, beats, destination) of what a command must ask for, as its docstring says."""
    shape, b = config.shape, c["stationary_b"]
    sizes = c["row_tiles"], c["col_tiles"]
    base, beats = (c["a_address"], c["b_address"]), (c["a_beats"], c["b_beats"])
    way = Destination.A, Destination.B
    columns = len({"col_scale", "bias"} & steps)
    shown = None
    for held, streamed, flags in order(sizes[b], sizes[1 - b], c["panel"]):
        first_of_panel = held % c["panel"] == 0
        if first_of_panel and flags["first_streamed"]:
            for tile in range(held, held + flags["panel_tiles"]):
                yield base[b] + tile * beats[b], beats[b], way[b]
        if first_of_panel and streamed != shown:
            yield base[1 - b] + streamed * beats[1 - b], beats[1 - b], way[1 - b]
        shown = streamed
        row, col = (streamed, held) if b else (held, streamed)
        extra = Destination.EXTRA
        if "row_scale" in steps:
            words = shape.row_vector_beats
            yield c["row_vector_address"] + row * words, words, extra
        if columns:
            yield c["col_vector_address"] + col * columns, columns, extra
        if "residual" in steps:
            place = row * c["residual_row_beats"] + col * c["residual_col_beats"]
            yield c["residual_address"] + place, shape.tile_beats, extra


def cases(config, count, seed=0):
    """Random commands, and the requests that they must give."""
    rng, layout = random.Random(seed), command_layout(config)
    wide, commands, golden = config.beat_bits, [], []
    for _ in range(count):
        c = {name: rng.getrandbits(wide) for name in layout.members if name.endswith("_address")}
        c |= {name: rng.getrandbits(16) for name in ("k_blocks", "a_words", "b_words")}
        c |= {name: rng.randrange(1, 1 << 24) for name in ("a_beats", "b_beats")}
        c |= {name: rng.getrandbits(32) for name in ("residual_row_beats", "residual_col_beats")}
        c |= {"stationary_b": rng.getrandbits(1), "panel": rng.randint(1, 4)}
        c |= {"row_tiles": rng.randint(1, 5), "col_tiles": rng.randint(1, 5)}
        bits = rng.getrandbits(4)
        raw = layout.const(c).as_value().value
        commands.append(raw | bits << layout["steps"].offset)
        steps = {name for i, name in enumerate(STEPS) if bits >> i & 1}
        for address, beats, way in requests(config, c, steps):
            target = (way, c["k_blocks"], c[("a_words", "b_words")[way == Destination.B]])
            golden.append((address & ((1 << wide) - 1), beats, *target[: 1 if way == 3 else 3]))
    return commands, golden


def asked(config, commands, count, chances):
    """Return the requests of a walker; what an extra one says of an operand does not matter."""
    dut, found, layout = LoadWalker(config), [], request_layout(config)
    simulate(
        dut,
        partial(send, stream=dut.command, items=commands, chance=chances[0]),
        partial(take, stream=dut.request, count=count, found=found, chance=chances[1]),
    )
    views = [layout.from_bits(word) for word in found]
    return [
        (
            view.address,
            view.beats,
            *(view.target.destination, view.target.k_blocks, view.target.words)[
                : 1 if view.target.destination == Destination.EXTRA else 3
            ],
        )
        for view in views
    ]


@pytest.mark.parametrize("chances", [(1.0, 1.0), (0.3, 0.5)])
@pytest.mark.parametrize("config", [TINY, four_by_four()], ids=["tiny", "four"])
def test_requests(config, chances):
    commands, golden = cases(config, 10)
    assert asked(config, commands, len(golden), chances) == golden


def test_fault_is_seen(monkeypatch):
    """The last kind of request is made for every kind."""
    monkeypatch.setattr(load_walker, "_first", lambda todo, requests: requests[-1])
    commands, golden = cases(TINY, 6)
    assert asked(TINY, commands, len(golden), (1.0, 1.0)) != golden
