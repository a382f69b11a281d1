"""Verilog of an engine whose ports an independent bus model can drive."""

from amaranth.lib.wiring import In

from mixdit_hw.emit import emit_verilog
from mixdit_hw.engine.axi import axi_lite_slave, axi_master
from mixdit_hw.engine.engine import Engine
from mixdit_hw.engine.registers import ADDRESS_BITS
from mixdit_sim.engine.testbench import joined_monitors, monitor, verilog_part

TOP = "axi_testbench"


def axi_testbench_verilog(config):
    """The engine, its ports with the identifiers that it does not have, and monitors at all."""
    ports = ["input clk", "input rst", "output irq", "output [9:0] broken", "output open"]
    ports += ["output [1:0] control_broken"]
    pins = [".clk(clk)", ".rst(rst)", ".irq(irq)"]
    body = []
    groups = {"control": axi_lite_slave(ADDRESS_BITS)}
    for n in range(config.ports):
        groups[f"axi_{n}"] = axi_master(config.address_bits, config.port_bytes)
        body += monitor(config, n, f"axi_{n}__")
        for direction, channels in (("output", ("ar", "aw")), ("input", ("r", "b"))):
            ports += [f"{direction} axi_{n}__{channel}id" for channel in channels]
        body += [f"  assign axi_{n}__{channel}id = 0;" for channel in ("ar", "aw")]
    for group, signature in groups.items():
        for name, member in signature.members.items():
            direction = "input" if member.flow is In else "output"
            ports.append(f"{direction} [{member.shape - 1}:0] {group}__{name}")
            pins.append(f".{group}__{name}({group}__{name})")
    body += joined_monitors(config.ports)
    body += [hold("r", 34, "rdata", "rresp", 0), hold("b", 2, "bresp", None, 1)]
    lines = [f"module {TOP} (", ",\n".join(ports), ");", *body]
    lines += [f"  engine engine ({', '.join(pins)});", "endmodule\n"]
    return emit_verilog(Engine(config), "engine") + verilog_part("axi_monitor.v") + "\n".join(lines)


def hold(channel, bits, first, second, number):
    """A line that watches what the control port offers."""
    payload = ", ".join(f"control__{name}" for name in (first, second) if name)
    return (
        f"  mixdit_axi_hold #(.BITS({bits})) hold_{channel} (.clk(clk), .rst(rst), "
        f".valid(control__{channel}valid), .ready(control__{channel}ready), "
        f".payload({{{payload}}}), .broken(control_broken[{number}]));"
    )
