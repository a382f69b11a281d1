"""The dot unit against integer arithmetic."""

import random

from amaranth.hdl import Const
from amaranth.sim import Simulator
from hw_driver import comb

from mixdit_hw.packet import LANES_LAYOUT, PAIRS
from mixdit_hw.pe.dot import Dot, dot_latency
from mixdit_sw.formats import LANES


def lanes(rng):
    """Random lanes, or lanes all at an end of their range."""
    flat = rng.random() < 0.2
    end = rng.choice([0, 15])
    return {
        "mag": [end if flat else rng.choice([0, 15, rng.randrange(16)]) for _ in range(LANES)],
        "sign": [rng.getrandbits(1) if not flat else end & 1 for _ in range(LANES)],
        "tau": [rng.getrandbits(1) if not flat else 0 for _ in range(PAIRS)],
    }


def word(x):
    return LANES_LAYOUT.const(x).as_value().value


def dot(a, b):
    total = 0
    for i in range(LANES):
        product = a["mag"][i] * b["mag"][i] * (-1) ** (a["sign"][i] + b["sign"][i])
        total += product << (2 - a["tau"][i // 2] - b["tau"][i // 2])
    return total


def random_pairs(count):
    rng = random.Random(0)
    return [(lanes(rng), lanes(rng)) for _ in range(count)]


def test_exact():
    pairs = random_pairs(1500)
    inputs = [{"a": word(a), "b": word(b)} for a, b in pairs]
    found = comb(Dot(), inputs, ["sum", "carry"])
    assert [total + carry for total, carry in found] == [dot(a, b) for a, b in pairs]


def registered(dut, inputs):
    """A pair in each cycle; what comes `dot_latency` cycles later."""
    found = []

    async def drive(ctx):
        for a, b in inputs:
            ctx.set(dut.a.as_value(), a)
            ctx.set(dut.b.as_value(), b)
            await ctx.tick()
            found.append(ctx.get(dut.sum) + ctx.get(dut.carry))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()
    return found


def test_exact_from_multiplier_blocks():
    pairs = random_pairs(1500)
    assert dot_latency("fpga") == 1
    inputs = [(word(a), word(b)) for a, b in pairs]
    assert registered(Dot("fpga"), inputs) == [dot(a, b) for a, b in pairs]


def test_a_lost_borrow_of_a_block_is_seen(monkeypatch):
    block = Dot._block
    monkeypatch.setattr(Dot, "_block", lambda self, m, pair: (block(self, m, pair)[0], Const(0, 1)))
    pairs = random_pairs(50)
    inputs = [(word(a), word(b)) for a, b in pairs]
    assert registered(Dot("fpga"), inputs) != [dot(a, b) for a, b in pairs]
