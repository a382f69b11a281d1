"""Search for the form of a unit that does most multiply-adds a second for its area."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from amaranth.lib import wiring

from ...emit import emit_verilog
from ..flow import synthesize
from ..scripts import SynthOptions
from ..timing import analyze_timing
from .variants import Candidate


@dataclass(frozen=True)
class Measured:
    """One form of a unit, synthesized.

    Attributes
    ----------
    name, module, build
        Of the candidate, of its form's top module; what builds the form.
    booth, flat
        Options it was synthesized with.
    ge, fmax_mhz
        Area; clock between registers, or from an input to one if that is slower.
    macs
        Multiply-adds a cycle by mode.
    start, end
        Of the slowest path.
    netlist, folders, timing_log
        Mapped Verilog; folders with the log of each unit's synthesis; OpenSTA's log.
    """

    name: str
    module: str
    build: Callable[[], wiring.Component]
    booth: bool
    flat: bool
    ge: float
    fmax_mhz: float
    macs: dict[str, int]
    start: str
    end: str
    netlist: Path
    folders: list[Path]
    timing_log: Path

    def ge_per_mac(self, mode: str = "") -> float:
        """Area for each multiply-add a cycle."""
        return self.ge / self.macs[mode]

    def rate(self, mode: str = "") -> float:
        """Multiply-adds a second and gate equivalent, in thousands, at the highest clock."""
        return 1000 * self.fmax_mhz / self.ge_per_mac(mode)


def measure_forms(
    candidate: Candidate,
    target: str,
    recipe: str,
    delay_ps: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[Measured]:
    """Synthesize a unit in all its forms, the best MAC/s per area first.

    Parameters
    ----------
    candidate
        Unit.
    target, recipe, delay_ps
        Liberty target, recipe and delay target for ABC: the same for every unit of a comparison.
    progress
        Told in a line what takes long.

    Raises
    ------
    MixditError
        When a tool is missing or fails.
    """
    found = []
    for form, has_product in candidate.forms:
        for booth in (False, True)[: 1 + has_product]:
            for flat in (False, True)[: 1 + candidate.flat]:
                component = form()
                module = getattr(component, "module_name", "array")
                options = SynthOptions(recipe=recipe, booth=booth, flatten=flat, delay_ps=delay_ps)
                text = emit_verilog(component, module)
                report = synthesize(text, module, target, options, progress)
                timing = analyze_timing(report.netlist, module, target)
                groups = [timing.paths[g] for g in ("register", "input") if g in timing.paths]
                slowest = max(groups, key=lambda path: path.delay_ns)
                assert report.ge is not None
                found.append(
                    Measured(
                        name=candidate.name,
                        module=module,
                        build=form,
                        booth=booth,
                        flat=flat,
                        ge=report.ge,
                        fmax_mhz=1000 / slowest.delay_ns,
                        macs=candidate.macs,
                        start=slowest.start,
                        end=slowest.end,
                        netlist=report.netlist,
                        folders=[unit.folder for unit in report.units],
                        timing_log=timing.log,
                    )
                )
    return sorted(found, key=lambda x: x.ge / x.fmax_mhz)
