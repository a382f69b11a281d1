"""The cycle model of the whole engine."""

from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.core import TILES_ON_WAY
from mixdit_sim.engine.model.compute import Array, Feed, OutputBuffer, blocks
from mixdit_sim.engine.model.loads import Loader, LoadWalker, Reader, Request, operand_plans
from mixdit_sim.engine.model.parts import Fifo, Memory, MemoryTiming
from mixdit_sim.engine.model.stores import Packer, StoreWalker, Writer
from mixdit_sw.engine.commands import COMMAND_WORDS, Opcode, Output, command_bytes
from mixdit_sw.engine.compiler import Program
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
        self.tiles_on_way = Fifo(TILES_ON_WAY)
        self.commands = program.commands
        self.work = [
            (command, operand_plans(config, gemm), blocks(gemm))
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
        counters = self.counters

        takes_word = memory.settle()
        sent = (
            writer.lengths.valid
            and takes_word
            and packer.busy
            and output.valid
            and not packer.keeps
        )
        moves = packer.busy and output.valid and (packer.keeps or sent)
        begins = None
        if self.tiles_on_way.valid and not packer.busy and writer.ready:
            begins = self.tiles_on_way.out
        leaves = output.complete and self.store_walker.valid and self.tiles_on_way.ready

        feed.settle()
        array_ready = not feed.tile_end or (array.drain == 0 and output.drain_ready)
        taken = feed.loaded and array_ready
        tile_end = taken and feed.tile_end
        if taken:
            counters[Register.BUSY] += 1
            counters[Register.TILES] += tile_end
        elif feed.loaded:
            reason = Register.STALL_DRAIN if output.drain_ready else Register.STALL_STORE
            counters[reason] += 1
        elif feed.active:
            counters[Register.STALL_LOAD] += 1

        loader_ready = loader.settle()
        there = memory.read_valid and reader.queue.valid
        is_command = there and reader.queue.out.target == "command"
        came = there and (self.state == "RECEIVE" if is_command else loader_ready)
        last = came and reader.last
        target = reader.queue.out.target if there else None

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
            store_command = self.work[self.store_slot][0]
        came_tile = array.step(tile_end)
        loader_took = came and not is_command
        feed.step(taken, feed_command)
        loader.step(loader_took, last, target)
        output.step(moves, leaves, tile_end, came_tile)
        tile = None
        if leaves:
            tile = (self.store_walker.address.address, self.store_walker.command.output)
        self.tiles_on_way.step(begins is not None, tile)
        self.store_walker.step(leaves, store_command)
        packer.step(moves, begins)
        write_request = None
        if begins is not None:
            beats = self.config.shape.tile_beats // (2 if begins[1] == Output.BF16 else 1)
            write_request = (begins[0], beats)
        put_last = sent and writer.last
        answered = memory.response_valid
        begun = writer.step(write_request, sent, answered)
        asked = reader.step(request if accepted else None, came)
        memory.step(came, asked, begun, sent, put_last)
        self.load_walker.step(accepted and not is_mine)
        if feed_command is not None:
            self.feed_slot = None
        if store_command is not None:
            self.store_slot = None
        self._control(accepted and is_mine, last and is_command, handed_on, quiet)

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
            and not self.packer.busy
            and self.feed_slot is None
            and self.store_slot is None
            and not self.tiles_on_way.valid
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
            self.feed_slot = self.store_slot = self.number
            self.number += 1
            self.state = "FETCH"
        elif self.state == "FINISH" and quiet:
            self.state = "IDLE"


def predict(
    config: EngineConfig, program: Program, timing: MemoryTiming | None = None
) -> dict[Register, int]:
    """Return the counters of a run, exactly (NaN blocks apart)."""
    return EngineModel(config, program, timing or MemoryTiming()).run()
