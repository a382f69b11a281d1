"""Registers inside a unit: an induction has to say how they go together."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring

from mixdit_hw.formal.properties import never_reset


def open_unit(unit: wiring.Component) -> Module:
    """Elaborate a unit now and return its inside; where it is instantiated, it is this one."""
    inside = unit.elaborate(None)
    vars(unit)["elaborate"] = lambda platform: inside
    return inside


def surround(m: Module, harness: wiring.Component, unit: wiring.Component) -> Module:
    """Put a unit, never reset, into a harness that has the same ports; return its inside."""
    never_reset(m)
    m.submodules.dut = unit
    inside = open_unit(unit)
    wiring.connect(m, wiring.flipped(harness), unit)
    return inside


def find(inside: Module, name: str) -> Signal:
    """Return the signal of a name that a module assigns.

    Raises
    ------
    KeyError
        Where there is none, or more than one.
    """
    found = [signal for signal in inside._driving if signal.name == name]
    if len(found) != 1:
        raise KeyError(f"There are {len(found)} signals {name}")
    return found[0]
