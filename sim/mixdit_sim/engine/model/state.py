"""State of the cycle model without what does not decide its future.

Two states that are equal here go on alike, as long as no loop meets its end, because the units see
times and buffer places only as differences, and addresses only by their place in a burst.
"""

import dis
import sys
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from typing import Any

from mixdit_hw.engine.config import EngineConfig
from mixdit_sim.engine.model.compute import Feed
from mixdit_sim.engine.model.engine import EngineModel
from mixdit_sim.engine.model.load_walker import LoadWalker
from mixdit_sim.engine.model.loads import Loader, OperandPlan, Reader, Request
from mixdit_sim.engine.model.parts import Address, Fifo, Loop, Memory
from mixdit_sim.engine.model.quantizer import Quantizer
from mixdit_sim.engine.model.stores import StoreWalker, TileKind, TileSteps, Writer
from mixdit_sw.engine.commands import ADDRESSES, Command, command_bytes
from mixdit_sw.engine.shape import EngineShape

POSITIONS = {
    EngineModel: {
        "commands", "config", "counters", "feed_slot", "number", "pointer", "store_slot", "stored",
        "work",
    },
    Feed: {"at", "base", "behind", "blocks", "here", "loader", "loop", "next_command"},
    LoadWalker: {"loop"},
    Loader: {"freed", "written"},
    Loop: set(),
    Memory: {"now", "reads", "responses"},
    Quantizer: {"sizes"},
    StoreWalker: {"column", "command", "formats", "loop", "panel_column"},
    Reader: {"address"},
    Writer: {"address", "writes"},
}  # fmt: skip
"""Members that `State` treats apart; all others count as they are."""


@cache
def stored_names() -> frozenset[str]:
    """Return all names of members that the model's code gives a value.

    Asking an object for its dictionary would do the same, and make it half as fast from then on.
    """
    package = EngineModel.__module__.rpartition(".")[0]
    modules = [module for name, module in sys.modules.items() if name.startswith(f"{package}.")]
    found = [part for module in modules for part in vars(module).values()]
    classes = [part for part in found if isinstance(part, type) and package in part.__module__]
    functions = [function for part in classes for function in vars(part).values()]
    functions = [getattr(part, "fget", part) for part in functions]
    codes = [part.__code__ for part in functions if hasattr(part, "__code__")]
    steps = [step for code in codes for step in dis.get_instructions(code)]
    return frozenset(str(step.argval) for step in steps if step.opname == "STORE_ATTR")


class State:
    """Makes comparable values of a model.

    Parameters
    ----------
    model : EngineModel
        The model.
    """

    def __init__(self, model: EngineModel) -> None:
        self.model = model
        self.burst = model.config.burst
        self.command_beats = command_bytes(model.config.bus_bytes) // model.config.bus_bytes
        self._plans: dict[Any, int] = {}
        self._plan_of: dict[int, int] = {}
        self._names: dict[type, tuple[str, ...]] = {}
        self.index_of: dict[int, int] = {}
        for index, (command, plans, steps) in enumerate(model.work):
            for part in (command, *plans, steps):
                self.index_of[id(part)] = index
            for plan in plans:
                key = (plan.is_b, tuple(plan.sizes), tuple(plan.digits))
                self._plan_of[id(plan)] = self._plans.setdefault(key, len(self._plans))
        numbers: dict[Any, int] = {}
        self.kinds = [
            numbers.setdefault(self._kind(index), len(numbers))
            for index in range(len(model.commands))
        ]

    def _kind(self, index: int) -> tuple[Any, ...]:
        """Return a command without the absolute part of its addresses."""
        model = self.model
        command = model.commands[index]
        span = self.burst * model.config.bus_bytes
        near = {name: getattr(command, name) % span for name in ADDRESSES}
        if index == len(model.work):
            return (replace(command, **near),)
        _, plans, _ = model.work[index]
        return (replace(command, **near), *(self._plan_of[id(plan)] for plan in plans))

    def glance(self) -> tuple[Any, ...]:
        """Return some of what `rest` does, cheaply."""
        model = self.model
        loader, reader, output, walker = model.loader, model.reader, model.output, model.load_walker
        return (
            loader.written[0] - loader.freed[0],
            loader.written[1] - loader.freed[1],
            loader.level,
            loader.block,
            reader.address % self.burst,
            reader.left,
            reader.on_way,
            walker.streamed.address % self.burst,
            model.memory.credit,
            output.reserved,
            output.beat,
        )

    def loops(self) -> list[tuple[int, Loop]]:
        """Return command number and loop of load walker, feed and store walker, if they have one.

        A walker that has nothing to do keeps its last.
        """
        model = self.model
        walker, feed, store = model.load_walker, model.feed, model.store_walker
        return [
            (self.index_of[id(part)], owner.loop)
            for owner, part in (
                (walker, walker.stationary.target if hasattr(walker, "loop") else None),
                (feed, feed.blocks if hasattr(feed, "loop") else None),
                (store, store.command if hasattr(store, "loop") else None),
            )
            if part is not None
        ]

    def rest(self) -> tuple[Any, ...]:
        """Return all but the loops' places and the command numbers."""
        model = self.model
        feed, loader, memory, writer = model.feed, model.loader, model.memory, model.writer
        freed, now = loader.freed, memory.now
        places = (feed.here, feed.base, loader.written, getattr(feed, "behind", freed), feed.at)
        writes = writer.writes
        return (
            tuple(place[i] - freed[i] for place in places for i in (0, 1)),
            tuple((words, max(0, at - now)) for words, at in memory.reads),
            tuple(max(0, at - now) for at in memory.responses),
            model.reader.address % self.burst,
            writer.address % self.burst,
            tuple((at % self.burst, *rest) for at, *rest in _content(writes)),
            None if model.feed_slot is None else model.number - model.feed_slot,
            None if model.store_slot is None else model.number - model.store_slot,
            self._pointer(),
            self._members_of(model),
        )

    def _pointer(self) -> int:
        """Return the place of the next command in its burst, if a command can cross bursts."""
        beats = self.command_beats
        pointer = self.model.pointer
        return 0 if not self.burst % beats and not pointer % beats else pointer % self.burst

    def _members_of(self, value: Any) -> tuple[Any, ...]:
        kind = type(value)
        if kind not in self._names:
            slots = [name for base in kind.__mro__ for name in getattr(base, "__slots__", ())]
            names = slots or stored_names() - set(dir(kind))
            self._names[kind] = tuple(sorted(set(names) - POSITIONS.get(kind, set())))
        found = [getattr(value, name, self) for name in self._names[kind]]
        return tuple(None if part is self else self._freeze(part) for part in found)

    def _freeze(self, value: Any) -> Any:
        if value is None or isinstance(value, int | str):
            return value
        rule = _RULES.get(type(value))
        if rule is not None:
            return rule(self, value)
        if isinstance(value, list | tuple | deque):
            return tuple(self._freeze(part) for part in value)
        return self._members_of(value)


def _content(queue: Fifo) -> Iterable[Any]:
    return [queue.out, *queue.stored] if queue.valid else queue.stored


_RULES: dict[type, Callable[[State, Any], Any]] = {
    Address: lambda state, x: tuple(
        v % state.burst for v in (x.address, x.panel_start, x.stationary_step, x.streamed_step)
    ),
    Command: lambda state, x: state.index_of[id(x)],
    EngineConfig: lambda state, x: None,
    EngineShape: lambda state, x: None,
    Fifo: lambda state, x: (x.valid, *(state._freeze(v) for v in _content(x))),
    OperandPlan: lambda state, x: state._plan_of[id(x)],
    TileKind: lambda state, x: x,
    TileSteps: lambda state, x: x,
    Request: lambda state, x: (x.address % state.burst, x.beats, state._freeze(x.target)),
}
