"""Switching activity of a flat netlist: simulated with delays, counted from the waveform."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mixdit_sw.errors import MixditError

from ..tools import require_program, run_logged
from .gates import cell_model
from .liberty import Library
from .netlist import Netlist

RESET_CYCLES = 2
_INSTANCE = re.compile(r"^  (\w+) (\w+) \($", re.M)


@dataclass
class Toggles:
    """Transitions of a net.

    Attributes
    ----------
    rises, falls
        From 0 to 1 and from 1 to 0.
    """

    rises: int = 0
    falls: int = 0

    @property
    def total(self) -> int:
        """Both."""
        return self.rises + self.falls


Delays = dict[tuple[str, str], tuple[int, int]]
"""Delays in ps, rising and falling, of an instance's output pin."""


@dataclass(frozen=True)
class Run:
    """How long a netlist is simulated.

    Attributes
    ----------
    period_ps
        Clock period.
    cycles, warm_up
        Cycles of the stimulus, and how many of them are not counted.
    """

    period_ps: int
    cycles: int
    warm_up: int


def compile_bench(
    netlist: Netlist, top: str, library: Library, delays: Delays, run: Run, folder: Path
) -> None:
    """Compile a netlist with delays and its test bench in a folder, for `run_bench`.

    A pulse that is shorter than a cell's delay does not pass it (inertial delay); longer ones, the
    glitches, count.

    Raises
    ------
    MixditError
        If Icarus is not installed or fails.
    """
    used = sorted({instance.cell for instance in netlist.instances})
    models = "\n".join(cell_model(library.cells[name]) for name in used)
    (folder / "models.v").write_text(f"`timescale 1ps/1ps\n{models}")
    (folder / "timed.v").write_text(f"`timescale 1ps/1ps\n{with_delays(netlist.text, delays)}")
    (folder / "bench.v").write_text(_bench(netlist, top, run))
    command = [require_program("iverilog"), "-g2005", "-o", "bench.vvp"]
    if run_logged([*command, "bench.v", "timed.v", "models.v"], folder, "iverilog.log"):
        raise MixditError(f"Icarus could not compile {top}: see {folder / 'iverilog.log'}")


def run_bench(
    netlist: Netlist, bench: Path, stimulus: Sequence[dict[str, int]], folder: Path
) -> dict[str, Toggles]:
    """Run a compiled test bench on a stimulus; count transitions.

    Parameters
    ----------
    netlist
        What was compiled.
    bench
        The compiled file.
    stimulus
        Values of the input ports, cycle by cycle; they change with the clock's rising edge. Ports
        `clk` and `rst` are driven by the bench.
    folder
        For the stimulus, the log, and `results.hex`: all outputs, the first one in the low bits,
        at every rising edge before which the stimulus was applied.

    Returns
    -------
    dict
        Transitions by net, over the cycles after the warm-up. A bit of a port is `name[i]`.

    Raises
    ------
    MixditError
        If the simulation fails.
    """
    with (folder / "stimulus.hex").open("w") as file:
        file.writelines(_word(netlist, values) for values in stimulus)
    if run_logged([require_program("vvp"), "-n", str(bench)], folder, "vvp.log"):
        raise MixditError(f"The gate-level simulation failed: see {folder / 'vvp.log'}")
    wave = folder / "wave.vcd"
    with wave.open() as lines:
        toggles = count_toggles(lines)
    wave.unlink()
    return toggles


def count_toggles(lines: Iterable[str]) -> dict[str, Toggles]:
    """Count the transitions in a waveform (VCD) of one scope, by net.

    The values at the first time are where counting starts; changes from or to X or Z do not count.
    """
    names: dict[str, list[str]] = {}
    found: dict[str, Toggles] = {}
    lines = iter(lines)
    for line in lines:
        words = line.split()
        if words[:1] == ["$var"]:
            width, code, name = int(words[2]), words[3], words[4]
            bits = [f"{name}[{i}]" for i in reversed(range(width))] if width > 1 else [name]
            names.setdefault(code, bits)
        elif words[:1] == ["$enddefinitions"]:
            break
    state: dict[str, str] = {}
    counts = {code: [Toggles() for _ in bits] for code, bits in names.items()}
    for line in lines:
        first = line[0]
        if first in "01xzXZ":
            value, code = first, line[1:].strip()
        elif first in "bB":
            value, code = line[1:].split()
        else:
            continue
        if code not in counts:
            continue
        bits = counts[code]
        if len(value) < len(bits):
            value = value.rjust(len(bits), value[0] if value[0] in "xzXZ" else "0")
        before = state.get(code)
        state[code] = value
        if before is None:
            continue
        for bit, old, new in zip(bits, before, value, strict=True):
            if old == "0" and new == "1":
                bit.rises += 1
            elif old == "1" and new == "0":
                bit.falls += 1
    for code, bits in names.items():
        found.update(zip(bits, counts[code], strict=True))
    return found


def with_delays(netlist: str, delays: Delays) -> str:
    """Give each instance its delays, as parameters of the cell models."""
    by_instance: dict[str, list[str]] = {}
    for (instance, pin), (rise, fall) in delays.items():
        by_instance.setdefault(instance, []).append(f".R_{pin}({rise}), .F_{pin}({fall})")

    def insert(match: re.Match[str]) -> str:
        values = by_instance.get(match[2])
        return f"  {match[1]} #({', '.join(values)}) {match[2]} (" if values else match[0]

    return _INSTANCE.sub(insert, netlist)


def _fields(netlist: Netlist) -> list[str]:
    """Input ports that the stimulus drives."""
    return [port for port in netlist.inputs if port not in ("clk", "rst")]


def _word(netlist: Netlist, values: dict[str, int]) -> str:
    """Return a cycle's inputs as a line for `$readmemh`, the first field in the low bits."""
    word, at = 0, 0
    for name in _fields(netlist):
        width = netlist.inputs[name]
        word |= (values[name] & (1 << width) - 1) << at
        at += width
    return f"{word:x}\n"


def _bench(netlist: Netlist, top: str, run: Run) -> str:
    """Write the test bench: clock, reset, stimulus, waveform of the unit's nets."""
    fields = _fields(netlist)
    # A unit without inputs gets a word that goes nowhere.
    width = max(1, sum(netlist.inputs[name] for name in fields))
    half = run.period_ps // 2
    connections = [".clk(clk)"] if "clk" in netlist.inputs else []
    connections += [".rst(rst)"] if "rst" in netlist.inputs else []
    at = 0
    for name in fields:
        connections.append(f".{name}(word[{at + netlist.inputs[name] - 1}:{at}])")
        at += netlist.inputs[name]
    results = []
    wires = []
    for name, bits in netlist.outputs.items():
        connections.append(f".{name}({name}_o)")
        wires.append(f"  wire [{bits - 1}:0] {name}_o;\n")
        results.insert(0, f"{name}_o")
    return f"""\
`timescale 1ps/1ps
module bench;
  reg clk = 0, rst = 1;
  reg [{width - 1}:0] words [0:{run.cycles - 1}];
  reg [{width - 1}:0] word = 0;
  integer i, results;
{"".join(wires)}  {top} unit ({", ".join(connections)});
  always #{half} clk = ~clk;
  initial begin
    $readmemh("stimulus.hex", words);
    results = $fopen("results.hex");
    repeat ({RESET_CYCLES}) @(posedge clk);
    rst <= 0;
    for (i = 0; i < {run.cycles}; i = i + 1) begin
      word <= words[i];
      if (i == {run.warm_up}) begin
        $dumpfile("wave.vcd");
        $dumpvars(1, unit);
      end
      @(posedge clk);
      $fdisplay(results, "%h", {{{", ".join(results)}}});
    end
    $finish(0);
  end
endmodule
"""
