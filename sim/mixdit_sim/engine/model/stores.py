"""Store walker, packer and writer of the cycle model."""

from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.writer import BURSTS
from mixdit_sim.engine.model.parts import Address, Fifo, Loop
from mixdit_sw.engine.commands import Command, Output


class StoreWalker:
    """`mixdit_hw.engine.store.StoreWalker`."""

    def __init__(self, config: EngineConfig) -> None:
        self.bus = config.bus_bytes
        self.valid = self.begun = False

    @property
    def ready(self) -> bool:
        """A command would be taken."""
        return not self.valid and not self.begun

    def step(self, leaves: bool, command: Command | None) -> None:
        """Move on a cycle, in which the present tile leaves or not."""
        if leaves:
            self.valid = not self.loop.ends
            self.address.next(self.loop)
            self.loop.next()
        if self.begun:
            self.valid, self.begun = True, False
        elif command is not None:
            self.begun = True
            self.command = command
            self.loop = Loop(command)
            self.address = Address(
                command.c_address // self.bus,
                command.c_row_beats,
                command.c_col_beats,
                stationary_b=bool(command.stationary_b),
            )


class Packer:
    """`mixdit_hw.engine.store.Packer`."""

    def __init__(self, config: EngineConfig) -> None:
        self.beats = config.shape.tile_beats
        self.busy = self.narrow = False
        self.beat = 0

    @property
    def keeps(self) -> bool:
        """The word is the first half of one of BF16."""
        return self.narrow and not self.beat & 1

    def step(self, moves: bool, begins: tuple[int, int] | None) -> None:
        """Move on a cycle: a word passes, or a tile (address, output) begins."""
        if moves:
            self.beat += 1
            if self.beat == self.beats:
                self.busy = False
        if begins is not None:
            self.busy, self.beat = True, 0
            self.narrow = begins[1] == Output.BF16


class Writer:
    """`mixdit_hw.engine.writer.Writer`."""

    def __init__(self, config: EngineConfig) -> None:
        self.burst = config.burst
        self.lengths, self.addresses = Fifo(BURSTS), Fifo(BURSTS)
        self.address = self.left = self.count = self.without_response = 0
        self.pending = False

    @property
    def ready(self) -> bool:
        """A request would be taken."""
        return self.left == 0

    @property
    def idle(self) -> bool:
        """Nothing is begun or without response."""
        return not self.without_response and not self.pending

    @property
    def last(self) -> bool:
        """The present word is its burst's last."""
        return self.lengths.valid and self.count == self.lengths.out - 1

    def step(self, request: tuple[int, int] | None, sent: bool, answered: bool) -> bool:
        """Move on a cycle; return that the memory takes a burst's address now."""
        taken = self.pending
        begins = 0
        if self.left and self.lengths.ready and self.addresses.ready:
            begins = min(self.left, self.burst - self.address % self.burst)
        last = sent and self.last
        if sent:
            self.count = 0 if last else self.count + 1
        self.lengths.step(last, begins or None)
        self.addresses.step(answered, begins or None)
        self.address += begins
        self.left -= begins
        if request is not None:
            self.address, self.left = request
        self.pending = begins > 0
        self.without_response += (begins > 0) - answered
        return taken
