"""What the load walker asks for in conversions, against a plain list of it."""

import random
from functools import partial

import pytest
from engine_driver import TINY, four_by_four, send, simulate
from test_gather import runs, tables, words

from mixdit_hw.engine.command import command_layout
from mixdit_hw.engine.load_walker import LoadWalker
from mixdit_hw.engine.reader import Destination, request_layout
from mixdit_hw.engine.source import row_layout
from mixdit_sw.engine.commands import Output

CONFIGS = [TINY, four_by_four(), four_by_four(port_bytes=16)]
IDS = ["tiny", "four", "wide"]


def requests(config, c, table):
    """Yield (destination, address, beats, what the source must know) of a conversion."""
    shape, narrow = config.shape, c["source_bf16"]
    yield Destination.TAGS, c["tags_address"], 1, None
    rows = shape.rows_a_beat(narrow=bool(narrow))
    if c["transposed"]:
        beats = -(-len(table) // shape.lanes)
        yield Destination.TABLE, c["a_address"], beats, None
    for r in range(c["row_tiles"]):
        base = c["residual_address"] + r * c["residual_row_beats"]
        if c["transposed"]:
            for row, more, _ in runs(table, shape.cols):
                first, behind = row % rows, row % rows + more
                about = {"narrow": narrow, "transposed": 1, "first": first, "last": behind % rows}
                yield Destination.SOURCE, base + row // rows, behind // rows + 1, about
            continue
        for col in range(c["col_tiles"]):
            about = {"narrow": narrow, "transposed": 0, "first": 0, "last": 0}
            place = base + col * c["residual_col_beats"]
            yield Destination.SOURCE, place, shape.tile_beats // (1 + narrow), about


def conversion(config, rng, number):
    """Fields of a conversion, and its table."""
    bits = config.beat_bits
    c = {name: rng.getrandbits(bits) for name in ("a_address", "tags_address", "residual_address")}
    table = list(tables(config.shape.cols, number))[number % 6]
    c |= {"transposed": number % 3 != 2, "source_bf16": rng.getrandbits(1)}
    c |= {"row_tiles": rng.randint(1, 3), "col_tiles": len(table) // config.shape.cols}
    c |= {"panel": c["col_tiles"], "stationary_b": 1, "output": Output.OPERAND, "is_convert": 1}
    c |= {"residual_row_beats": rng.getrandbits(bits)}
    c |= {"residual_col_beats": 0 if c["transposed"] else rng.getrandbits(20)}
    return c, table


@pytest.mark.parametrize("chances", [(1.0, 1.0), (0.5, 0.4)])
@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_requests(config, chances):
    rng, layout = random.Random(3), command_layout(config)
    given = [conversion(config, rng, number) for number in range(9)]
    commands = [layout.const(c).as_value().value for c, _ in given]
    golden = [request for c, table in given for request in requests(config, c, table)]
    dut, found = LoadWalker(config), []
    coming = []

    async def serve(ctx):
        """Take requests; a table's words come some time after it is asked for."""
        shapes, tables_left = request_layout(config), [t for c, t in given if c["transposed"]]
        while len(found) < len(golden):
            ready = rng.random() < chances[1]
            ctx.set(dut.request.ready, ready)
            word = coming.pop(0) if coming and rng.random() < chances[0] else None
            ctx.set(dut.table.valid, word is not None)
            ctx.set(dut.table.payload, rng.getrandbits(30) if word is None else word)
            ctx.set(dut.table_ends, word is not None and not coming)
            *_, valid, bits = await ctx.tick().sample(
                dut.request.valid, dut.request.payload.as_value()
            )
            if not (valid and ready):
                continue
            view = shapes.from_bits(bits)
            way, about = view.target.destination, None
            if way == Destination.SOURCE:
                rows = row_layout(config).from_bits(view.target.words)
                about = {name: getattr(rows, name) for name in row_layout(config).members}
            if way == Destination.TABLE:
                coming.extend(words(tables_left.pop(0), config))
            found.append((way, view.address, view.beats, about))

    simulate(dut, partial(send, stream=dut.command, items=commands, chance=chances[0]), serve)
    wrap = (1 << config.beat_bits) - 1
    assert found == [(way, address & wrap, *rest) for way, address, *rest in golden]
