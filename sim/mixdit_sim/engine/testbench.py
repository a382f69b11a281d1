"""Verilog of an engine with an ideal memory and a monitor at each port."""

from importlib import resources

from amaranth.lib.wiring import In

from mixdit_hw.emit import emit_verilog
from mixdit_hw.engine.axi import axi_lite_slave, axi_master
from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.engine import Engine
from mixdit_hw.engine.registers import ADDRESS_BITS

TOP = "testbench"
KNOBS = {
    "latency": 16,
    "gain": 16,
    "price": 16,
    "fault": 2,
    "fault_word": 32,
    "fault_port": 8,
    "load": 1,
    "dump": 1,
    "number": 32,
    "dump_first": 32,
    "dump_last": 32,
}
"""Inputs of the memories, and their widths."""
MEMORY_CHANNELS = ("addr", "len", "valid", "ready", "data", "resp", "last", "strb")


def testbench_verilog(config: EngineConfig, words: int) -> str:
    """Return engine, memories of so many bus words each, and the module that joins them.

    The testbench's ports are clk, rst, KNOBS, the engine's AXI4-Lite port `control__*`, `irq`, and
    of the monitors of all ports `broken` and `open` (axi_monitor.v).
    """
    engine = emit_verilog(Engine(config), "engine", fabric=config.array.fabric)
    parts = verilog_part("memory.v") + verilog_part("axi_monitor.v")
    return engine + parts + _joined(config, words)


def verilog_part(name: str) -> str:
    """Return a Verilog file of this package."""
    return resources.files(__package__).joinpath(name).read_text()


def _joined(config: EngineConfig, words: int) -> str:
    ports = ["input clk", "input rst", "output irq", "output [9:0] broken", "output open"]
    ports += [f"input [{width - 1}:0] {name}" for name, width in KNOBS.items()]
    pins = [".clk(clk)", ".rst(rst)", ".irq(irq)"]
    for name, member in axi_lite_slave(ADDRESS_BITS).members.items():
        if name.endswith("prot"):
            pins.append(f".control__{name}(3'd0)")
            continue
        direction = "input" if member.flow is In else "output"
        ports.append(f"{direction} [{member.shape - 1}:0] control__{name}")
        pins.append(f".control__{name}(control__{name})")
    body = []
    channels = axi_master(config.address_bits, config.port_bytes).members
    for n in range(config.ports):
        memory_pins = [".clk(clk)", ".rst(rst)", *(f".{name}({name})" for name in KNOBS)]
        for name, member in channels.items():
            body.append(f"  wire [{member.shape - 1}:0] axi_{n}__{name};")
            pins.append(f".axi_{n}__{name}(axi_{n}__{name})")
            if not name.endswith(("size", "burst")):
                memory_pins.append(f".{name}(axi_{n}__{name})")
        parameters = (
            f"#(.ADDRESS_BITS({config.address_bits}), .PORT_BYTES({config.port_bytes}), "
            f".WORDS({words}), .PORT({n}))"
        )
        body.append(f"  mixdit_memory {parameters} memory_{n} (\n    {_list(memory_pins)}\n  );")
        body += monitor(config, n, f"axi_{n}__")
    body += joined_monitors(config.ports)
    head = f"module {TOP} (\n  {_list(ports, '  ')}\n);\n"
    instance = f"  engine engine (\n    {_list(pins)}\n  );\n"
    return head + "\n".join(body) + "\n" + instance + "endmodule\n"


def monitor(config: EngineConfig, number: int, prefix: str) -> list[str]:
    """Return the lines of the monitor of a port whose wires have such a prefix."""
    names = axi_master(config.address_bits, config.port_bytes).members
    pins = [".clk(clk)", ".rst(rst)", f".broken(broken_{number})", f".open(open_{number})"]
    pins += [f".{name}({prefix}{name})" for name in names]
    parameters = f"#(.ADDRESS_BITS({config.address_bits}), .PORT_BYTES({config.port_bytes}))"
    return [
        f"  wire [9:0] broken_{number};",
        f"  wire open_{number};",
        f"  mixdit_axi_monitor {parameters} monitor_{number} (\n    {_list(pins)}\n  );",
    ]


def joined_monitors(count: int) -> list[str]:
    """Return the lines that join what the monitors of all ports say."""
    return [
        f"  assign {name} = {' | '.join(f'{name}_{n}' for n in range(count))};"
        for name in ("broken", "open")
    ]


def _list(items: list[str], indent: str = "    ") -> str:
    return f",\n{indent}".join(items)
