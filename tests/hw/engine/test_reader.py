"""The read master against memories with pauses: words, bursts, errors, and the stop."""

import random
from functools import partial

import pytest
from axi_memory import Port, pattern
from engine_driver import LIMIT, TINY, four_by_four, send, simulate, take

from mixdit_hw.engine import reader
from mixdit_hw.engine.reader import Reader, request_layout, word_layout

CONFIGS = {"tiny": TINY, "two_ports": four_by_four(outstanding=512)}


def requests(config, count, seed=0):
    """Random requests as (address, beats, target), some across the ends of bursts."""
    rng, burst, found = random.Random(seed), config.burst, []
    for _ in range(count):
        address = rng.getrandbits(config.beat_bits - 1)
        if rng.random() < 0.5:
            address = address // burst * burst - rng.randint(0, 5)
        beats = rng.choice([1, 2, rng.randint(3, 30), rng.randint(3, 30), burst + 9])
        found.append((address, beats, rng.getrandbits(34)))
    return found


def packed(config, wanted):
    layout = request_layout(config)
    address, beats = layout["address"].offset, layout["beats"].offset
    return [a << address | b << beats | t << layout["target"].offset for a, b, t in wanted]


def golden(config, wanted):
    """The words of requests."""
    layout, found = word_layout(config), []
    for address, beats, target in wanted:
        for i in range(beats):
            data = sum(pattern(n, address + i) << 64 * n for n in range(config.ports))
            found.append(
                data
                | address + i << layout["address"].offset
                | (i == beats - 1) << layout["last"].offset
                | target << layout["target"].offset
            )
    return found


def memories(config, dut, chance, seed=0, faults=()):
    ports = [
        Port(n, config.port_bytes, config.burst, chance=chance, seed=seed, faults=faults)
        for n in range(config.ports)
    ]
    benches = [partial(p.serve_reads, axi=getattr(dut, f"axi_{p.number}")) for p in ports]
    return ports, benches


def run(config, wanted, *, chance=1.0, ready=1.0, seed=0, limit=LIMIT):
    """Return the words that come, and the ports."""
    dut, found = Reader(config), []
    ports, benches = memories(config, dut, chance, seed)

    async def ends_idle(ctx):
        await ctx.tick().until(dut.idle)

    count = sum(beats for _, beats, _ in wanted)
    sink = partial(take, stream=dut.o, count=count, found=found, chance=ready, seed=seed + 1)
    source = partial(send, stream=dut.request, items=packed(config, wanted), chance=ready)

    async def all_of_it(ctx):
        await sink(ctx)
        await ends_idle(ctx)

    simulate(dut, source, all_of_it, background=benches, limit=limit)
    return found, ports


@pytest.mark.parametrize("pace", [(1.0, 1.0), (0.4, 1.0), (1.0, 0.4), (0.6, 0.6)])
@pytest.mark.parametrize("name", CONFIGS)
def test_words(name, pace):
    config = CONFIGS[name]
    wanted = requests(config, 12, seed=len(name))
    found, ports = run(config, wanted, chance=pace[0], ready=pace[1])
    assert found == golden(config, wanted)
    for port in ports:
        assert sum(beats for _, beats in port.asked) == len(found)
        assert port.most_on_way <= config.outstanding


def test_a_word_a_cycle_and_few_bursts():
    """A long request is cut at multiples of the longest burst only, and flows without gaps."""
    config = four_by_four(outstanding=512)
    start = 7 * config.burst - 3
    wanted = [(start, 2 * config.burst, 5)]
    found, ports = run(config, wanted)
    assert found == golden(config, wanted)
    cuts = [(start, 3), (start + 3, config.burst), (start + 3 + config.burst, config.burst - 3)]
    assert all(port.asked == cuts for port in ports)
    assert ports[0].now < len(found) + 12


def test_error_names_its_word():
    config = CONFIGS["two_ports"]
    wanted = [(100, 9, 1), (300, 9, 2)]
    dut, found, errors = Reader(config), [], []
    ports, benches = memories(config, dut, 0.5, faults=[305])
    ports[0].faults = set()

    async def watch(ctx):
        while True:
            *_, error, address = await ctx.tick().sample(dut.error, dut.o.payload.address)
            if error:
                errors.append(address)

    simulate(
        dut,
        partial(send, stream=dut.request, items=packed(config, wanted)),
        partial(take, stream=dut.o, count=18, found=found, chance=0.5),
        background=[*benches, watch],
    )
    assert errors == [305]


@pytest.mark.parametrize("cycles", [1, 5, 20, 33, 60, 200])
@pytest.mark.parametrize("ready", [0.0, 1.0])
def test_stop_empties_the_bus(cycles, ready):
    """After `stop` nothing is handed on, and the reader becomes idle with nothing on its way."""
    config = CONFIGS["two_ports"]
    dut, rng = Reader(config), random.Random(cycles)
    ports, benches = memories(config, dut, 0.4, seed=cycles)
    items = packed(config, requests(config, 20, seed=cycles))

    async def stop(ctx):
        for _ in range(cycles):
            ctx.set(dut.o.ready, rng.random() < ready)
            await ctx.tick()
        ctx.set(dut.stop, 1)
        await ctx.tick()
        asked = [len(port.asked) for port in ports]
        while not ctx.get(dut.idle):
            assert not ctx.get(dut.o.valid) and not ctx.get(dut.error)
            await ctx.tick()
        # One address may have been on the bus when `stop` came.
        assert all(len(p.asked) <= n + 1 for p, n in zip(ports, asked, strict=True))
        assert ports[0].asked == ports[1].asked
        await ctx.tick().repeat(30)
        assert ctx.get(dut.idle) and not any(port.reads for port in ports)

    source = partial(send, stream=dut.request, items=items)
    simulate(dut, stop, background=[*benches, source], limit=4000)


def test_fault_is_seen(monkeypatch):
    """Bursts that always go on to the boundary."""
    config = CONFIGS["tiny"]
    exact = reader.Mux
    monkeypatch.setattr(reader, "Mux", lambda condition, yes, no: exact(condition, no, no))
    wanted = requests(config, 12)
    with pytest.raises(AssertionError):
        found, _ = run(config, wanted, limit=1500)
        assert found == golden(config, wanted)
