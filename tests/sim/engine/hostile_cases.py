"""Lists and memories that are wrong in one way, and how they must end."""

import numpy as np
from command_rules import ADDRESSES
from engine_cases import Case, quantize_mapped, random_case, random_timing
from hostile_list import Hostile, Spoilt, outside
from malformed_lists import bad_list_address, malformed_command, missing_end

from mixdit_sim.engine.model.engine import EngineModel
from mixdit_sim.engine.model.parts import MemoryTiming
from mixdit_sim.engine.rtl import Disturbance, Fault
from mixdit_sw.engine.commands import Error
from mixdit_sw.engine.compiler import LayerGemm, compile_gemms
from mixdit_sw.engine.registers import COUNTERS, Status
from mixdit_sw.engine.schedule import result_bytes
from mixdit_sw.engine.shape import TAG_BITS
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
    shape = config.shape
    start = getattr(command, f"{name}_address") + tile * gemm.beats(shape, is_b) * spoilt.bus
    section, place = divmod(block, shape.section)
    header = start + shape.operand_beats(formats[: section * shape.section], is_b) * spoilt.bus
    at = TAG_BITS * place
    spoilt.memory[header + at // 8] |= 3 << at % 8
    last = header
    if place:
        last = start + (words_until(config, formats, is_b, block - 1) - 1) * spoilt.bus
    return spoilt.fails("bad tag", Error.FORMAT, last)


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
            header = start - config.shape.operand_beats(section, is_b) * spoilt.bus
            at = TAG_BITS * unused
            spoilt.memory[header + at // 8] |= 3 << at % 8
    return spoilt.runs("generous command")


def faulty_word(rng, config):
    """A memory with an error response at any word that is read or written."""
    spoilt = Spoilt(rng, config)
    first, count = 0, spoilt.program.image.size
    if rng.random() < 0.4:
        index, command, gemm = spoilt.any_gemm()
        first, count = command.c_address, result_bytes(gemm, config.shape)
    word = int(rng.integers(first, first + count)) // spoilt.bus
    fault = Fault(word, int(rng.integers(1, 4)), int(rng.integers(config.ports)))
    if fault.response == 1:
        return spoilt.runs("no error", fault=fault)
    address = word * spoilt.bus
    for gemm, command in zip(spoilt.program.gemms, spoilt.program.commands, strict=False):
        place = address - command.c_address
        if 0 <= place < result_bytes(gemm, config.shape):
            beats = config.shape.tile_beats // (2 if gemm.bf16 else 1)
            tile = word - place // spoilt.bus % beats
            burst = max(tile, word // config.burst * config.burst)
            return spoilt.fails("faulty write", Error.WRITE, burst * spoilt.bus, fault=fault)
    return spoilt.fails("faulty read", Error.READ, address, fault=fault)


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
        "tags": {"results as an operand, which these programs have not"},
    }
    if name in needs and not needs[name] & set(gemm.steps):
        return spoilt.runs("address that is not used")
    error = Error.WRITE if name == "c" else Error.READ
    return spoilt.fails("outside memory", error, address)


def busy_bus(rng, config):
    """A program with many results for its operands, on a memory at which words mostly wait."""
    case = random_case(rng, config, largest=(8, 16), gemms=1, operands=False)
    case.timing = MemoryTiming(int(rng.integers(0, 20)), 1, int(rng.integers(2, 8)))
    return Spoilt(rng, config, case)


def writing_cycles(spoilt):
    """How many cycles a program takes, and those in which memory takes no word of results."""
    model = EngineModel(spoilt.config, spoilt.program, spoilt.case.timing)
    cycles, writing = 0, []
    while model.state != "IDLE":
        model.step()
        cycles += 1
        if model.memory.bursts and model.memory.funds < model.memory.price:
            writing.append(cycles)
    return cycles, writing or [cycles]


def stopped(rng, config):
    """STOP in any cycle, often while results wait on the bus."""
    spoilt = busy_bus(rng, config) if rng.random() < 0.7 else Spoilt(rng, config)
    cycles, writing = writing_cycles(spoilt)
    cycle = int(rng.integers(0, cycles + 8))
    if rng.random() < 0.6:
        cycle = max(int(rng.choice(writing)) - 2, 0)
    stop = Disturbance("stop", cycle)
    # The write takes effect two cycles after it is begun.
    if cycle + 2 > cycles:
        return spoilt.runs("STOP after the end", disturbance=stop)
    model = EngineModel(config, spoilt.program, spoilt.case.timing)
    model.run(cycle + 1)
    fetched = (model.pointer * spoilt.bus - spoilt.list_address) // spoilt.step
    present = spoilt.address(max(fetched - 1, 0))
    return spoilt.fails("STOP", Error.STOPPED, present, disturbance=stop)


def started_twice(rng, config):
    """START of another list while one runs: nothing happens."""
    spoilt = Spoilt(rng, config)
    cycles = max(EngineModel(config, spoilt.program, spoilt.case.timing).run().values())
    # LIST_ADDRESS is written before CONTROL, and takes two cycles.
    cycle, address = int(rng.integers(cycles - 4)), int(rng.integers(1 << 32))
    return spoilt.runs("START while busy", disturbance=Disturbance("start", cycle, address))


def reset_in_transfer(rng, config):
    """Reset of engine and memory in any cycle: as after power-up."""
    spoilt = Spoilt(rng, config)
    cycles = max(EngineModel(config, spoilt.program, spoilt.case.timing).run().values())
    job = spoilt.job(disturbance=Disturbance("reset", int(rng.integers(cycles))))

    def judge(result):
        assert result.status == Status(0), result.status
        assert result.outcome.error == Error.NONE, result.outcome
        assert result.outcome.error_address == 0, result.outcome
        assert result.outcome.counters == dict.fromkeys(COUNTERS, 0), result.outcome

    return Hostile("reset", job, judge)


def nan_operands(rng, config):
    """NaN and Inf in most blocks of an operand, or all: data, not an error."""
    m, n, k = (int(v) for v in rng.integers(1, (6, 6, 60)))
    operands = []
    for rows in (m, n):
        x = rng.normal(size=(rows, k)).astype(np.float32)
        x[rng.random((rows, k)) < rng.choice([0, 0.1, 1])] = rng.choice([np.nan, np.inf, -np.inf])
        formats = tuple((MX4, MX6, MX9)[i] for i in rng.integers(3, size=-(-k // 16)))
        operands.append(quantize_mapped(x, formats))
    gemms = [LayerGemm(a=operands[0], b=operands[1], bf16=bool(rng.random() < 0.5))]
    case = Case(gemms, compile_gemms(gemms, config.shape), random_timing(rng))
    return Spoilt(rng, config, case).runs("NaN operands")


KINDS = (
    malformed_command,
    malformed_command,
    malformed_command,
    bad_list_address,
    missing_end,
    bad_tag,
    short_tiles,
    generous,
    faulty_word,
    faulty_word,
    outside_memory,
    stopped,
    stopped,
    started_twice,
    reset_in_transfer,
    nan_operands,
)
"""The more there is to go wrong, the more often."""
