"""Statements of properties: named, so that a failed proof can say which."""

from amaranth.hdl import Assert, Assume, Cover, Module, ResetSignal, Signal, Value

HOLDS = "holds_"
"""What the names of properties' signals begin with."""


def check(m: Module, name: str, condition: Value) -> None:
    """Assert a condition in every cycle, in a signal of the property's name."""
    holds = Signal(name=f"{HOLDS}{name}")
    m.d.comb += [holds.eq(condition), Assert(holds)]


def assume(m: Module, condition: Value) -> None:
    """Restrict the proof to cycles in which a condition is true."""
    holds = Signal(name="assumed")
    m.d.comb += [holds.eq(condition), Assume(holds)]


def cover(m: Module, name: str, condition: Value) -> None:
    """Demand that a condition can become true."""
    reached = Signal(name=f"reached_{name}")
    m.d.comb += [reached.eq(condition), Cover(reached)]


def never_reset(m: Module) -> None:
    """Assume that reset stays off; registers start with their initial values."""
    assume(m, ~ResetSignal())


def implies(premise: Value, conclusion: Value) -> Value:
    """Return whether the conclusion is true or the premise false."""
    return ~premise.bool() | conclusion.bool()
