"""Sizes of GEMMs, and in which order their tiles are walked through."""

import math
from dataclasses import dataclass

from mixdit_sw.engine.shape import EngineShape, digit_words, stored_formats
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import Format


@dataclass(frozen=True, kw_only=True)
class GemmSize:
    """A GEMM without its numbers.

    Members
    -------
    m, n, k : int
        C is (m, n), the sum over k channels.
    a_formats, b_formats : tuple of Format
        Format of each K-block.
    steps : tuple of str
        Steps of the epilogue that are on.
    bf16 : bool
        Store BF16.
    as_operand : tuple of Format, optional
        Store C as an operand, with these formats of its K-blocks.
    a_source, b_source : int, optional
        Number of the GEMM or conversion that stores A, or B.
    """

    m: int
    n: int
    k: int
    a_formats: tuple[Format, ...]
    b_formats: tuple[Format, ...]
    steps: tuple[str, ...] = ()
    bf16: bool = False
    as_operand: tuple[Format, ...] | None = None
    a_source: int | None = None
    b_source: int | None = None

    def tiles(self, shape: EngineShape) -> tuple[int, int]:
        """Rows and columns of tiles; whole groups of columns if C is stored as an operand."""
        group = 1 if self.as_operand is None else shape.group_tiles
        return -(-self.m // shape.rows), -(-self.n // (shape.cols * group)) * group

    def stored_formats(self, shape: EngineShape) -> tuple[Format, ...]:
        """Formats of the K-blocks of C as an operand: those asked for, the last one repeated.

        Raises
        ------
        MixditError
            When they are not those of C's columns, or more than a section holds.
        """
        return stored_formats(self.as_operand or (), self.n, self.tiles(shape)[1], shape)

    def beats(self, shape: EngineShape, is_b: bool) -> int:
        """Bus words of an operand tile."""
        return shape.operand_beats(self.b_formats if is_b else self.a_formats, is_b)

    def words(self, is_b: bool) -> int:
        """Buffer words of an operand tile."""
        return digit_words(self.b_formats if is_b else self.a_formats)

    @property
    def passes(self) -> list[int]:
        """Digit passes of each K-block."""
        pairs = zip(self.a_formats, self.b_formats, strict=True)
        return [(f.digits or 0) * (g.digits or 0) for f, g in pairs]


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


def choose_schedule(gemm: GemmSize, shape: EngineShape) -> Schedule:
    """Return the schedule that should wait least for memory.

    Each port moves a word a cycle and direction, the memory `shape.memory_words`. The first panel
    is waited for. Another one is loaded while the one before is in use, as far as
    the buffer has room for both; what it has no room for is waited for. Among schedules within a
    half percent of the fastest the one that loads least is taken.

    Raises
    ------
    MixditError
        When a tile does not fit its buffer.
    """

    def cost(schedule: Schedule) -> tuple[float, int]:
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
        stores = result_bytes(gemm, shape) // shape.bus_bytes
        moved = max(loads, stores, (loads + stores) / shape.memory_words)
        return max(compute, moved) + first_panel + waits, loads

    costs = {schedule: cost(schedule) for schedule in schedules(gemm, shape)}
    fastest = min(time for time, _ in costs.values())
    good = [schedule for schedule, (time, _) in costs.items() if time <= 1.005 * fastest]
    return min(good, key=lambda schedule: costs[schedule][1])
