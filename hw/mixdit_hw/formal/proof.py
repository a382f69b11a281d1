"""A proof: a harness and how it is run."""

from collections.abc import Callable
from dataclasses import dataclass

from amaranth.lib import wiring

from mixdit_hw.formal.runner import Result, prove


@dataclass(frozen=True)
class Proof:
    """A harness and how it is run.

    Members
    -------
    name : str
        Of the proof.
    build : callable
        Makes the harness.
    mode, depth, cut
        See `mixdit_hw.formal.runner.prove`.
    heavy : bool
        Not among the default tests.
    """

    name: str
    build: Callable[[], wiring.Component]
    mode: str = "bmc"
    depth: int = 1
    heavy: bool = False
    cut: tuple[str, ...] = ()

    def run(self) -> Result:
        """Prove it; see `mixdit_hw.formal.runner.prove`."""
        return prove(self.build(), self.name, mode=self.mode, depth=self.depth, cut=self.cut)
