"""The dot unit against integer arithmetic."""

import random

from hw_driver import comb

from mixdit_hw.packet import LANES_LAYOUT, PAIRS
from mixdit_hw.pe.dot import Dot
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


def test_exact():
    rng = random.Random(0)
    pairs = [(lanes(rng), lanes(rng)) for _ in range(1500)]
    inputs = [{"a": word(a), "b": word(b)} for a, b in pairs]
    found = comb(Dot(), inputs, ["sum", "carry"])
    assert [total + carry for total, carry in found] == [dot(a, b) for a, b in pairs]
