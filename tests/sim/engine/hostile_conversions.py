"""Conversions that are stopped, reset, or meet bad tags and bus errors."""

import numpy as np
from conversion_cases import check_conversion, golden_blocks, random_conversion_case
from engine_cases import expected, real_rows
from hostile_list import UNWRITTEN, Spoilt
from hostile_stops import reset_of, stop

from mixdit_sim.engine.model.engine import EngineModel
from mixdit_sim.engine.rtl import Fault
from mixdit_sw.engine.commands import Error, Output
from mixdit_sw.engine.convert import LayerConvert
from mixdit_sw.gemm.kinds import parse_kind


class SpoiltConversions(Spoilt):
    """A correct program with conversions, whose memory can be spoilt."""

    def __init__(self, rng, config):
        case, self.operands = random_conversion_case(rng, config, largest=(6, 40))
        super().__init__(rng, config, case)

    def results(self):
        """Stretches of memory, first byte and bytes, that the program writes."""
        return [(first * self.bus, beats * self.bus) for first, beats in self.stores()]

    def stores(self):
        """Stretches that are stored at a time: first bus word, bus words."""
        shape = self.config.shape
        for size, command in zip(self.program.gemms, self.program.commands, strict=False):
            for r in range(command.row_tiles):
                at = command.c_address // self.bus + r * command.c_row_beats
                if size.as_operand is None:
                    beats = shape.tile_beats // (2 if command.output == Output.BF16 else 1)
                    for c in range(command.col_tiles):
                        yield at + c * command.c_col_beats, beats
                    continue
                formats = size.stored_formats(shape)
                for start in range(0, len(formats), shape.group):
                    beats = shape.group_beats(formats[start : start + shape.group], False)
                    yield at, beats
                    at += beats

    def reads(self):
        """Bus words that the program reads, as a set."""
        model = EngineModel(self.config, self.program, self.case.timing)
        step, found = model.reader.step, set()

        def record(request, came):
            if request is not None:
                found.update(range(request.address, request.address + request.beats))
            return step(request, came)

        model.reader.step = record
        model.run()
        return found

    def check_run(self, result, name):
        """All as it must be."""
        check_conversion(self.config, self.case, self.operands, result, name)

    def check_results(self, name, memory):
        """A result is right or was not written."""
        kind, shape = parse_kind(self.config.array.accumulator), self.config.shape
        for index, layer in enumerate(self.case.gemms):
            if isinstance(layer, LayerConvert):
                stored = real_rows(self.program.operand(memory, index), layer.size, shape)
                golden = golden_blocks(self.operands[index], layer.formats)
                for found, right in zip(stored, golden, strict=False):
                    assert ((found == right) | (found == UNWRITTEN)).all(), (name, index)
                continue
            found = self.program.result(memory, index).view(np.uint32)
            right = expected(layer, kind, shape).view(np.uint32)
            unwritten = UNWRITTEN * (0x0101_0000 if layer.bf16 else 0x0101_0101)
            assert ((found == right) | (found == unwritten)).all(), (name, index)


def stopped_conversion(rng, config):
    """STOP in any cycle."""
    return stop(rng, SpoiltConversions(rng, config))


def reset_conversion(rng, config):
    """Reset of engine and memory in any cycle."""
    return reset_of(rng, SpoiltConversions(rng, config))


def faulty_conversion(rng, config):
    """A memory with an error response at any word."""
    spoilt = SpoiltConversions(rng, config)
    reads, stores = spoilt.reads(), list(spoilt.stores())
    written = [at for first, beats in stores for at in range(first, first + beats)]
    word = int(rng.choice(written if rng.random() < 0.4 else sorted(reads)))
    if rng.random() < 0.1:
        word = int(rng.integers(spoilt.memory.size // spoilt.bus - 1))
    fault = Fault(word, int(rng.integers(2, 4)), int(rng.integers(config.ports)))
    for first, beats in stores:
        if first <= word < first + beats:
            burst = max(first, word // config.burst * config.burst)
            return spoilt.fails("faulty write", Error.WRITE, burst * spoilt.bus, fault=fault)
    if word not in reads:
        return spoilt.runs("a word that nobody reads", fault=fault)
    return spoilt.fails("faulty read", Error.READ, word * spoilt.bus, fault=fault)


def bad_tag_of_conversion(rng, config):
    """A tag that is no format's."""
    spoilt = SpoiltConversions(rng, config)
    index = int(rng.choice(list(spoilt.operands)))
    command, size = spoilt.program.commands[index], spoilt.program.gemms[index]
    blocks = len(size.stored_formats(config.shape))
    spoilt.spoil_tag(command.tags_address, int(rng.integers(blocks)))
    return spoilt.fails("bad tag of a conversion", Error.FORMAT, command.tags_address)


CONVERSION_KINDS = (
    stopped_conversion,
    stopped_conversion,
    faulty_conversion,
    faulty_conversion,
    bad_tag_of_conversion,
    reset_conversion,
)
