"""The commands that measure hardware: area, cycles, many configurations, a bitstream."""

from pathlib import Path
from typing import Annotated

import typer

from mixdit_cli import show, show_area, show_studies, terminal
from mixdit_cli.options import (
    DEFAULT_PRESET,
    Config,
    Json,
    Preset,
    array_of,
    check_outputs,
    engine_of,
    machine_of,
    save,
)
from mixdit_hw import area as hw_area
from mixdit_hw import generate as hw_generate
from mixdit_hw import preset_area as hw_preset_area
from mixdit_hw.area_picture import draw_area
from mixdit_hw.config import PRESETS
from mixdit_hw.engine.config import (
    ENGINES,
)
from mixdit_hw.fpga.bitstream import make_bitstream
from mixdit_hw.fpga.boards import BOARDS
from mixdit_hw.synth.targets import find_target
from mixdit_sim import estimate as sim_estimate
from mixdit_sim.executors import dask_cluster, local_processes
from mixdit_sim.sweep.picture import draw_sweep
from mixdit_sim.sweep.plan import read_sweep
from mixdit_sim.sweep.run import PICTURE, run_sweep
from mixdit_sim.workloads import get_workload, with_policy
from mixdit_sw.errors import MixditError

FPGA_PRESET = "ecp5"
REFERENCE = "reference"


def area(
    preset: Preset = None,
    config: Config = None,
    unit: Annotated[
        str | None,
        typer.Option(
            help=f"One of {', '.join(hw_generate.TOPS)}; without it the whole engine, by kind."
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="generic, xc7, ecp5, ice40, osu018, osu035 or a Liberty file; without it generic "
            "for a unit, the first library installed for the whole."
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="Of a Liberty target: recipe of docs/flows.md.", show_default=REFERENCE),
    ] = None,
    flop_memories: Annotated[
        int, typer.Option(help="Of the whole: make memories up to so many bits of flip-flops.")
    ] = 0,
    picture: Annotated[
        Path | None, typer.Option(help="Of the whole, but not on an FPGA: draw a treemap, as PNG.")
    ] = None,
    json_file: Json = None,
) -> None:
    """Report the area, and with a Liberty file and OpenSTA the clock."""
    check_outputs(json_file, picture)
    if unit is not None and (picture is not None or flop_memories):
        raise MixditError("--picture and --flop-memories are of the whole: leave --unit out")
    target = target or ("generic" if unit else hw_preset_area.best_target())
    kind = find_target(target).kind
    if recipe is not None and kind != "liberty":
        raise MixditError(f"--recipe is for Liberty targets, not {target}")
    if picture is not None and kind == "fpga":
        raise MixditError(f"--picture is by kind, which target {target} has not")
    recipe = recipe or REFERENCE
    if unit is not None:
        array = array_of(preset, config)
        with terminal.working(f"Synthesizing {unit}") as progress:
            report = hw_area.report_area(
                array, top=unit, target=target, recipe=recipe, progress=progress
            )
        save(json_file, report.to_dict())
        show_area.area(report)
        return
    machine = machine_of(preset, config)
    with terminal.working("Synthesizing") as progress:
        whole = hw_preset_area.report_preset(
            machine,
            target=target,
            recipe=recipe,
            memory_limit_bits=flop_memories,
            progress=progress,
        )
    save(json_file, whole.to_dict())
    show_area.preset_area(whole)
    if picture is not None:
        draw_area(whole, f"{whole.top} of {config or preset or DEFAULT_PRESET}", picture)


def estimate(
    model: Annotated[str, typer.Option(help="Model and resolution, such as dit-xl-2-512.")],
    preset: Annotated[str, typer.Option(help=f"Engine: {', '.join(ENGINES)}.")] = "paper",
    clock_ghz: Annotated[float, typer.Option(help="Clock of the engine.")] = 1.0,
    high_share: Annotated[
        float | None,
        typer.Option(help="Share of MX9 channels in linear layers, instead of MixDiT's."),
    ] = None,
    high_heads: Annotated[
        int | None, typer.Option(help="MX9 heads of self-attention, instead of MixDiT's.")
    ] = None,
    json_file: Json = None,
) -> None:
    """Estimate a denoising step by the engine's cycle model."""
    workload = with_policy(get_workload(model), high_share, high_heads)
    check_outputs(json_file)
    with terminal.working("Estimating") as progress:
        report = sim_estimate.estimate(workload, preset, clock_ghz, progress)
    save(json_file, report.to_dict())
    show.estimate(report)


def sweep(
    file: Annotated[
        Path | None, typer.Argument(help="Sweep as TOML (docs/sweep.md); the default one without.")
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(help="Dimension in every grid, instead of the file's: name=value,value."),
    ] = None,
    scope: Annotated[str | None, typer.Option(help="array or engine.")] = None,
    target: Annotated[
        str | None, typer.Option(help="auto, generic, osu018, osu035 or a Liberty file.")
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="Recipe of docs/flows.md.")] = None,
    workload: Annotated[
        str | None, typer.Option(help="Model and resolution, such as dit-s-2-256.")
    ] = None,
    quality: Annotated[
        bool | None, typer.Option("--quality/--no-quality", help="Measure QSNR.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of results; a later run goes on there.")] = Path(
        "build/sweep"
    ),
    jobs: Annotated[int | None, typer.Option(help="Local processes; one a core.")] = None,
    dask: Annotated[
        str | None, typer.Option(help="Dask scheduler, such as tcp://host:8786, instead.")
    ] = None,
    json_file: Json = None,
) -> None:
    """Measure many configurations: area, clock, cycles, quality; resumable."""
    options = {"scope": scope, "target": target, "recipe": recipe, "workload": workload}
    plan = read_sweep(file, {**options, "quality": quality}, vary or ())
    check_outputs(out / PICTURE, json_file)
    where = local_processes(jobs) if dask is None else dask_cluster(dask)
    with where as executor, terminal.counting("Sweep") as progress:
        result = run_sweep(plan, out, executor, progress)
    save(json_file, result.to_dict())
    show_studies.sweep(result, out, draw_sweep(result, out / PICTURE))
    if any(point.failed for point in result.points):
        raise typer.Exit(1)


def bitstream(
    out: Annotated[Path, typer.Option(help="Folder for selftest.bit and selftest.v.")],
    preset: Annotated[
        str | None,
        typer.Option(help=f"Engine: {', '.join(PRESETS)}.", show_default=FPGA_PRESET),
    ] = None,
    config: Config = None,
    board: Annotated[str, typer.Option(help=f"One of {', '.join(BOARDS)}.")] = "ulx3s",
    json_file: Json = None,
) -> None:
    """Place and route an engine that tests itself, for a board with an ECP5-85F.

    The preset ecp5 takes some 25 minutes of processor time, one thread; synthesis, 4 of them, is
    kept if it is interrupted. Exit status 1 if the design is slower than the board's clock.
    """
    engine = engine_of(preset, config, FPGA_PRESET)
    check_outputs(json_file)
    with terminal.working("Bitstream") as progress:
        report = make_bitstream(engine, out, board=board, progress=progress)
    save(json_file, report.to_dict())
    show_area.bitstream(report)
    if not report.passed:
        raise typer.Exit(1)


ALL = (area, estimate, sweep, bitstream)
