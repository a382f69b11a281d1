"""The cycle model in large steps: stretches that repeat exactly are counted, not run.

Where the whole state comes back with nothing changed but how far the loops are, what happened in
between happens again and again, until a loop comes to its end. This is looked for at three levels:
streamed tiles of a panel, panels of a command, commands of a program.
"""

from dataclasses import dataclass
from typing import Any

from mixdit_hw.engine.config import EngineConfig
from mixdit_sim.engine.model.engine import EngineModel
from mixdit_sim.engine.model.loads import Request
from mixdit_sim.engine.model.parts import Loop, MemoryTiming
from mixdit_sim.engine.model.state import State
from mixdit_sw.engine.compiler import Program
from mixdit_sw.engine.registers import Register


@dataclass(frozen=True)
class Look:
    """What a level remembers: cycle, counters, and how far each loop and the list are."""

    cycle: int
    counters: dict[Register, int]
    places: list[int]


class Level:
    """A level at which stretches may repeat: streamed tiles, here."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.model = state.model
        self.met: set[Any] = set()
        self.seen: dict[Any, Look] = {}

    def forget(self) -> None:
        """Forget all states."""
        self.met.clear()
        self.seen.clear()

    def places(self, loops: list[tuple[int, Loop]]) -> list[int]:
        """Return how far each loop is."""
        return [loop.step for _, loop in loops]

    def fixed(self, loops: list[tuple[int, Loop]]) -> tuple[Any, ...]:
        """Return what of the loops must be the same."""
        rest = tuple((i, x.left, x.tile, x.first_panel, x.backwards) for i, x in loops)
        return self.model.number, rest

    def room(self, loops: list[tuple[int, Loop]], old: Look, shift: int) -> int:
        """Return how often the loops can go on by `shift` before one comes to its end."""
        if min(old.places) < 1:
            return 0
        # Neither the first nor the last streamed tile of a panel is like the others.
        return min((loop.streamed - 2 - loop.step) // shift for _, loop in loops)

    def move(self, loops: list[tuple[int, Loop]], distance: int) -> None:
        """Move the loops on."""
        for _, loop in loops:
            loop.step += distance

    def look(self, cycle: int) -> tuple[int, Look] | None:
        """Return how often what happened since an equal state can be skipped, and that state.

        The loops are moved on by as much. The whole state is looked at only where a part of it that
        is cheap to compare comes back.
        """
        glance = self.state.glance()
        if glance not in self.met:
            self.met.add(glance)
            return None
        loops, rest = self.state.loops(), self.state.rest()
        places = self.places(loops)
        relative = tuple(place - places[0] for place in places)
        key = (self.fixed(loops), relative, rest)
        old = self.seen.get(key)
        self.seen[key] = Look(cycle, dict(self.model.counters), places)
        if old is None or (shift := places[0] - old.places[0]) < 1:
            return None
        times = self.room(loops, old, shift)
        if times < 1:
            return None
        self.move(loops, times * shift)
        self.forget()
        return times, old


class Panels(Level):
    """Panels of a command."""

    def places(self, loops: list[tuple[int, Loop]]) -> list[int]:
        """Return how far each loop is."""
        return [(loop.stationary - loop.left) // loop.panel for _, loop in loops]

    def fixed(self, loops: list[tuple[int, Loop]]) -> tuple[Any, ...]:
        """Return what of the loops must be the same."""
        rest = tuple((i, x.step, x.tile, x.first_panel, x.backwards) for i, x in loops)
        return self.model.number, rest

    def room(self, loops: list[tuple[int, Loop]], old: Look, shift: int) -> int:
        """Return how often the loops can go on by `shift` before one comes to its end."""
        # The last panel may have fewer tiles, and nothing is loaded behind it.
        spare = ((loop.left - 1) // loop.panel - 1 for _, loop in loops)
        return min(spare) // shift

    def move(self, loops: list[tuple[int, Loop]], distance: int) -> None:
        """Move the loops on."""
        for _, loop in loops:
            loop.left -= distance * loop.panel


class Commands(Level):
    """Commands of a program."""

    def places(self, loops: list[tuple[int, Loop]]) -> list[int]:
        """Return how far the list and each loop are."""
        return [self.model.number, *(index for index, _ in loops)]

    def fixed(self, loops: list[tuple[int, Loop]]) -> tuple[Any, ...]:
        """Return what of the loops must be the same."""
        kinds = self.state.kinds
        return tuple(
            (kinds[i], x.left, x.step, x.tile, x.first_panel, x.backwards) for i, x in loops
        )

    def room(self, loops: list[tuple[int, Loop]], old: Look, shift: int) -> int:
        """Return how many times as many commands follow that are of the same kinds."""
        kinds = self.state.kinds
        index = min(old.places)
        while index + shift < len(kinds) and kinds[index] == kinds[index + shift]:
            index += 1
        # `index + shift` is the first of another kind; the command that is fetched must not be it.
        return (index + shift - 1 - self.model.number) // shift

    def move(self, loops: list[tuple[int, Loop]], distance: int) -> None:
        """Go on in the list; what the walkers hold belongs to the new commands."""
        model = self.model
        work, walker, feed, store = model.work, model.load_walker, model.feed, model.store_walker
        new = [index + distance for index, _ in loops]
        command, plans, _ = work[new[0]]
        b = command.stationary_b
        walker.stationary = _retarget(walker.stationary, plans[b])
        walker.streamed = _retarget(walker.streamed, plans[not b])
        if len(new) > 1:
            feed.blocks = work[new[1]][2]
        if len(new) > 2:
            store.command = work[new[2]][0]
        model.number += distance
        model.pointer += distance * self.state.command_beats
        if model.feed_slot is not None:
            model.feed_slot += distance
        if model.store_slot is not None:
            model.store_slot += distance


def _retarget(request: Request, plan: Any) -> Request:
    return Request(request.address, request.beats, plan)


def predict_quickly(
    config: EngineConfig, program: Program, timing: MemoryTiming | None = None
) -> dict[Register, int]:
    """Return what `predict` does, without running what repeats.

    Results that are stored as operands are not looked at for repeats: their groups differ.
    """
    if any(gemm.as_operand is not None for gemm in program.gemms):
        return EngineModel(config, program, timing or MemoryTiming()).run()
    model = EngineModel(config, program, timing or MemoryTiming())
    state = State(model)
    steps, panels, commands = Level(state), Panels(state), Commands(state)
    feed, cycles = model.feed, 0
    place: tuple[int, ...] = (0, 0, 0)
    while model.state != "IDLE":
        model.step()
        cycles += 1
        if not feed.active or feed.loop.tile:
            continue
        here = id(feed.blocks), feed.loop.left, feed.loop.step
        if here == place:
            continue
        level = steps
        if here[0] != place[0]:
            level = commands
            panels.forget()
            steps.forget()
        elif here[1] != place[1]:
            level = panels
            steps.forget()
        place = here
        found = level.look(cycles)
        if found is not None:
            times, old = found
            for name, value in old.counters.items():
                model.counters[name] += times * (model.counters[name] - value)
            cycles += times * (cycles - old.cycle)
            place = id(feed.blocks), feed.loop.left, feed.loop.step
    model.counters[Register.CYCLES] = cycles
    return model.counters
