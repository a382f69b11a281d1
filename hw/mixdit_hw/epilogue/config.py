"""What an epilogue is built for."""

from dataclasses import dataclass

from mixdit_hw.fabric import FABRICS
from mixdit_sw.engine.commands import STEPS
from mixdit_sw.errors import MixditError


@dataclass(frozen=True)
class EpilogueConfig:
    """Size of an epilogue.

    Attributes
    ----------
    rows, cols
        Size of a tile. Tiles come in row-major order, in `beats` beats.
    lanes
        Words of a beat: whole rows, so a multiple of cols that divides rows * cols.
    steps
        Steps that are built, some of `STEPS` in that order.
    fabric
        What it is built of, one of `FABRICS`.

    Raises
    ------
    MixditError
        If the attributes do not fit each other.
    """

    rows: int
    cols: int
    lanes: int
    steps: tuple[str, ...] = STEPS
    fabric: str = FABRICS[0]

    def __post_init__(self) -> None:
        for name in ("rows", "cols", "lanes"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise MixditError(f"{name.title()} must be a positive integer, not {value!r}")
        words = self.rows * self.cols
        if self.lanes % self.cols or words % self.lanes:
            raise MixditError(
                f"Lanes must be a multiple of cols, {self.cols}, and divide rows * cols, {words}, "
                f"not {self.lanes}"
            )
        if not self.steps or self.steps != tuple(s for s in STEPS if s in self.steps):
            raise MixditError(
                f"Steps must be some of {', '.join(STEPS)}, in this order, not {self.steps!r}"
            )

    @property
    def beats(self) -> int:
        """Beats of a tile."""
        return self.rows * self.cols // self.lanes

    @property
    def rows_per_beat(self) -> int:
        """Rows of a beat."""
        return self.lanes // self.cols

    @property
    def vectors(self) -> tuple[str, ...]:
        """Steps that are built and take a vector, in their order."""
        return tuple(step for step in self.steps if step != "residual")
