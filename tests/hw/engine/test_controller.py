"""The controller: command lists of every kind against a plain list of rules."""

import random
from functools import partial

import pytest
from engine_driver import TINY, four_by_four, simulate

from mixdit_hw.engine import controller
from mixdit_hw.engine.command import command_layout
from mixdit_hw.engine.controller import Controller
from mixdit_hw.engine.reader import request_layout
from mixdit_sw.engine.commands import (
    ADDRESSES,
    COMMAND_WORDS,
    FIELDS,
    STEPS,
    Command,
    Error,
    Opcode,
    Output,
    command_bytes,
)

SIZES = ("row_tiles", "col_tiles", "panel", "k_blocks", "a_words", "b_words", "a_beats", "b_beats")
DISTANCES = ("c_row_beats", "c_col_beats", "residual_row_beats", "residual_col_beats")


def words_of(command):
    """A command as one integer."""
    return int.from_bytes(command.pack().astype("<u4").tobytes(), "little")


def verdict(config, raw):
    """What is wrong with a command, by docs: the lowest code of all that apply."""
    c = {n: raw >> 32 * f.word + f.bit & (1 << f.width) - 1 for n, f in FIELDS.items()}
    if c["opcode"] == Opcode.END:
        return Error.NONE
    if c["opcode"] not in (Opcode.GEMM, Opcode.CONVERT):
        return Error.OPCODE
    gemm = c["opcode"] == Opcode.GEMM
    found, depth = [], config.words
    used = sum((1 << f.width) - 1 << 32 * f.word + f.bit for f in FIELDS.values())
    missing = sum(1 << i for i, name in enumerate(STEPS) if name not in config.steps)
    distances = [c[name] >> config.beat_bits for name in DISTANCES]
    if raw & ~used or c["output"] > 2 or c["steps"] & missing or any(distances):
        found.append(Error.FIELD)
    if c["output"] == Output.OPERAND and not stores_operand(config, c):
        found.append(Error.FIELD)
    if gemm and (c["transposed"] or c["source_bf16"]):
        found.append(Error.FIELD)
    if not gemm and (c["output"] != Output.OPERAND or c["steps"] or c["panel"] != c["col_tiles"]):
        found.append(Error.FIELD)
    if not gemm and c["transposed"] and config.array.rows != config.array.cols:
        found.append(Error.FIELD)
    if not all(c[name] for name in SIZES[: None if gemm else 3]):
        found.append(Error.SIZE)
    if any(c[name] % config.bus_bytes for name in ADDRESSES):
        found.append(Error.ALIGNMENT)
    if any(c[name] >> config.address_bits for name in ADDRESSES):
        found.append(Error.RANGE)
    held = c["panel"] * c["b_words" if c["stationary_b"] else "a_words"]
    if gemm and max(c["a_words"], c["b_words"], c["panel"], held) > depth:
        found.append(Error.CAPACITY)
    return min(found, default=Error.NONE)


def stores_operand(config, c):
    """Whether tiles come in groups, the K-blocks of no more than a section."""
    tiles = max(1, 16 // config.array.cols)
    whole = c["panel"] % tiles == 0 == c["col_tiles"] % tiles
    section = min(4 * config.bus_bytes, 512)
    return c["stationary_b"] and whole and c["col_tiles"] * config.array.cols <= 16 * section


def valid_conversion(config, rng):
    """A random conversion that is right."""
    tiles = max(1, 16 // config.array.cols)
    most = 64 * config.bus_bytes // config.array.cols
    columns = rng.randint(1, most // tiles) * tiles
    values = {name: rng.getrandbits(FIELDS[name].width) for name in SIZES[3:]}
    values |= {n: rng.getrandbits(config.address_bits) & -config.bus_bytes for n in ADDRESSES}
    values |= {name: rng.getrandbits(min(32, config.beat_bits)) for name in DISTANCES}
    return Command(
        opcode=Opcode.CONVERT,
        output=Output.OPERAND,
        stationary_b=1,
        transposed=rng.getrandbits(1) if config.array.rows == config.array.cols else 0,
        source_bf16=rng.getrandbits(1),
        row_tiles=rng.randint(1, 9),
        col_tiles=columns,
        panel=columns,
        **values,
    )


def valid_command(config, rng):
    """A random command that is right."""
    if rng.random() < 0.3:
        return valid_conversion(config, rng)
    depth, bus = config.words, config.bus_bytes
    a_words, b_words = rng.randint(1, depth), rng.randint(1, depth)
    b = rng.getrandbits(1)
    values = {name: rng.randrange(1, 1 << FIELDS[name].width) for name in SIZES}
    values |= {"a_words": a_words, "b_words": b_words, "stationary_b": b}
    values["panel"] = rng.randint(1, depth // (b_words if b else a_words))
    values |= {n: rng.getrandbits(config.address_bits) // bus * bus for n in ADDRESSES}
    values |= {name: rng.getrandbits(min(32, config.beat_bits)) for name in DISTANCES}
    steps = sum(1 << i for i, name in enumerate(STEPS) if name in config.steps)
    return Command(
        opcode=Opcode.GEMM, output=rng.getrandbits(1), steps=rng.getrandbits(4) & steps, **values
    )


def as_handed_on(config, command):
    """The payload that the walkers must get."""
    layout, shift = command_layout(config), config.bus_bytes.bit_length() - 1
    values = {
        name: getattr(command, name) >> (shift if name in ADDRESSES else 0)
        for name in layout.members
        if name not in ("steps", "is_convert")
    }
    values["is_convert"] = command.opcode == Opcode.CONVERT
    return layout.const(values).as_value().value | command.steps << layout["steps"].offset


class Host:
    """Memory and walkers around a controller."""

    def __init__(self, config, seed=0):
        self.config, self.dut = config, Controller(config)
        self.rng = random.Random(seed)
        self.memory, self.handed_on, self.fetched = {}, [], []

    def put(self, address, raws):
        """Put a list of commands, as integers, at an address."""
        bus = self.config.bus_bytes
        for n, raw in enumerate(raws):
            at = address + n * command_bytes(bus)
            for i in range(-(-4 * COMMAND_WORDS // bus)):
                self.memory[at // bus + i] = raw >> 8 * bus * i & (1 << 8 * bus) - 1

    async def serve(self, ctx):
        """Background: give words for requests, take commands."""
        dut, rng, layout = self.dut, self.rng, request_layout(self.config)
        queue = []
        while True:
            ask, word, taker = (rng.random() < 0.6 for _ in range(3))
            word = word and bool(queue)
            ctx.set(dut.request.ready, ask)
            ctx.set(dut.words.valid, word)
            data = self.memory.get(queue[0], rng.getrandbits(64)) if word else 0
            ctx.set(dut.words.payload.data, data)
            ctx.set(dut.words.payload.last, word and len(queue) == 1)
            ctx.set(dut.commands.ready, taker)
            *_, reset, asks, request, takes, commands, payload = await ctx.tick().sample(
                *(dut.reset, dut.request.valid, dut.request.payload.as_value(), dut.words.ready),
                *(dut.commands.valid, dut.commands.payload.as_value()),
            )
            if reset:
                queue.clear()
            elif word and takes:
                queue.pop(0)
            if asks and ask:
                view = layout.from_bits(request)
                assert not queue
                queue += range(view.address, view.address + view.beats)
                self.fetched.append(view.address)
            if commands and taker:
                self.handed_on.append(payload)

    async def start(self, ctx, address):
        dut = self.dut
        ctx.set(dut.list_address, address)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)

    async def end(self, ctx):
        """Wait for the end; return (done, error, address)."""
        dut = self.dut
        while ctx.get(dut.running):
            await ctx.tick()
        assert ctx.get(dut.done) != ctx.get(dut.failed)
        return ctx.get(dut.done), Error(ctx.get(dut.error)), ctx.get(dut.error_address)


def run_lists(config, lists, seed=0):
    """Run lists one after the other; return how each ended, and what was handed on."""
    host, ends = Host(config, seed), []
    rng = random.Random(seed + 1)

    async def drive(ctx):
        ctx.set(host.dut.quiet, 1)
        ctx.set(host.dut.bus_idle, 1)
        for raws in lists:
            address = rng.getrandbits(config.address_bits - 1) // 4096 * 4096
            host.put(address, raws)
            await host.start(ctx, address)
            done, error, where = await host.end(ctx)
            ends.append((done, error, where - address if error else where))

    simulate(host.dut, drive, background=[host.serve], limit=100_000)
    return ends, host.handed_on


END = words_of(Command(opcode=Opcode.END))


@pytest.mark.parametrize("config", [TINY, four_by_four()], ids=["tiny", "two_ports"])
def test_good_lists(config):
    rng = random.Random(1)
    lists = [[valid_command(config, rng) for _ in range(rng.randint(0, 3))] for _ in range(6)]
    raws = [[*map(words_of, commands), END] for commands in lists]
    ends, handed_on = run_lists(config, raws)
    assert ends == [(1, Error.NONE, 0)] * len(lists)
    assert handed_on == [as_handed_on(config, c) for commands in lists for c in commands]


def broken(config, rng):
    """A right command with a few fields or bits changed."""
    raw = words_of(valid_command(config, rng))
    for _ in range(rng.choice([1, 1, 2])):
        if rng.random() < 0.4:
            raw ^= 1 << rng.randrange(32 * COMMAND_WORDS)
            continue
        field = FIELDS[rng.choice(list(FIELDS))]
        at, most = 32 * field.word + field.bit, (1 << field.width) - 1
        value = rng.choice([0, 1, 2, most, config.words, config.words + 1, rng.randint(0, most)])
        raw = raw & ~(most << at) | (value & most) << at
    return raw


@pytest.mark.parametrize("seed", range(3))
def test_any_command_is_judged(seed):
    """A good command, a changed one, an end: it is refused exactly where the rules say so."""
    config = four_by_four(steps=("row_scale", "residual")) if seed == 2 else TINY
    rng, lists, ends, seen = random.Random(seed), [], [], set()
    for _ in range(60):
        raw = broken(config, rng)
        first = words_of(valid_command(config, rng))
        error = verdict(config, raw)
        lists.append([first, raw, END])
        seen.add(error)
        where = command_bytes(config.bus_bytes) if error else 0
        ends.append((int(not error), error, where))
    assert len(seen) >= 6, seen
    assert run_lists(config, lists, seed)[0] == ends


@pytest.mark.parametrize(
    ("address", "error"),
    [(4, Error.ALIGNMENT), (1 << 40, Error.RANGE), ((1 << 63) + 4, Error.ALIGNMENT)],
)
def test_bad_list_address(address, error):
    host = Host(TINY)

    async def drive(ctx):
        ctx.set(host.dut.bus_idle, 1)
        await host.start(ctx, address)
        done, found, _ = await host.end(ctx)
        assert (done, found, host.fetched) == (0, error, [])

    simulate(host.dut, drive, background=[host.serve])


def test_wait_and_end_need_quiet():
    """A command that waits, and the end, go on only when everything before is in memory."""
    rng, host = random.Random(2), Host(TINY)
    command = words_of(valid_command(TINY, rng))
    waits = command | 1 << FIELDS["wait"].bit
    host.put(0, [command, waits, END])

    async def drive(ctx):
        await host.start(ctx, 0)
        for handed_on in (1, 2):
            await ctx.tick().repeat(200)
            assert len(host.handed_on) == handed_on and ctx.get(host.dut.running)
            ctx.set(host.dut.quiet, 1)
            while len(host.handed_on) == 1:
                await ctx.tick()
            if handed_on == 1:
                ctx.set(host.dut.quiet, 0)
        assert await host.end(ctx) == (1, Error.NONE, 0)
        ctx.set(host.dut.clear, 1)
        await ctx.tick()
        assert not ctx.get(host.dut.done)

    simulate(host.dut, drive, background=[host.serve])


TROUBLE = {
    "read_error": (Error.READ, "read_address"),
    "write_error": (Error.WRITE, "write_address"),
    "format_error": (Error.FORMAT, "load_address"),
    "length_error": (Error.LENGTH, "load_address"),
    "stop": (Error.STOPPED, None),
}


async def strike(ctx, host, signals, cycles, idle_after):
    """Raise signals after some cycles; return the end, and the cycle of the core's reset."""
    dut = host.dut
    for n, name in enumerate(("read_address", "write_address", "load_address")):
        ctx.set(getattr(dut, name), 0x1234_5670 + n)
    await host.start(ctx, 4096)
    for _ in range(cycles):
        await ctx.tick()
    for name in signals:
        ctx.set(getattr(dut, name), 1)
    await ctx.tick()
    for name in signals:
        ctx.set(getattr(dut, name), 0)
    for _ in range(idle_after):
        assert ctx.get(dut.halt) and not ctx.get(dut.reset) and ctx.get(dut.running)
        assert not ctx.get(dut.commands.valid) and not ctx.get(dut.request.valid)
        await ctx.tick()
    ctx.set(dut.bus_idle, 1)
    resets = 0
    while ctx.get(dut.running):
        resets += ctx.get(dut.reset)
        await ctx.tick()
    assert resets == 1 and not ctx.get(dut.halt)
    ctx.set(dut.bus_idle, 0)
    return await host.end(ctx)


@pytest.mark.parametrize("name", TROUBLE)
@pytest.mark.parametrize("cycles", [0, 2, 17, 60, 90])
def test_trouble_ends_the_list(name, cycles):
    """Whenever it comes: the bus is emptied, then everything is reset, once."""
    rng, host = random.Random(cycles), Host(TINY, cycles)
    raws = [words_of(valid_command(TINY, rng)) for _ in range(2)]
    host.put(4096, [*raws, END])
    error, register = TROUBLE[name]

    async def drive(ctx):
        done, found, where = await strike(ctx, host, [name], cycles, 9)
        assert (done, found) == (0, error)
        if register:
            number = ("read_address", "write_address", "load_address").index(register)
            assert where == 8 * (0x1234_5670 + number)
        else:
            assert (where - 4096) % command_bytes(TINY.bus_bytes) == 0

    simulate(host.dut, drive, background=[host.serve])


def test_of_several_troubles_the_bus_counts():
    host = Host(TINY)

    async def drive(ctx):
        signals = list(TROUBLE)
        while signals:
            _, error, _ = await strike(ctx, host, signals, 3, 1)
            assert error == TROUBLE[signals[0]][0]
            signals.pop(0)

    simulate(host.dut, drive, background=[host.serve])


def test_nothing_happens_without_a_list():
    host = Host(TINY)

    async def drive(ctx):
        for name in TROUBLE:
            ctx.set(getattr(host.dut, name), 1)
        await ctx.tick().repeat(20)
        assert not ctx.get(host.dut.running) and not ctx.get(host.dut.failed)
        assert not host.fetched

    simulate(host.dut, drive, background=[partial(host.serve)])


def test_fault_is_seen(monkeypatch):
    """An address that is not looked at."""
    monkeypatch.setattr(controller, "ADDRESSES", ADDRESSES[1:])
    bad = words_of(valid_command(TINY, random.Random(0))) | 1 << 32 * FIELDS["a_address"].word
    assert verdict(TINY, bad) == Error.ALIGNMENT
    assert run_lists(TINY, [[bad, END]])[0] != [(0, Error.ALIGNMENT, 0)]
