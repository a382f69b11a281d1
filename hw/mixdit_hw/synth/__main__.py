"""Command line of the synthesis flow: area and timing of a Verilog file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mixdit_sw.errors import MixditError

from .ecp5 import Ecp5Report, place_and_route
from .flow import SynthReport, synthesize
from .scripts import RECIPES, SynthOptions
from .timing import TimingReport, analyze_timing


def main(arguments: list[str] | None = None) -> int:
    """Run the flow and print its result; exit status 2 if the input is at fault."""
    args = _parser().parse_args(arguments)
    try:
        options = _options(args)
        report = synthesize(
            Path(args.file), args.top, args.target, options, lambda s: print(s, file=sys.stderr)
        )
        print_area(report)
        if args.place:
            print_fit(place_and_route(Path(args.file).read_text(), args.top, dsp=args.dsp))
        if report.ge is not None and args.target != "generic" and not args.no_timing:
            print_timing(analyze_timing(report.netlist, args.top, args.target), args.verbose)
    except MixditError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _options(args: argparse.Namespace) -> SynthOptions:
    return SynthOptions(
        recipe=args.recipe,
        booth=args.booth,
        tree=args.tree,
        alumacc=not args.no_alumacc,
        delay_ps=args.delay,
        abc_script=args.abc,
        flatten=args.flatten,
        dsp=args.dsp,
    )


def print_area(report: SynthReport) -> None:
    """Print one line for each unit and the sum."""
    print(f"{report.top} on {report.target}, {report.tool}")
    measure = "GE" if report.ge is not None else "LUT"
    for unit in report.units:
        each = unit.area if unit.ge is None else unit.ge
        print(
            f"  {unit.name:32} x{unit.instances:<5} {each:10.1f} {measure}"
            f"  {unit.flops:5} flops  {unit.folder}"
        )
    if report.memory_bits:
        print(f"  {'memories, not in the sum':32}  {'':5} {report.memory_bits:10} bits")
    total = report.area if report.ge is None else report.ge
    print(f"  {'total':32}  {'':5} {total:10.1f} {measure}  netlist {report.netlist}")


def print_timing(report: TimingReport, verbose: bool = False) -> None:
    """Print the period, and the slowest path of each group."""
    if report.fmax_mhz is not None:
        print(f"  Fmax {report.fmax_mhz:.1f} MHz, period {report.min_period_ns:.3f} ns")
    for group, path in report.paths.items():
        ends = f"{path.start} -> {path.end}"
        print(f"  {group:9} {path.delay_ns:7.3f} ns  {path.stages:3} cells  {ends}")
    if verbose and report.paths:
        print(next(iter(report.paths.values())).report)
    print(f"  {report.tool}, log {report.log}")


def print_fit(report: Ecp5Report) -> None:
    """Print the clock and the share of an ECP5-85F."""
    shares = ", ".join(f"{n} of {report.available[cell]} {cell}" for cell, n in report.used.items())
    fmax = "no clock" if report.fmax_mhz is None else f"Fmax {report.fmax_mhz:.1f} MHz"
    print(f"  ECP5-85F, placed and routed: {fmax}; {shares}; {report.folder}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mixdit_hw.synth", description=__doc__)
    parser.add_argument("file", help="Verilog file")
    parser.add_argument("top", help="top module")
    parser.add_argument(
        "--target",
        default="osu018",
        help="generic, xc7, ecp5, ice40, osu018, osu035 or a Liberty file",
    )
    parser.add_argument("--booth", action="store_true", help="Booth multipliers")
    parser.add_argument("--tree", action="store_true", help="carry-save adder trees")
    parser.add_argument("--no-alumacc", action="store_true", help="keep multipliers and adders")
    parser.add_argument("--delay", type=int, metavar="PS", help="delay target for ABC")
    parser.add_argument("--recipe", default="reference", help=f"one of {', '.join(RECIPES)}")
    parser.add_argument("--abc", metavar="SCRIPT", help="ABC commands instead of Yosys's")
    parser.add_argument("--flatten", action="store_true", help="one unit of the whole design")
    parser.add_argument("--dsp", action="store_true", help="use FPGA multiplier blocks")
    parser.add_argument("--place", action="store_true", help="place and route for an ECP5-85F")
    parser.add_argument("--no-timing", action="store_true", help="area only")
    parser.add_argument("--verbose", action="store_true", help="print the critical path")
    return parser


if __name__ == "__main__":
    sys.exit(main())
