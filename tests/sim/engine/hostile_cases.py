"""Lists and memories that are wrong in one way, and how they must end."""

import numpy as np
from command_rules import ADDRESSES
from engine_cases import Case, quantize_mapped, random_formats, random_timing
from hostile_list import Spoilt, outside, storing_case
from hostile_stops import reset_in_transfer, started_twice, stopped, stopped_storing
from malformed_lists import bad_list_address, malformed_command, missing_end

from mixdit_sim.engine.rtl import Fault
from mixdit_sw.engine.commands import Error
from mixdit_sw.engine.compiler import compile_gemms
from mixdit_sw.engine.gemm import LayerGemm
from mixdit_sw.engine.schedule import result_bytes
from mixdit_sw.engine.shape import digit_words
from mixdit_sw.formats import MX4, MX6, MX9


def sides(command, gemm):
    """Both operands: is_b, its formats, its tiles, its command's name, the one loaded first."""
    found = [
        ("a", False, gemm.a_formats, command.row_tiles),
        ("b", True, gemm.b_formats, command.col_tiles),
    ]
    return found[::-1] if command.stationary_b else found


def words_until(config, formats, is_b, block):
    """Bus words of a tile from its start to the end of a K-block."""
    shape = config.shape
    section = block // shape.section * shape.section
    group = block // shape.group * shape.group
    before = shape.operand_beats(formats[:section], is_b)
    whole = [formats[i : i + shape.group] for i in range(section, group, shape.group)]
    before += sum(shape.group_beats(part, is_b) for part in whole)
    return before + 1 + shape.group_beats(formats[group : block + 1], is_b)


def bad_tag(rng, config):
    """A K-block whose tag is no format's; noticed when the one before is through."""
    spoilt = Spoilt(rng, config)
    _, command, gemm = spoilt.any_gemm()
    name, is_b, formats, tiles = sides(command, gemm)[rng.integers(2)]
    block, tile = int(rng.integers(len(formats))), int(rng.integers(tiles))
    if gemm.a_source is not None and not is_b and tile == 0:
        # These are tags of results, too: the GEMM that stores them sees them first.
        return spoil_result_tag(spoilt, gemm.a_source, block)
    shape = config.shape
    start = getattr(command, f"{name}_address") + tile * gemm.beats(shape, is_b) * spoilt.bus
    section, place = divmod(block, shape.section)
    header = start + shape.operand_beats(formats[: section * shape.section], is_b) * spoilt.bus
    spoilt.spoil_tag(header, place)
    last = header
    if place:
        last = start + (words_until(config, formats, is_b, block - 1) - 1) * spoilt.bus
    return spoilt.fails("bad tag", Error.FORMAT, last)


def bad_result_tag(rng, config):
    """A tag of results that is no format's, or is none of theirs."""
    spoilt = Spoilt(rng, config, storing_case(rng, config))
    stores = [i for i, gemm in enumerate(spoilt.program.gemms) if gemm.as_operand]
    index = stores[rng.integers(len(stores))]
    blocks = len(spoilt.program.gemms[index].stored_formats(config.shape))
    if rng.random() < 0.8 or blocks == config.shape.section:
        return spoil_result_tag(spoilt, index, int(rng.integers(blocks)))
    spoilt.spoil_tag(spoilt.program.commands[index].tags_address, blocks)
    return spoilt.runs("tag of no K-block")


def spoil_result_tag(spoilt, index, block):
    """Make a tag of results no format's."""
    address = spoilt.program.commands[index].tags_address
    spoilt.spoil_tag(address, block)
    return spoilt.fails("bad tag of results", Error.FORMAT, address)


def short_tiles(rng, config):
    """A command with too few bus words or buffer words for its tiles, or too many K-blocks."""
    spoilt = Spoilt(rng, config)
    index, command, gemm = spoilt.any_gemm()
    first, second = sides(command, gemm)
    kind = rng.integers(3)
    name, is_b, formats, _ = first if kind == 2 or rng.random() < 0.5 else second
    beats = gemm.beats(config.shape, is_b)
    if kind == 0:
        last = int(rng.integers(1, beats))
        spoilt.change(index, **{f"{name}_beats": last})
    elif kind == 1 and gemm.words(is_b) > 1:
        words = int(rng.integers(1, gemm.words(is_b)))
        spoilt.change(index, **{f"{name}_words": words})
        ends = np.cumsum([fmt.digits for fmt in formats])
        last = words_until(config, formats, is_b, int(np.argmax(ends > words)))
    else:
        name, is_b, formats, _ = first
        last = gemm.beats(config.shape, is_b)
        spoilt.change(index, k_blocks=len(formats) + int(rng.integers(1, 1000)))
    address = getattr(command, f"{name}_address") + (last - 1) * spoilt.bus
    return spoilt.fails("short tile", Error.LENGTH, address)


def generous(rng, config):
    """A command with more buffer words than it needs, and tags of K-blocks that are not there."""
    spoilt = Spoilt(rng, config)
    index, command, gemm = spoilt.any_gemm()
    for name, is_b, formats, tiles in sides(command, gemm):
        held = command.panel if is_b == command.stationary_b else 1
        most = config.words // held
        words = int(rng.integers(gemm.words(is_b), most + 1))
        spoilt.change(index, **{f"{name}_words": words})
        unused = len(formats) % config.shape.section
        if unused:
            tile = int(rng.integers(tiles)) + 1
            start = getattr(command, f"{name}_address")
            start += tile * gemm.beats(config.shape, is_b) * spoilt.bus
            section = formats[len(formats) - unused :]
            spoilt.spoil_tag(start - config.shape.operand_beats(section, is_b) * spoilt.bus, unused)
    return spoilt.runs("generous command")


def faulty_word(rng, config):
    """A memory with an error response at any word that is read or written."""
    spoilt = Spoilt(rng, config)
    first, count = 0, spoilt.program.image.size
    if rng.random() < 0.4:
        index, command, gemm = spoilt.any_gemm()
        first, count = command.c_address, result_bytes(gemm, config.shape)
        count -= spoilt.bus * (gemm.as_operand is not None)
    word = int(rng.integers(first, first + count)) // spoilt.bus
    fault = Fault(word, int(rng.integers(1, 4)), int(rng.integers(config.ports)))
    if fault.response == 1:
        return spoilt.runs("no error", fault=fault)
    for index, (gemm, command) in enumerate(
        zip(spoilt.program.gemms, spoilt.program.commands, strict=False)
    ):
        if gemm.as_operand is not None:
            pitch = command.c_row_beats
            row, place = divmod(word - command.tags_address // spoilt.bus, pitch)
            in_header = 0 <= row < command.row_tiles and place == 0
            read = row == 0 or any(other.a_source == index for other in spoilt.program.gemms)
            if in_header and not read:
                return spoilt.runs("header that nobody reads", fault=fault)
    for first, beats in spoilt.stores():
        if first <= word < first + beats:
            burst = max(first, word // config.burst * config.burst)
            return spoilt.fails("faulty write", Error.WRITE, burst * spoilt.bus, fault=fault)
    return spoilt.fails("faulty read", Error.READ, word * spoilt.bus, fault=fault)


def outside_memory(rng, config):
    """A command that reads or writes outside memory, unless its epilogue does without it."""
    spoilt = Spoilt(rng, config)
    index, _, gemm = spoilt.any_gemm()
    name, address = ADDRESSES[rng.integers(len(ADDRESSES))], outside(rng, config)
    spoilt.change(index, **{f"{name}_address": address})
    needs = {
        "residual": {"residual"},
        "row_vector": {"row_scale"},
        "col_vector": {"col_scale", "bias"},
    }
    unused = gemm.as_operand is None if name == "tags" else False
    if unused or (name in needs and not needs[name] & set(gemm.steps)):
        return spoilt.runs("address that is not used")
    error = Error.WRITE if name == "c" else Error.READ
    return spoilt.fails("outside memory", error, address)


def nan_operands(rng, config):
    """NaN and Inf in most blocks of an operand, or all: data, not an error."""
    m, n, k = (int(v) for v in rng.integers(1, (6, 6, 60)))
    operands = []
    for rows in (m, n):
        x = rng.normal(size=(rows, k)).astype(np.float32)
        x[rng.random((rows, k)) < rng.choice([0, 0.1, 1])] = rng.choice([np.nan, np.inf, -np.inf])
        formats = tuple((MX4, MX6, MX9)[i] for i in rng.integers(3, size=-(-k // 16)))
        operands.append(quantize_mapped(x, formats))
    held = config.shape.group_tiles * digit_words(operands[1].formats)
    stored = None
    if held <= config.words and rng.random() < 0.5:
        stored = random_formats(rng, -(-n // 16))
    bf16 = bool(stored is None and rng.random() < 0.5)
    gemms = [LayerGemm(a=operands[0], b=operands[1], bf16=bf16, as_operand=stored)]
    case = Case(gemms, compile_gemms(gemms, config.shape), random_timing(rng))
    return Spoilt(rng, config, case).runs("NaN operands")


KINDS = (
    malformed_command,
    malformed_command,
    malformed_command,
    bad_list_address,
    missing_end,
    bad_tag,
    bad_result_tag,
    short_tiles,
    generous,
    faulty_word,
    faulty_word,
    outside_memory,
    stopped,
    stopped_storing,
    started_twice,
    reset_in_transfer,
    nan_operands,
)
"""The more there is to go wrong, the more often."""
