"""AXI4 and AXI4-Lite ports, and a stream that goes to all ports at once."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

INCR = 1
"""Burst type of rising addresses, the only one used."""


def axi_master(address_bits: int, port_bytes: int) -> wiring.Signature:
    """Return the signature of an AXI4 master port without identifiers, named as AXI names it."""
    common = {"addr": address_bits, "len": 8, "size": 3, "burst": 2}
    members: dict[str, wiring.Member] = {}
    for channel in ("ar", "aw"):
        members |= {f"{channel}{name}": Out(width) for name, width in common.items()}
        members |= {f"{channel}valid": Out(1), f"{channel}ready": In(1)}
    members |= {
        "rdata": In(8 * port_bytes),
        "rresp": In(2),
        "rlast": In(1),
        "rvalid": In(1),
        "rready": Out(1),
        "wdata": Out(8 * port_bytes),
        "wstrb": Out(port_bytes),
        "wlast": Out(1),
        "wvalid": Out(1),
        "wready": In(1),
        "bresp": In(2),
        "bvalid": In(1),
        "bready": Out(1),
    }
    return wiring.Signature(members)


def axi_lite_slave(address_bits: int) -> wiring.Signature:
    """Return the signature of a 32-bit AXI4-Lite slave port, as the slave sees it."""
    return wiring.Signature(
        {
            "awaddr": In(address_bits),
            "awprot": In(3),
            "awvalid": In(1),
            "awready": Out(1),
            "wdata": In(32),
            "wstrb": In(4),
            "wvalid": In(1),
            "wready": Out(1),
            "bresp": Out(2),
            "bvalid": Out(1),
            "bready": In(1),
            "araddr": In(address_bits),
            "arprot": In(3),
            "arvalid": In(1),
            "arready": Out(1),
            "rdata": Out(32),
            "rresp": Out(2),
            "rvalid": Out(1),
            "rready": In(1),
        }
    )


def fork(m: Module, name: str, valid: Value, readies: list[Value]) -> tuple[list[Value], Signal]:
    """Offer something to several takers; return their valids, and that all have taken it.

    A taker that was ready earlier than the others is not offered it again.
    """
    taken = Signal(len(readies), name=f"{name}_taken")
    valids = [valid & ~taken[i] for i in range(len(readies))]
    all_taken = Signal(name=f"{name}_all_taken")
    m.d.comb += all_taken.eq((taken | Cat(readies)).all())
    if len(readies) > 1:
        with m.If(valid):
            m.d.sync += taken.eq(Mux(all_taken, 0, taken | Cat(readies)))
    return valids, all_taken
