"""In which order the tiles of a GEMM are walked through."""

import math
from dataclasses import dataclass

from mixdit_sw.engine.gemm import GemmSize
from mixdit_sw.engine.shape import EngineShape
from mixdit_sw.errors import MixditError


def result_bytes(gemm: GemmSize, shape: EngineShape) -> int:
    """Return the bytes of a C with all its tiles."""
    rows, cols = gemm.tiles(shape)
    if gemm.as_operand is not None:
        return rows * shape.operand_beats(gemm.stored_formats(shape), False) * shape.bus_bytes
    return rows * cols * shape.tile_beats * shape.bus_bytes // (2 if gemm.bf16 else 1)


@dataclass(frozen=True)
class Schedule:
    """How a GEMM's tiles are walked through.

    Members
    -------
    stationary_b : bool
        Panels are of B's tiles.
    panel : int
        Tiles of a panel.
    """

    stationary_b: bool
    panel: int


def traffic(gemm: GemmSize, shape: EngineShape, schedule: Schedule) -> int:
    """Return the bus words of operands that a schedule loads."""
    is_b = schedule.stationary_b
    rows, cols = gemm.tiles(shape)
    stationary, streamed = (cols, rows) if is_b else (rows, cols)
    panels = -(-stationary // schedule.panel)
    # The last streamed tile of a panel is the first of the next.
    streams = streamed + (panels - 1) * (streamed - 1)
    return stationary * gemm.beats(shape, is_b) + streams * gemm.beats(shape, not is_b)


def schedules(gemm: GemmSize, shape: EngineShape) -> list[Schedule]:
    """Return the schedules that fit the buffers, those with room for the next panel first.

    Raises
    ------
    MixditError
        When a tile does not fit at all.
    """
    for is_b in (False, True):
        if gemm.words(is_b) > shape.words(is_b):
            raise MixditError(
                f"A tile of {'B' if is_b else 'A'} takes {gemm.words(is_b)} words of its buffer, "
                f"which has {shape.words(is_b)}: K is too large for this engine"
            )
    found = []
    group = 1 if gemm.as_operand is None else shape.group_tiles
    for is_b in (False, True):
        if gemm.as_operand is not None and not is_b:
            continue
        tiles = gemm.tiles(shape)[is_b]
        most = min(tiles, shape.words(is_b) // gemm.words(is_b))
        found += [Schedule(is_b, panel) for panel in range(group, most + 1, group)]
    if not found:
        raise MixditError(
            f"The buffer of B has no room for the {group} tiles that make K-blocks of C: "
            "K is too large for storing it as an operand"
        )
    return found


def choose_schedule(gemm: GemmSize, shape: EngineShape, *, overlaps: bool = False) -> Schedule:
    """Return the schedule that should wait least for memory.

    Each port moves a word a cycle and direction, the memory `shape.memory_words`. The first panel
    is waited for, unless it `overlaps` with the command before. Another one is loaded while the one
    before is in use, as far as the buffer has room for both; what it has no room for is waited for.
    Among schedules within a half percent of the fastest the one that loads least is taken, and of
    those the one whose first panel is the shortest.

    Raises
    ------
    MixditError
        When a tile does not fit its buffer.
    """

    def cost(schedule: Schedule) -> tuple[float, int, int]:
        is_b = schedule.stationary_b
        words = schedule.panel * gemm.words(is_b)
        tiles = gemm.tiles(shape)[is_b]
        panels = -(-tiles // schedule.panel)
        loads = traffic(gemm, shape, schedule)
        compute = math.prod(gemm.tiles(shape)) * sum(gemm.passes)
        missing = max(0, 2 * words - shape.words(is_b)) if panels > 1 else 0
        beats = gemm.beats(shape, is_b) / gemm.words(is_b)
        waits = panels * missing * beats
        first_panel = schedule.panel * gemm.beats(shape, is_b)
        waits += 0 if overlaps else first_panel
        stores = result_bytes(gemm, shape) // shape.bus_bytes
        moved = max(loads, stores, (loads + stores) / shape.memory_words)
        return max(compute, moved) + waits, loads, first_panel

    costs = {schedule: cost(schedule) for schedule in schedules(gemm, shape)}
    fastest = min(time for time, *_ in costs.values())
    good = [schedule for schedule, (time, *_) in costs.items() if time <= 1.005 * fastest]
    return min(good, key=lambda schedule: costs[schedule][1:])
