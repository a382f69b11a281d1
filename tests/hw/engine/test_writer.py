"""The write master against memories with pauses: what is written, bursts, errors, and the stop."""

import random
from functools import partial

import pytest
from axi_memory import Port
from engine_driver import TINY, four_by_four, send, simulate

from mixdit_hw.engine import writer
from mixdit_hw.engine.writer import Writer, write_layout

CONFIGS = {"tiny": TINY, "two_ports": four_by_four()}


def requests(config, count, seed=0):
    """Random requests as (address, beats), many across the ends of bursts."""
    rng, burst, found = random.Random(seed), config.burst, []
    for _ in range(count):
        address = rng.getrandbits(config.beat_bits - 1)
        if rng.random() < 0.6:
            address = address // burst * burst - rng.randint(0, 3)
        found.append((address, rng.randint(1, config.shape.tile_beats)))
    return found


def memories(config, dut, chance, seed=0, faults=()):
    ports = [
        Port(n, config.port_bytes, config.burst, chance=chance, seed=seed, faults=faults)
        for n in range(config.ports)
    ]
    return ports, [partial(p.serve_writes, axi=getattr(dut, f"axi_{p.number}")) for p in ports]


def traffic(config, wanted, seed=0):
    """Requests and words as streams carry them, and what each port must get."""
    rng, layout = random.Random(seed), write_layout(config)
    places = [address + i for address, beats in wanted for i in range(beats)]
    words = [rng.getrandbits(8 * config.bus_bytes) for _ in places]
    full, mask = (1 << config.port_bytes) - 1, (1 << 8 * config.port_bytes) - 1
    written = [
        [
            (place, value >> 8 * config.port_bytes * n & mask, full)
            for place, value in zip(places, words, strict=True)
        ]
        for n in range(config.ports)
    ]
    requested = [address | beats << layout["beats"].offset for address, beats in wanted]
    return requested, words, written


@pytest.mark.parametrize("pace", [(1.0, 1.0), (0.4, 1.0), (1.0, 0.4), (0.6, 0.6)])
@pytest.mark.parametrize("name", CONFIGS)
def test_words(name, pace):
    config = CONFIGS[name]
    requested, words, golden = traffic(config, requests(config, 60, seed=1))
    dut = Writer(config)
    ports, benches = memories(config, dut, pace[0])
    first = []

    async def ends_idle(ctx):
        while any(len(p.written) < len(words) for p in ports) or not ctx.get(dut.idle):
            assert not ctx.get(dut.error)
            await ctx.tick()

    async def watch_first(ctx):
        """The first word is offered two cycles after its address, or later."""
        now = 0
        while True:
            *_, address, word = await ctx.tick().sample(dut.axi_0.awvalid, dut.axi_0.wvalid)
            now += 1
            if address and not first:
                first.append(now)
            if word and len(first) == 1:
                first.append(now)

    simulate(
        dut,
        partial(send, stream=dut.request, items=requested, chance=pace[1], seed=1),
        partial(send, stream=dut.i, items=words, chance=pace[1], seed=2),
        ends_idle,
        background=[*benches, watch_first],
    )
    assert [port.written for port in ports] == golden
    assert first[1] >= first[0] + 1
    bursts = sum(1 + (a % config.burst + n > config.burst) for a, n in requests(config, 60, seed=1))
    assert all(len(port.begun) == bursts for port in ports)


def test_error_names_its_burst():
    config = CONFIGS["two_ports"]
    wanted = [(16 * i, 4) for i in range(12)]
    requested, words, _ = traffic(config, wanted)
    dut, errors = Writer(config), []
    ports, benches = memories(config, dut, 0.5, faults=[5 * 16 + 2])
    ports[0].faults = set()

    async def watch(ctx):
        while any(len(p.written) < len(words) for p in ports) or not ctx.get(dut.idle):
            *_, error, address = await ctx.tick().sample(dut.error, dut.error_address)
            if error:
                errors.append(address)

    simulate(
        dut,
        partial(send, stream=dut.request, items=requested),
        partial(send, stream=dut.i, items=words),
        watch,
        background=benches,
    )
    assert errors == [5 * 16]


@pytest.mark.parametrize("cycles", [1, 4, 9, 15, 22, 40, 90])
@pytest.mark.parametrize("starved", [False, True])
def test_stop_completes_bursts(cycles, starved):
    """After `stop` what has begun is completed, with words that write nothing."""
    config = CONFIGS["two_ports"]
    requested, words, golden = traffic(config, requests(config, 60, seed=cycles), cycles)
    dut = Writer(config)
    ports, benches = memories(config, dut, 0.4, seed=cycles)
    source = partial(send, stream=dut.i, items=words[:9] if starved else words)

    async def stop(ctx):
        await ctx.tick().repeat(cycles)
        ctx.set(dut.stop, 1)
        await ctx.tick()
        begun = [len(port.begun) for port in ports]
        while not ctx.get(dut.idle):
            await ctx.tick()
        assert all(len(p.begun) <= n + 1 for p, n in zip(ports, begun, strict=True))
        await ctx.tick().repeat(30)
        assert ctx.get(dut.idle)

    requests_in = partial(send, stream=dut.request, items=requested)
    simulate(dut, stop, background=[*benches, source, requests_in], limit=4000)
    assert ports[0].begun == ports[1].begun
    for port, right in zip(ports, golden, strict=True):
        assert not port.bursts and not port.responses
        assert len(port.written) == sum(beats for _, beats in port.begun)
        real = [entry for entry in port.written if entry[2]]
        assert real == right[: len(real)]
        assert all(entry[1:] == (0, 0) for entry in port.written[len(real) :])


def test_fault_is_seen(monkeypatch):
    """Bursts that do not end at boundaries."""
    exact = writer.Mux
    monkeypatch.setattr(writer, "Mux", lambda test, yes, no: exact(test, yes, yes))
    with pytest.raises(AssertionError, match="crosses a boundary|hangs"):
        test_words("two_ports", (1.0, 1.0))
