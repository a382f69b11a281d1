"""The loader against the codec's packets: every word of every tile, and what is refused."""

import random

import numpy as np
import pytest
from engine_driver import TINY, four_by_four, simulate

from mixdit_hw.engine import loader
from mixdit_hw.engine.buffer import word_layout
from mixdit_hw.engine.loader import Loader, row_order
from mixdit_hw.engine.reader import Destination
from mixdit_hw.engine.reader import word_layout as bus_layout
from mixdit_hw.packet import PACKET
from mixdit_sim.array.beats import packet_bits
from mixdit_sw.engine.layout import pack_operand
from mixdit_sw.engine.shape import digit_words
from mixdit_sw.formats import MX4, MX6, MX9
from mixdit_sw.mixed import quantize_mixed

CONFIGS = {"tiny": TINY, "four": four_by_four()}


def operand(rng, rows, blocks):
    """Numbers of all sizes, a few NaN, in random formats."""
    x = rng.normal(size=(rows, 16 * blocks)) * np.exp2(rng.integers(-40, 40, (rows, 16 * blocks)))
    x[rng.random(x.shape) < 0.004] = np.nan
    formats = tuple((MX9, MX6, MX4)[i] for i in rng.integers(3, size=blocks))
    return quantize_mixed(x.astype(np.float32), [formats]).operands[0]


def golden(config, x, is_b):
    """The buffer words of each tile, and its NaN blocks."""
    height, tiles = config.heights[is_b], -(-x.rows // config.heights[is_b])
    layout = word_layout(height)
    order = list(range(height)) if is_b else row_order(config)
    digits_of, last = layout["digits"].offset, layout["last"].offset
    nan_bit = 1 << PACKET.size - 1
    zero = packets_of_zero(x.formats)
    for tile in range(tiles):
        words, nans = [], 0
        for k, (fmt, bits) in enumerate(zip(x.formats, packet_bits(x), strict=True)):
            for digit in reversed(range(fmt.digits)):
                word = 0
                for place, row in enumerate(order):
                    at = tile * height + row
                    packet = as_int(bits[digit][at]) if at < x.rows else zero[k]
                    word |= packet << PACKET.size * place
                    nans += bool(packet & nan_bit) and not digit
                words.append(word | fmt.digits << digits_of | (k == len(x.formats) - 1) << last)
        yield words, nans


def as_int(bits):
    return int("".join(map(str, bits[::-1])), 2)


def packets_of_zero(formats):
    """What rows past the end are: all bits of the stored block are zero, its exponent too."""
    found = []
    for fmt in formats:
        exponent = -fmt.exponent_offset & (1 << PACKET["exponent"].width) - 1
        found.append(exponent << PACKET["exponent"].offset)
    return found


def bus_words(config, x, is_b, *, spare=0, **changes):
    """The bus words of an operand's tiles, as the reader hands them on."""
    layout, found = bus_layout(config), []
    target = {
        "destination": Destination.B if is_b else Destination.A,
        "k_blocks": len(x.formats),
        "words": digit_words(x.formats),
        **changes,
    }
    for number, tile in enumerate(pack_operand(x, config.shape, is_b=is_b)):
        data = [
            int.from_bytes(row.tobytes(), "little") for row in tile.reshape(-1, config.bus_bytes)
        ]
        data += [random.Random(number).getrandbits(8 * config.bus_bytes) for _ in range(spare)]
        for i, value in enumerate(data):
            word = {"data": value, "address": 1000 * number + i, "target": target}
            found.append(layout.const({**word, "last": i == len(data) - 1}).as_value().value)
    return found


def load(config, words, *, chance=1.0, space=1.0, seed=0, count=None):
    """Return the words written to A and to B, the NaN blocks, and (error, address) at the end."""
    dut, rng = Loader(config), random.Random(seed)
    found, nans, end = {"a": [], "b": []}, [0], []

    async def drive(ctx):
        queue, patience, offers = list(words), 0, False
        while patience < 60:
            offers = bool(queue) and (offers or rng.random() < chance)
            ctx.set(dut.i.valid, offers)
            junk = rng.getrandbits(len(dut.i.payload.as_value()))
            ctx.set(dut.i.payload.as_value(), queue[0] if offers else junk)
            for port in (dut.a, dut.b):
                ctx.set(port.space, rng.random() < space)
            *_, taken, a, a_word, b, b_word, nan = await ctx.tick().sample(
                dut.i.ready,
                *(dut.a.write, dut.a.word.as_value(), dut.b.write, dut.b.word.as_value()),
                dut.nan_blocks,
            )
            assert not a or ctx.get(dut.a.space), "written without space"
            if a:
                found["a"].append(a_word)
            if b:
                found["b"].append(b_word)
            nans[0] += nan
            moves = (offers and taken) or a or b
            if offers and taken:
                queue.pop(0)
                offers = False
            patience = 0 if moves else patience + 1
        end[:] = [ctx.get(dut.bad_format), ctx.get(dut.bad_length), ctx.get(dut.address)]
        assert end[0] or end[1] or not queue, "it hangs"

    simulate(dut, drive)
    return found, nans[0], end


@pytest.mark.parametrize("pace", [(1.0, 1.0), (0.4, 1.0), (1.0, 0.4), (0.6, 0.6)])
@pytest.mark.parametrize("name", CONFIGS)
def test_words(name, pace):
    """Tiles of A and of B in turn, with spare words behind some."""
    config, rng = CONFIGS[name], np.random.default_rng(len(name))
    words, expected, nans = [], {"a": [], "b": []}, 0
    for n in range(6):
        is_b = bool(n % 2)
        x = operand(rng, int(rng.integers(1, 7)), int(rng.integers(1, 9)))
        words += bus_words(config, x, is_b, spare=n // 2)
        for tile, found in golden(config, x, is_b):
            expected["b" if is_b else "a"] += tile
            nans += found
    found, counted, end = load(config, words, chance=pace[0], space=pace[1])
    assert found == expected
    assert counted == nans > 0
    assert end[:2] == [0, 0]


def test_more_k_blocks_than_a_header_has_tags():
    config = TINY
    x = operand(np.random.default_rng(2), 2, 2 * config.shape.section + 3)
    found, _, _ = load(config, bus_words(config, x, False))
    ((expected, _),) = golden(config, x, False)
    assert found == {"a": expected, "b": []}


def test_a_bus_word_a_cycle():
    """Blocks of one digit never keep a narrow bus waiting."""
    config = TINY
    x = quantize_mixed(np.ones((2, 16 * 12), np.float32), [(MX6,) * 12]).operands[0]
    words = bus_words(config, x, False)
    dut = Loader(config)

    async def drive(ctx):
        ctx.set(dut.a.space, 1)
        ctx.set(dut.i.valid, 1)
        for word in words:
            ctx.set(dut.i.payload.as_value(), word)
            *_, taken = await ctx.tick().sample(dut.i.ready)
            assert taken

    simulate(dut, drive)


def refused(changes, cut=None, tag=None):
    """Return how a tile with something wrong ends: [bad_format, bad_length, address]."""
    config = TINY
    x = operand(np.random.default_rng(3), 2, 5)
    words = bus_words(config, x, True, **changes)
    layout = bus_layout(config)
    if cut is not None:
        words = words[:cut]
        words[-1] |= 1 << layout["last"].offset
    if tag is not None:
        words[0] |= 3 << 2 * tag
    (tile, _), *_ = golden(config, x, True)
    found, _, end = load(config, words)
    # With another number of K-blocks than the tile's, another one is the last.
    mask = (1 << word_layout(config.heights[1])["last"].offset) - 1
    assert not found["a"] and len(found["b"]) <= len(tile)
    assert all((a ^ b) & mask == 0 for a, b in zip(found["b"], tile, strict=False))
    return end, len(words)


def test_a_tag_of_no_format():
    for tag in range(5):
        end, _ = refused({}, tag=tag)
        assert end[:2] == [1, 0]


@pytest.mark.parametrize("cut", [1, 2, 3, 5])
def test_a_tile_that_ends_too_early(cut):
    end, _ = refused({}, cut=cut)
    assert end == [0, 1, cut - 1]


def test_more_k_blocks_than_there_are():
    end, words = refused({"k_blocks": 6})
    # The tag behind the last one is 0, MX9: its bytes are missing.
    assert end == [0, 1, words - 1]


def test_a_section_that_is_missing():
    config = TINY
    x = operand(np.random.default_rng(4), 2, config.shape.section)
    words = bus_words(config, x, False, k_blocks=config.shape.section + 1)
    assert load(config, words)[2] == [0, 1, len(words) - 1]


def test_more_buffer_words_than_its_command_says():
    x = operand(np.random.default_rng(3), 2, 5)
    for words in range(1, digit_words(x.formats)):
        config = TINY
        found, _, end = load(config, bus_words(config, x, True, words=words))
        assert len(found["b"]) == words and end[:2] == [0, 1]


def test_fault_is_seen(monkeypatch):
    """Rows of PEs in C's order, although clusters drain in turn."""
    config, rng = CONFIGS["four"], np.random.default_rng(1)
    x = operand(rng, 4, 3)
    expected = [word for tile, _ in golden(config, x, False) for word in tile]
    words = bus_words(config, x, False)
    assert load(config, words)[0]["a"] == expected
    monkeypatch.setattr(loader, "row_order", lambda config: list(range(config.array.rows)))
    assert load(config, words)[0]["a"] != expected
