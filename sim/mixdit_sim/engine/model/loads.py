"""Reader and loader of the cycle model."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.gearbox import granule
from mixdit_sim.engine.model.parts import Fifo
from mixdit_sw.engine.gemm import GemmSize
from mixdit_sw.formats import Format


class OperandPlan:
    """What the loader meets in a tile: K-blocks by their granules and digits."""

    def __init__(self, config: EngineConfig, formats: tuple[Format, ...], is_b: bool) -> None:
        unit = gearbox_granule(config)
        self.is_b = is_b
        self.sizes = [config.shape.slice_bytes(fmt, is_b) // unit for fmt in formats]
        self.digits = [fmt.digits or 0 for fmt in formats]


def gearbox_granule(config: EngineConfig) -> int:
    """Return the bytes that the loader counts in."""
    sizes = sorted({*config.slice_bytes(False), *config.slice_bytes(True)})
    return granule(config.bus_bytes, tuple(sizes))


Plans = tuple[OperandPlan, OperandPlan] | np.ndarray
"""Of a GEMM its operands' tiles; of a conversion its table, empty if it has none."""


@dataclass
class Request:
    """A stretch of memory: first bus word, their number, and who gets them."""

    address: int
    beats: int
    target: Any


class Reader:
    """`mixdit_hw.engine.reader.Reader`."""

    def __init__(self, config: EngineConfig) -> None:
        self.burst, self.outstanding = config.burst, config.outstanding
        self.queue = Fifo(config.requests)
        self.address = self.left = self.on_way = self.count = 0
        self.pending = 0

    @property
    def ready(self) -> bool:
        """A request would be taken."""
        return (self.left == 0 or self._asks() == self.left) and self.queue.ready

    @property
    def idle(self) -> bool:
        """Nothing is asked for or on its way."""
        return not self.on_way and not self.pending

    @property
    def last(self) -> bool:
        """The present word ends its request."""
        return self.count == self.queue.out.beats - 1

    def step(self, request: Request | None, came: bool) -> int:
        """Move on a cycle; return the words of the burst whose address the memory takes now."""
        taken, asks = self.pending, self._asks()
        self.address += asks
        self.left -= asks
        self.pending = asks
        take = came and self.last
        if came:
            self.count = 0 if take else self.count + 1
        self.queue.step(take, request)
        if request is not None:
            self.address, self.left = request.address, request.beats
        self.on_way += asks - came
        return taken

    def _asks(self) -> int:
        """Return the words of the burst that is cut off now."""
        if not self.left or self.on_way > self.outstanding - self.burst:
            return 0
        return min(self.left, self.burst - self.address % self.burst)


class Loader:
    """`mixdit_hw.engine.loader.Loader`, with the places of the operand buffers."""

    def __init__(self, config: EngineConfig) -> None:
        self.section, self.depth = config.shape.section, config.words
        self.group = config.shape.group
        self.beat = config.bus_bytes // gearbox_granule(config)
        self.state = "HEADER"
        self.plan: OperandPlan | None = None
        self.block = self.in_section = self.in_group = self.level = self.digit = 0
        self.ended = False
        self.written = [0, 0]
        self.freed = [0, 0]

    def settle(self) -> bool:
        """Find what is written in this cycle; return that a word would be taken."""
        self.write = self.done = False
        if self.state != "BLOCKS":
            return self.state == "REST" or not self.ended
        plan = self.plan
        assert plan is not None
        size = plan.sizes[self.block]
        have = self.level >= size
        if have and self.written[plan.is_b] - self.freed[plan.is_b] < self.depth:
            self.write = True
            self.done = self.digit == plan.digits[self.block] - 1
        self.ends_group = self.in_section == 1 or self.in_group == self.group - 1
        if self.done:
            wants = self.in_section > 1 and (
                self.ends_group or self.level - size < plan.sizes[self.block + 1]
            )
        else:
            wants = not have
        return wants and not self.ended

    def step(self, take: bool, last: bool, plan: Any) -> None:
        """Move on a cycle; with a word, its request's last or not, of a tile."""
        if self.state == "HEADER":
            if take:
                if self.plan is None:
                    self.plan, self.block = plan, 0
                self.in_section = min(len(self.plan.sizes) - self.block, self.section)
                self.ended = last
                self.state = "BLOCKS"
        elif self.state == "BLOCKS":
            self._blocks(take, last)
        elif take and last:
            self.state = "HEADER"

    def _blocks(self, take: bool, last: bool) -> None:
        plan = self.plan
        assert plan is not None
        if self.done:
            self.level = 0 if self.ends_group else self.level - plan.sizes[self.block]
        if take:
            self.level += self.beat
            self.ended = last
        if not self.write:
            return
        self.written[plan.is_b] += 1
        self.digit += 1
        if not self.done:
            return
        self.digit = 0
        self.block += 1
        self.in_section -= 1
        self.in_group = 0 if self.ends_group else self.in_group + 1
        if self.in_section == 0:
            self.state = "HEADER"
            if self.block == len(plan.sizes):
                self.plan = None
                if not self.ended:
                    self.state = "REST"
                self.ended = False


def operand_plans(config: EngineConfig, gemm: GemmSize) -> tuple[OperandPlan, OperandPlan]:
    """Return the plans of A and B."""
    return (
        OperandPlan(config, gemm.a_formats, False),
        OperandPlan(config, gemm.b_formats, True),
    )
