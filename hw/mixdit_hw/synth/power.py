"""Energy of a mapped unit at work: activity of a simulated run, energies of the Liberty file.

OpenSTA gives slews and delays. Its own power report (2.0.17) takes no waveform, ignores activities
set on the nets of combinational logic, and counts internal energy twice, so energies are summed up
here; `docs/baselines.md` has the check.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mixdit_sw.errors import MixditError

from ..tools import cached_folder, content_key, failed_folder, require_program, run_logged
from .activity import Delays, Run, Toggles, compile_bench, run_bench
from .liberty import Library, Pin, read_library
from .netlist import Instance, Netlist, flatten, parse_flat
from .targets import find_target

OUTPUT_LOAD_PF = 0.02
"""Load on every output, as the recipes that size gates have it."""
CLOCK_SLEW_NS = 0.06
"""Transition time of the ideal clock and of the inputs."""
VERSION = 1
"""Part of the cache's key: changes with the method."""

_SCRIPT = f"""\
read_liberty cells.lib
read_verilog flat.v
link_design {{top}}
create_clock -name clock -period 1000 [get_ports clk]
set_clock_transition {CLOCK_SLEW_NS} [get_clocks clock]
set_input_transition {CLOCK_SLEW_NS} [all_inputs]
set_load {OUTPUT_LOAD_PF} [all_outputs]
report_checks
write_sdf delays.sdf
set file [open slews.txt w]
foreach pin [get_pins *] {{
  set rise [get_property $pin actual_rise_transition_max]
  set fall [get_property $pin actual_fall_transition_max]
  puts $file "[get_full_name $pin] $rise $fall"
}}
close $file
puts "== end"
exit
"""
_ARC = re.compile(r"\(IOPATH \S+ (\S+) \(([\d.]*):*([\d.]*)\) \(([\d.]*):*([\d.]*)\)\)")


@dataclass(frozen=True)
class EnergyReport:
    """Energy of a unit for a clock cycle, in pJ.

    Attributes
    ----------
    switching
        Charging the pins that nets drive, and the output loads.
    internal
        Inside combinational cells.
    registers
        Inside flip-flops: their clock pins, data pins and outputs.
    clock
        Charging the clock pins of flip-flops. There is no clock tree in the netlist.
    leakage
        At the simulated period.
    period_ns, cycles
        Of the simulated run, cycles as far as they are counted.
    toggles_per_net
        Transitions of a net in a cycle, mean of all but the clock.
    folder
        Stimulus, results, and `activity.csv`: transitions by net.
    netlist_folder
        Flat netlist, models, slews, delays and OpenSTA's log.
    """

    switching: float
    internal: float
    registers: float
    clock: float
    leakage: float
    period_ns: float
    cycles: int
    toggles_per_net: float
    folder: Path
    netlist_folder: Path

    @property
    def total(self) -> float:
        """All of it."""
        return self.switching + self.internal + self.registers + self.clock + self.leakage


def measure_energy(
    mapped: Path,
    top: str,
    target: str,
    stimulus: Sequence[dict[str, int]],
    period_ns: float,
    warm_up: int = 16,
) -> EnergyReport:
    """Simulate a mapped netlist on a stimulus and sum up its energy.

    Parameters
    ----------
    mapped, top, target
        Netlist as `synthesize` gives it, its top module, and the Liberty target.
    stimulus
        Values of the input ports, cycle by cycle, without `clk` and `rst`.
    period_ns
        Clock period, no shorter than the netlist allows.
    warm_up
        First cycles, which are not counted.

    Raises
    ------
    MixditError
        If the target has no Liberty file, or a tool is missing or fails.
    """
    liberty = find_target(target).liberty
    if liberty is None:
        raise MixditError(f"Target {target} has no energies: give a Liberty file or osu018")
    library = read_library(liberty)
    run = Run(2 * round(period_ns * 500), len(stimulus), warm_up)
    prepared = _prepare(mapped.read_text(), top, liberty, run)
    cycles = run.cycles - warm_up
    key = content_key(prepared.name, json.dumps([list(s.items()) for s in stimulus]))

    def fill(folder: Path) -> None:
        netlist = parse_flat((prepared / "flat.v").read_text())
        toggles = run_bench(netlist, prepared / "bench.vvp", stimulus, folder)
        _check(netlist, toggles, cycles)
        _check_known((folder / "results.hex").read_text().split()[warm_up:])
        rows = [f"{net},{t.rises},{t.falls}\n" for net, t in sorted(toggles.items())]
        (folder / "activity.csv").write_text("".join(["net,rises,falls\n", *rows]))
        slews = _slews((prepared / "slews.txt").read_text())
        values = {
            **sum_energies(netlist, library, slews, toggles, cycles, run.period_ps / 1000),
            "period_ns": run.period_ps / 1000,
            "cycles": cycles,
            "toggles_per_net": _mean_toggles(toggles, cycles),
        }
        (folder / "energy.json").write_text(json.dumps(values, indent=2) + "\n")

    folder = cached_folder("power", key, fill)
    values = json.loads((folder / "energy.json").read_text())
    return EnergyReport(**values, folder=folder, netlist_folder=prepared)


def _prepare(mapped: str, top: str, liberty: str, run: Run) -> Path:
    """Folder with the flat netlist, its slews, and its compiled test bench."""
    sta = require_program("sta")
    script = _SCRIPT.replace("{top}", top)
    key = content_key(mapped, top, liberty, script, repr(run), str(VERSION))

    def fill(folder: Path) -> None:
        netlist = flatten(mapped, top, liberty, folder)
        (folder / "script.tcl").write_text(script)
        run_logged([sta, "-no_splash", "-exit", "script.tcl"], folder, "sta.log")
        log = (folder / "sta.log").read_text()
        if "== end" not in log or re.search(r"^Error", log, re.M):
            place = failed_folder("gates", key) / "sta.log"
            raise MixditError(f"OpenSTA failed on module {top}: see {place}")
        delays = read_delays((folder / "delays.sdf").read_text())
        compile_bench(netlist, top, read_library(liberty), delays, run, folder)

    return cached_folder("gates", key, fill)


def sum_energies(
    netlist: Netlist,
    library: Library,
    slews: dict[str, float],
    toggles: dict[str, Toggles],
    cycles: int,
    period_ns: float,
) -> dict[str, float]:
    """Energies of a cycle by kind, in pJ: the first five members of `EnergyReport`.

    A transition takes half of C V^2, and what the cell's tables say for the net's load and the
    input's slew; where a table for each related input is given, their mean.
    """
    loads = _loads(netlist, library)
    volts2 = library.voltage**2
    energy = dict.fromkeys(("switching", "internal", "registers", "clock", "leakage"), 0.0)
    for net, load in loads.items():
        seen = toggles.get(net)
        if seen is not None:
            kind = "clock" if net == "clk" else "switching"
            energy[kind] += seen.total * load * volts2 / 2
    for instance in netlist.instances:
        cell = library.cells[instance.cell]
        kind = "internal" if cell.storage is None else "registers"
        energy["leakage"] += cell.leakage_nw * 1e-6 * period_ns * cycles  # nW * ns = 1e-6 pJ
        for pin in cell.pins.values():
            net = _root(netlist, instance.nets.get(pin.name, ""))
            seen = toggles.get(net)
            if seen is not None and seen.total:
                load = loads.get(net, 0.0) if pin.is_output else 0.0
                energy[kind] += _internal(instance, pin, seen, load, slews)
    return {kind: value / cycles for kind, value in energy.items()}


def read_delays(sdf: str) -> Delays:
    """Slowest delays of each output pin from an SDF file, in ps."""
    delays: Delays = {}
    for block in sdf.split("(CELLTYPE ")[1:]:
        instance = re.search(r"\(INSTANCE (\w+)\)", block)
        if instance is None:
            continue
        for pin, *numbers in _ARC.findall(block):
            rise, fall = (
                max((round(1000 * float(x)) for x in pair if x), default=1)
                for pair in (numbers[:2], numbers[2:])
            )
            old = delays.get((instance[1], pin), (1, 1))
            delays[instance[1], pin] = max(old[0], rise), max(old[1], fall)
    return delays


def _internal(
    instance: Instance, pin: Pin, seen: Toggles, load: float, slews: dict[str, float]
) -> float:
    """Energy of a pin's transitions inside its cell, of the whole run."""
    total = 0.0
    for energy in pin.energies:
        slew = slews.get(f"{instance.name}/{energy.related}", CLOCK_SLEW_NS)
        total += seen.rises * energy.rise.at(load, slew) + seen.falls * energy.fall.at(load, slew)
    return total / max(1, len(pin.energies))


def _loads(netlist: Netlist, library: Library) -> dict[str, float]:
    """Capacitance of every net: of the input pins on it, and of an output port."""
    loads: dict[str, float] = {}
    for instance in netlist.instances:
        for pin, net in instance.nets.items():
            cell_pin = library.cells[instance.cell].pins[pin]
            net = _root(netlist, net)
            loads[net] = loads.get(net, 0.0) + (0.0 if cell_pin.is_output else cell_pin.capacitance)
    for port, width in netlist.outputs.items():
        for i in range(width):
            net = _root(netlist, f"{port}[{i}]" if width > 1 else port)
            loads[net] = loads.get(net, 0.0) + OUTPUT_LOAD_PF
    return loads


def _root(netlist: Netlist, net: str) -> str:
    """Net that drives a net, through assignments."""
    while net in netlist.aliases:
        net = netlist.aliases[net]
    return net


def _slews(text: str) -> dict[str, float]:
    """Mean of the rising and falling slew of every pin, in ns."""
    slews = {}
    for line in text.splitlines():
        pin, rise, fall = line.split()
        values = [float(x) for x in (rise, fall) if float(x) > 0]
        slews[pin] = sum(values) / len(values) if values else CLOCK_SLEW_NS
    return slews


def _check(netlist: Netlist, toggles: dict[str, Toggles], cycles: int) -> None:
    """See that the waveform is of this netlist and that long."""
    nets = {_root(netlist, n) for i in netlist.instances for n in i.nets.values()}
    missing = sorted(n for n in nets if n not in toggles and n and not n.startswith("1'"))
    if missing:
        raise MixditError(f"Net {missing[0]} of the netlist is not in the waveform")
    clock = toggles.get("clk", Toggles())
    if abs(clock.total - 2 * cycles) > 1:
        raise MixditError(f"The clock has {clock.total} transitions in {cycles} cycles")


def _check_known(results: list[str]) -> None:
    """See that every output has a value once the warm-up is over."""
    unknown = [i for i, word in enumerate(results) if set(word) & set("xXzZ")]
    if unknown:
        raise MixditError(f"An output is unknown {unknown[0]} cycles after the warm-up")


def _mean_toggles(toggles: dict[str, Toggles], cycles: int) -> float:
    totals = [t.total for net, t in toggles.items() if net != "clk"]
    return sum(totals) / cycles / max(1, len(totals))
