"""Yosys scripts of the targets."""

from __future__ import annotations

from dataclasses import dataclass

from mixdit_sw.errors import MixditError

from .targets import GENERIC_GATES, Target

MEMORY_LIMIT_BITS = 4096
"""Larger memories are macros, unless a caller says something else."""

_GENERIC = ["dfflegalize -cell $_DFF_P_ 01 -cell $_DLATCH_P_ x", f"abc -g {GENERIC_GATES}"]

# ABC commands of the recipes; None is Yosys's own script.
_MAP = "dch; map -B 0.9 {D}; topo; buffer -c -N 8; topo; upsize {D}; dnsize {D}"
RECIPES = {
    "reference": None,
    "sized": None,
    "balanced": f"strash; {_MAP}",
    "speed": f"strash; st; if -g -K 6; strash; {_MAP}",
}


@dataclass(frozen=True, kw_only=True)
class SynthOptions:
    """How to synthesize. The defaults are the flow that published areas are compared in.

    Attributes
    ----------
    recipe
        What ABC does with a Liberty file. `reference`: maps and leaves every net unbuffered.
        `sized`: the same, then buffers nets of large fanout and sizes gates. `balanced`: as
        `sized`, mapping for delay first. `speed`: as `balanced`, after rebuilding logic for depth
        at the cost of area.
    booth
        Booth-encoded multipliers.
    tree
        Sums of several operands become carry-save trees.
    alumacc
        Let Yosys merge multipliers and adders into one cell before mapping.
    delay_ps
        Delay target given to ABC; None for none.
    load_ff
        Load on every output, in fF; used by recipes that size gates.
    abc_script
        ABC commands, separated by `;`, instead of the recipe's; `{D}` is replaced by the delay
        target.
    flatten
        Make one unit of the whole design.
    dsp
        Let FPGA targets use their multiplier blocks.
    """

    recipe: str = "reference"
    booth: bool = False
    tree: bool = False
    alumacc: bool = True
    delay_ps: int | None = None
    load_ff: float = 20.0
    abc_script: str | None = None
    flatten: bool = False
    dsp: bool = False

    def __post_init__(self) -> None:
        if self.recipe not in RECIPES:
            raise MixditError(f"Recipe must be one of {', '.join(RECIPES)}, not {self.recipe!r}")
        if self.delay_ps is not None and self.delay_ps <= 0:
            raise MixditError(f"Delay target must be positive, not {self.delay_ps} ps")

    @property
    def sizes_gates(self) -> bool:
        """Whether ABC is told what drives the inputs and loads the outputs."""
        return self.recipe != "reference"


def synthesis_script(
    top: str, target: Target, options: SynthOptions, *, memory_limit_bits: int | None = None
) -> str:
    """Write the script that maps `unit.v` to a target.

    It leaves `netlist.v` and `stat.json` in the working folder.

    Parameters
    ----------
    top, target, options
        What to synthesize, and how.
    memory_limit_bits
        Leave memories of more bits out, as `memory.v` describes, instead of making them of
        flip-flops; None if there is none.
    """
    stat = "stat -json"
    if target.kind == "liberty":
        mapping = [*_synth(top, options, memory_limit_bits), *_liberty(options)]
        stat += " -liberty cells.lib"
    elif target.kind == "generic":
        mapping = [*_synth(top, options, memory_limit_bits), *_GENERIC]
    else:
        mapping = [_fpga(top, target.name, options)]
    commands = [
        "read_verilog unit.v",
        *mapping,
        "setundef -zero",
        "opt_clean -purge",
        f"tee -q -o stat.json {stat} -top {top}",
        "splitnets",
        "write_verilog -noattr -noexpr -simple-lhs netlist.v",
    ]
    return "\n".join(commands) + "\n"


def _synth(top: str, options: SynthOptions, memory_limit_bits: int | None) -> list[str]:
    flags = [
        "-booth" if options.booth else "",
        "-arith_tree" if options.tree else "",
        "" if options.alumacc else "-noalumacc",
    ]
    command = " ".join(["synth -flatten", *filter(None, flags), f"-top {top}"])
    if memory_limit_bits is None:
        return [command]
    return [
        "read_verilog memory.v",
        f"{command} -run begin:fine",
        f"techmap -D MIXDIT_MEMORY_LIMIT={memory_limit_bits} -map memory.v",
        f"{command} -run fine:",
    ]


def _liberty(options: SynthOptions) -> list[str]:
    abc = ["abc -liberty cells.lib"]
    if options.sizes_gates:
        abc.append("-constr constraints")
    if options.delay_ps is not None:
        abc.append(f"-D {options.delay_ps}")
    commands = options.abc_script or RECIPES[options.recipe]
    if commands is not None:
        delay = "" if options.delay_ps is None else f"-D {options.delay_ps}"
        commands = commands.replace("{D}", delay)
        abc.append(f"-script +{commands.replace(' ', ',')}")
    return ["dfflibmap -liberty cells.lib", " ".join(abc)]


def _fpga(top: str, family: str, options: SynthOptions) -> str:
    common = f"-flatten -top {top}" if family != "ice40" else f"-top {top}"
    if family == "xc7":
        return f"synth_xilinx -family xc7 -noiopad -noclkbuf {common}" + (
            "" if options.dsp else " -nodsp"
        )
    if family == "ecp5":
        return f"synth_ecp5 {common}" + ("" if options.dsp else " -nodsp")
    return f"synth_ice40 {common}" + (" -dsp" if options.dsp else "")
