"""The feed with its operand buffers, against a plain order of tiles, K-blocks and passes."""

import random
from functools import partial

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from engine_driver import TINY, send, simulate, take
from test_tiles import order

from mixdit_hw.array.array import beat_layout
from mixdit_hw.engine import feed
from mixdit_hw.engine.buffer import OperandBuffer, word_layout
from mixdit_hw.engine.command import command_layout
from mixdit_hw.engine.feed import Feed
from mixdit_hw.packet import PACKET
from mixdit_sw.codec.packets import passes


class Operands(wiring.Component):
    """A feed between its buffers."""

    def __init__(self, config):
        self.feed = Feed(config)
        self.buffers = [OperandBuffer(height, config.words) for height in config.heights]
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules.feed = self.feed
        for name, buffer in zip("ab", self.buffers, strict=True):
            m.submodules[f"buffer_{name}"] = buffer
            reads = getattr(self.feed, name)
            m.d.comb += [reads.written.eq(buffer.written), reads.data.eq(buffer.data)]
            m.d.comb += [
                getattr(buffer, member).eq(getattr(reads, member))
                for member in ("read", "at", "release", "until")
            ]
        return m


class Plan:
    """Random commands; the words that the loader writes for them, and the beats that they give."""

    def __init__(self, config, count, seed=0):
        self.config, self.rng = config, random.Random(seed)
        self.commands, self.words, self.beats, self.ends = [], ([], []), [], []
        for _ in range(count):
            self._add()

    def _tile(self, digits, is_b):
        """Words of a tile: for each K-block its digits, most significant first."""
        height = self.config.heights[is_b]
        return [
            [self.rng.getrandbits(PACKET.size * height) for _ in range(count)] for count in digits
        ]

    def _add(self):
        rng, config = self.rng, self.config
        blocks = rng.randint(1, 6)
        digits = [[rng.randint(1, 2) for _ in range(blocks)] for _ in range(2)]
        b, sizes = rng.getrandbits(1), (rng.randint(1, 6), rng.randint(1, 6))
        most = config.words // sum(digits[b])
        panel = rng.randint(1, min(most, 4))
        values = {"stationary_b": b, "row_tiles": sizes[0], "col_tiles": sizes[1], "panel": panel}
        self.commands.append(command_layout(config).const(values).as_value().value)
        tiles = [[self._tile(digits[x], x) for _ in range(sizes[x])] for x in range(2)]
        shown = None
        for held, streamed, flags in order(sizes[b], sizes[1 - b], panel):
            if held % panel == 0 and flags["first_streamed"]:
                for tile in range(held, held + flags["panel_tiles"]):
                    self._load(b, tiles[b][tile])
            if held % panel == 0 and streamed != shown:
                self._load(1 - b, tiles[1 - b][streamed])
            shown = streamed
            chosen = (streamed, held) if b else (held, streamed)
            self._show(tiles[0][chosen[0]], tiles[1][chosen[1]])

    def _load(self, x, tile):
        layout = word_layout(self.config.heights[x])
        for k, block in enumerate(tile):
            for packets in block:
                tags = len(block) << layout["digits"].offset
                self.words[x].append(packets | tags | (k == len(tile) - 1) << layout["last"].offset)

    def _show(self, a, b):
        layout = beat_layout(self.config.array)
        tag = layout["tag"].shape
        for k, (p, q) in enumerate(zip(a, b, strict=True)):
            steps = passes(len(p), len(q))
            for n, step in enumerate(steps):
                self.beats.append(
                    p[len(p) - 1 - step.a_digit]
                    | q[len(q) - 1 - step.b_digit] << layout["b"].offset
                    | len(p) << layout["tag"].offset + tag["a_digits"].offset
                    | len(q) << layout["tag"].offset + tag["b_digits"].offset
                    | (k == len(a) - 1) << layout["last"].offset
                )
                self.ends.append(k == len(a) - 1 and n == len(steps) - 1)


async def fill(ctx, buffer, words, *, chance, seed):
    """Write words into a buffer while there is space."""
    rng = random.Random(seed)
    for word in words:
        written = False
        while not written:
            written = bool(ctx.get(buffer.space)) and rng.random() < chance
            ctx.set(buffer.write, written)
            ctx.set(buffer.word.as_value(), word if written else rng.getrandbits(64))
            await ctx.tick()
        ctx.set(buffer.write, 0)


def run(plan, *, loads=1.0, ready=1.0, limit=20_000):
    """Return beats and whether each ended a tile; at the end both buffers are empty."""
    dut, found, ends = Operands(plan.config), [], []
    unit, config = dut.feed, plan.config

    async def watch(ctx):
        while True:
            *_, valid, taken, end = await ctx.tick().sample(
                unit.o.valid, unit.o.ready, unit.tile_end
            )
            if valid and taken:
                ends.append(bool(end))
            else:
                assert not end

    async def sink(ctx):
        await take(ctx, unit.o, len(plan.beats), found, chance=ready, seed=4)
        await ctx.tick()
        for buffer in dut.buffers:
            for n in range(config.words):
                assert ctx.get(buffer.space), f"{n} words were not released"
                ctx.set(buffer.write, 1)
                await ctx.tick()
            assert not ctx.get(buffer.space), "words were released twice"

    simulate(
        dut,
        partial(send, stream=unit.command, items=plan.commands, chance=loads, seed=1),
        *(
            partial(fill, buffer=buffer, words=words, chance=loads, seed=2 + n)
            for n, (buffer, words) in enumerate(zip(dut.buffers, plan.words, strict=True))
        ),
        sink,
        background=[watch],
        limit=limit,
    )
    return found, ends


@pytest.mark.parametrize("pace", [(1.0, 1.0), (0.2, 1.0), (1.0, 0.4), (0.5, 0.6)])
def test_beats(pace):
    plan = Plan(TINY, 10, seed=int(10 * sum(pace)))
    found, ends = run(plan, loads=pace[0], ready=pace[1])
    assert found == plan.beats
    assert ends == plan.ends


def test_a_beat_a_cycle():
    """With everything loaded and an array that takes it, a command's beats follow each other."""
    plan = Plan(TINY, 1, seed=3)
    dut, shown = Operands(TINY), []
    assert all(len(words) <= TINY.words for words in plan.words)

    async def drive(ctx):
        for buffer, words in zip(dut.buffers, plan.words, strict=True):
            await fill(ctx, buffer, words, chance=1.0, seed=0)
        ctx.set(dut.feed.o.ready, 1)
        await send(ctx, dut.feed.command, plan.commands)
        while sum(shown) < len(plan.beats):
            *_, valid, waits = await ctx.tick().sample(dut.feed.o.valid, dut.feed.waits)
            shown.append(valid)
            assert not (valid and waits)

    simulate(dut, drive, limit=1000)
    first = shown.index(1)
    assert all(shown[first:])


def test_fault_is_seen(monkeypatch):
    """Passes in another order: their digits are read too early."""
    monkeypatch.setattr(feed, "passes", lambda p, q: passes(p, q)[::-1])
    plan = Plan(TINY, 4)
    assert run(plan)[0] != plan.beats
