"""The cycle model of the whole engine."""

import numpy as np

from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.core import LOAD_WORDS, TILES_ON_WAY
from mixdit_hw.engine.source import Origin
from mixdit_sim.engine.model.compute import Array, Block, Feed, OutputBuffer, blocks
from mixdit_sim.engine.model.conversion import Source, SourceTarget
from mixdit_sim.engine.model.load_walker import LoadWalker
from mixdit_sim.engine.model.loads import (
    Loader,
    OperandPlan,
    Plans,
    Reader,
    Request,
    operand_plans,
)
from mixdit_sim.engine.model.parts import Fifo, Memory, MemoryTiming
from mixdit_sim.engine.model.quantizer import Quantizer
from mixdit_sim.engine.model.stores import Epilogue, Packer, StoreWalker, Writer
from mixdit_sw.engine.commands import COMMAND_WORDS, Command, Opcode, Output, command_bytes
from mixdit_sw.engine.compiler import Program
from mixdit_sw.engine.gemm import GemmSize
from mixdit_sw.engine.registers import COUNTERS, Register


class EngineModel:
    """Runs a program cycle by cycle.

    Parameters
    ----------
    config : EngineConfig
        The engine.
    program : Program
        What it runs.
    timing : MemoryTiming
        Its memory.
    """

    def __init__(self, config: EngineConfig, program: Program, timing: MemoryTiming) -> None:
        self.config = config
        self.memory = Memory(timing)
        self.reader, self.writer = Reader(config), Writer(config)
        self.load_walker, self.loader = LoadWalker(config), Loader(config)
        self.feed, self.array = Feed(self.loader), Array(config)
        self.output = OutputBuffer(config)
        self.store_walker, self.packer = StoreWalker(config), Packer(config)
        self.loads = Fifo(LOAD_WORDS)
        self.epilogue = Epilogue(config) if config.steps else None
        self.quantizer, self.kinds = Quantizer(config), Fifo(TILES_ON_WAY)
        self.commands = program.commands
        self.stored = [
            () if gemm.as_operand is None else gemm.stored_formats(config.shape)
            for gemm in program.gemms
        ]
        self.source = Source(config)
        self.work: list[tuple[Command, Plans, list[Block]]] = [
            (command, operand_plans(config, gemm), blocks(gemm))
            if isinstance(gemm, GemmSize)
            else (command, _table(program, command), [])
            for command, gemm in zip(program.commands, program.gemms, strict=False)
        ]
        self.feed_slot: int | None = None
        self.store_slot: int | None = None
        self.state = "FETCH"
        self.number = 0
        self.pointer = program.list_address // config.bus_bytes
        self.counters = dict.fromkeys(COUNTERS, 0)

    def run(self, limit: int | None = None) -> dict[Register, int]:
        """Run to the end, or for so many cycles; return the counters of the driver's `Outcome`.

        NaN blocks are data, which the model does not have: their counter stays zero.
        """
        cycles = 0
        while self.state != "IDLE" and cycles != limit:
            self.step()
            cycles += 1
        self.counters[Register.CYCLES] = cycles
        return self.counters

    def step(self) -> None:
        """One cycle."""
        memory, reader, writer, loader = self.memory, self.reader, self.writer, self.loader
        feed, output, packer, array = self.feed, self.output, self.packer, self.array
        quantizer = self.quantizer
        counters = self.counters

        # What is shown to packer and quantizer, and what they and the epilogue make of it.
        kind = self.kinds.out if self.kinds.valid else None
        sends = memory.settle() and writer.lengths.valid
        is_operand = kind is not None and kind.output == Output.OPERAND
        keeps = kind is not None and packer.keeps(kind)
        quantizer_takes = quantizer.settle()
        if is_operand:
            passes_on = quantizer_takes
        else:
            passes_on = kind is not None and (keeps or (sends and not writer.source))
        origin = None if kind is None else kind.origin
        from_array = passes_on and origin == Origin.ARRAY
        if self.epilogue is None:
            moves = taken_word = output.valid and from_array
        else:
            moves = self.epilogue.valid and from_array
            taken_word = self.epilogue.settle(output.shown if output.valid else None, from_array)
        loads, source = self.loads, self.source
        source_word = loads.out if loads.valid and isinstance(loads.out[1], SourceTarget) else None
        source_taken = source.settle(source_word, passes_on and origin == Origin.MEMORY)
        turned = source.transpose.valid and passes_on and origin == Origin.TURNED
        moves |= source.word or turned
        if writer.source:
            sent = sends and quantizer.valid
        else:
            sent = moves and not is_operand and not keeps
        walker, tile = self.store_walker, None
        room = self.kinds.ready and writer.writes.ready
        complete = output.settle(taken_word)
        leaves = walker.valid and room and (complete or walker.converts)
        if leaves and not walker.converts:
            tile = walker.tile_steps

        feed.settle()
        array_ready = not feed.tile_end or (array.drain == 0 and output.drain_ready)
        taken = feed.loaded and array_ready
        tile_end = taken and feed.tile_end
        if taken:
            counters[Register.BUSY] += 1
            counters[Register.TILES] += tile_end
        elif feed.loaded:
            counters[self._reason(is_operand)] += 1
        elif feed.active:
            counters[Register.STALL_LOAD] += 1

        load = loader.settle() and loads.valid and source_word is None
        there = memory.read_valid and reader.queue.valid
        target = reader.queue.out.target if there else None
        if target == "command":
            came = self.state == "RECEIVE"
        elif target == "tags":
            came = walker.tags.ready
        elif target == "table":
            came = True
        elif target == "extra":
            came = self.epilogue is not None and self.epilogue.extra.ready
        else:
            came = there and loads.ready
        last = came and reader.last

        request, is_mine = self._request()
        accepted = request is not None and reader.ready
        quiet = self._quiet()
        handed_on = self._hands_on(quiet)

        # From here on everything moves.
        feed_command = None
        if self.feed_slot is not None and feed.ready:
            command, _, steps = self.work[self.feed_slot]
            feed_command = (command, steps)
        store_command = None
        if self.store_slot is not None and self.store_walker.ready:
            store_command = self.work[self.store_slot][0], self.stored[self.store_slot]
        came_tile = array.step(tile_end)
        feed.step(taken, feed_command)
        loader.step(load, *(loads.out if load else (False, None)))
        source.step(source_word, turned)
        is_load = came and isinstance(target, OperandPlan | SourceTarget)
        loads.step(load or source_taken, (last, target) if is_load else None)
        if self.epilogue is not None:
            word = True if came and target == "extra" else None
            self.epilogue.step(output.shown, from_array, word)
        output.step(taken_word, tile, tile_end, came_tile)
        write = walker.write() if leaves else None
        next_kind = walker.kind if leaves else None
        walker.step(leaves, store_command, True if came and target == "tags" else None)
        last_word = packer.step(moves and not is_operand)
        last_word |= quantizer.step(kind if moves and is_operand else None, sent and writer.source)
        self.kinds.step(last_word, next_kind)
        put_last = sent and writer.last
        begun = writer.step(write, sent, memory.response_valid)
        asked = reader.step(request if accepted else None, came)
        memory.step(came, asked, begun, sent, put_last)
        self.load_walker.step(accepted and not is_mine, last and target == "table")
        if feed_command is not None:
            self.feed_slot = None
        if store_command is not None:
            self.store_slot = None
        self._control(accepted and is_mine, last and target == "command", handed_on, quiet)

    def _reason(self, is_operand: bool) -> Register:
        """Return why the array does not take the beat that it is shown."""
        if self.output.drain_ready:
            return Register.STALL_DRAIN
        return Register.STALL_CONVERT if is_operand else Register.STALL_STORE

    def _request(self) -> tuple[Request | None, bool]:
        """Return what the reader is asked for, and whether by the controller."""
        if self.state == "FETCH":
            beats = -(-4 * COMMAND_WORDS // self.config.bus_bytes)
            return Request(self.pointer, beats, "command"), True
        return self.load_walker.request(), False

    def _quiet(self) -> bool:
        return (
            self.load_walker.state == "IDLE"
            and self.feed.ready
            and self.store_walker.ready
            and self.feed_slot is None
            and self.store_slot is None
            and self.kinds.empty
            and self.writer.writes.empty
            and self.reader.idle
            and self.writer.idle
        )

    def _hands_on(self, quiet: bool) -> bool:
        """Return whether the walkers take a command now."""
        return (
            self.state == "HAND_ON"
            and (quiet or not self.commands[self.number].wait)
            and self.load_walker.state == "IDLE"
            and self.feed_slot is None
            and self.store_slot is None
        )

    def _control(self, asked: bool, received: bool, handed_on: bool, quiet: bool) -> None:
        """`mixdit_hw.engine.controller.Controller`."""
        if self.state == "FETCH" and asked:
            self.pointer += command_bytes(self.config.bus_bytes) // self.config.bus_bytes
            self.state = "RECEIVE"
        elif self.state == "RECEIVE" and received:
            self.state = "CHECK"
        elif self.state == "CHECK":
            is_end = self.commands[self.number].opcode == Opcode.END
            self.state = "FINISH" if is_end else "HAND_ON"
        elif handed_on:
            self.load_walker.take(self.work[self.number][0], self.work[self.number][1])
            self.store_slot = self.number
            if self.commands[self.number].opcode == Opcode.GEMM:
                self.feed_slot = self.number
            self.number += 1
            self.state = "FETCH"
        elif self.state == "FINISH" and quiet:
            self.state = "IDLE"


def _table(program: Program, command: Command) -> np.ndarray:
    """Return the table of a conversion, empty if it has none."""
    parts = program.image.parts if command.transposed else []
    found = [part for at, part in parts if at == command.a_address and part.size]
    return found[0] if found else np.zeros(0, np.uint8)


def predict(
    config: EngineConfig, program: Program, timing: MemoryTiming | None = None
) -> dict[Register, int]:
    """Return the counters of a run, exactly (NaN blocks apart)."""
    return EngineModel(config, program, timing or MemoryTiming()).run()
