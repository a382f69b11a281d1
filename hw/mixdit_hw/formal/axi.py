"""What every AXI4 master must keep to, and small engines to prove it with."""

from collections.abc import Callable

from amaranth.hdl import Cat, Module, Signal, Value

from mixdit_hw.config import ArrayConfig
from mixdit_hw.engine.config import PAGE_BYTES, EngineConfig
from mixdit_hw.formal.properties import assume, check, implies
from mixdit_sw.formats import LANES

NARROW = {"formats": ("mx6",), "cluster_rows": 2, "cluster_cols": 2}


class ShortBursts(EngineConfig):
    """An engine whose bursts are of 4 words at most, so that few cycles hold several."""

    @property
    def burst(self) -> int:
        """Bus words of the longest burst."""
        return 4


def short_bursts(ports: int) -> EngineConfig:
    """Return the smallest engine of one or two ports, with short bursts, two of them on the way."""
    return ShortBursts(
        array=ArrayConfig(rows=2, cols=2 * ports, **NARROW),
        port_bytes=8,
        ports=ports,
        buffer_bytes=LANES * 8,
        outstanding=10,
        address_bits=20,
        steps=(),
    )


def check_stays(m: Module, name: str, valid: Value, ready: Value, payload: list[Value]) -> None:
    """Check that what is offered stays as it is until it is taken."""
    _stays(m, name, valid, ready, payload, lambda c: check(m, f"{name}_stays", c))


def assume_stays(m: Module, name: str, valid: Value, ready: Value, payload: list[Value]) -> None:
    """Assume that what is offered stays as it is until it is taken."""
    _stays(m, name, valid, ready, payload, lambda c: assume(m, c))


def _stays(
    m: Module,
    name: str,
    valid: Value,
    ready: Value,
    payload: list[Value],
    state: Callable[[Value], None],
) -> None:
    now = Cat(payload)
    waited, before = Signal(name=f"{name}_waited"), Signal(len(now), name=f"{name}_before")
    m.d.sync += [waited.eq(valid & ~ready), before.eq(now)]
    state(implies(waited, valid & (now == before)))


def check_burst(m: Module, name: str, valid: Value, addr: Value, length: Value, size: int) -> None:
    """Check that a burst is within a page; `size` is the logarithm of a port's bytes."""
    page = PAGE_BYTES.bit_length() - 1
    end = (addr[:page] + ((length + 1) << size))[: page + 2]
    check(m, f"{name}_in_page", implies(valid, end <= PAGE_BYTES))
    check(m, f"{name}_aligned", implies(valid, ~addr[:size].any()))
