"""How deep a baseline is pipelined, and delays."""

from dataclasses import dataclass

from amaranth.hdl import Module, Signal, Value

from mixdit_sw.errors import MixditError

MAX_STAGES = 4


@dataclass(frozen=True)
class Pipeline:
    """A number of pipeline stages behind the operand registers.

    Attributes
    ----------
    stages
        1 to 4.
    """

    stages: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.stages, int) or not 1 <= self.stages <= MAX_STAGES:
            raise MixditError(f"Stages must be 1..{MAX_STAGES}, not {self.stages!r}")

    @property
    def latency(self) -> int:
        """Cycles from operands to the sum that holds their product."""
        return 1 + self.stages

    @property
    def suffix(self) -> str:
        """Part of a module's name; none for a single cycle."""
        return "" if self.stages == 1 else f"_s{self.stages}"


@dataclass(frozen=True)
class IntPipeline(Pipeline):
    """Stages of which one may be for the high half of an integer accumulator.

    Attributes
    ----------
    skew
        Whether the accumulator is cut in two halves, the higher one a cycle behind.
    """

    skew: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.stages - self.skew <= 3:
            raise MixditError(
                f"An accumulator {'with' if self.skew else 'without'} skew goes with "
                f"{1 + self.skew}..{3 + self.skew} stages, not {self.stages}"
            )

    @property
    def cuts(self) -> int:
        """Registers before the accumulator, 0 to 2."""
        return self.stages - self.skew - 1

    @property
    def suffix(self) -> str:
        """Part of a module's name; none for a single cycle."""
        return super().suffix + ("k" if self.skew else "")


@dataclass(frozen=True)
class LoopPipeline(Pipeline):
    """Stages of which the last ones are a loop, in which as many sums take turns.

    Attributes
    ----------
    interleave
        Cycles of the loop, and sums.
    """

    interleave: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        least = max(1, self.stages - 2)
        if not isinstance(self.interleave, int) or not least <= self.interleave <= self.stages:
            raise MixditError(
                f"Interleave of {self.stages} stages must be {least}..{self.stages}, "
                f"not {self.interleave!r}"
            )

    @property
    def cuts(self) -> int:
        """Registers before the loop, 0 to 2."""
        return self.stages - self.interleave

    @property
    def suffix(self) -> str:
        """Part of a module's name; none for a single cycle."""
        return super().suffix + (f"_i{self.interleave}" if self.interleave > 1 else "")


def delay(m: Module, x: Value, cycles: int, name: str) -> Value:
    """Return x as it was `cycles` cycles ago, in registers without reset."""
    for i in range(cycles):
        later = Signal.like(x, name=f"{name}_{i}", reset_less=True)
        m.d.sync += later.eq(x)
        x = later
    return x
