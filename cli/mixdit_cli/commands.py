"""The commands: arguments to calls, results to tables and JSON."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from mixdit_cli import show
from mixdit_hw import area as hw_area
from mixdit_hw import generate as hw_generate
from mixdit_hw import preset_area as hw_preset_area
from mixdit_hw.area_picture import draw_area
from mixdit_hw.config import PRESETS, ArrayConfig, get_preset
from mixdit_hw.engine.config import (
    ENGINES,
    EngineConfig,
    engine_for,
    engine_from_dict,
    get_engine,
)
from mixdit_hw.fpga.bitstream import make_bitstream
from mixdit_hw.fpga.boards import BOARDS
from mixdit_sim import estimate as sim_estimate
from mixdit_sim import gemm as sim_gemm
from mixdit_sim.simulator import SimulationError as SimulationError
from mixdit_sim.sweep.executors import dask_cluster, local_processes
from mixdit_sim.sweep.picture import draw_sweep
from mixdit_sim.sweep.plan import read_sweep
from mixdit_sim.sweep.run import PICTURE, run_sweep
from mixdit_sim.workloads import get_workload, with_policy
from mixdit_sw import quantize_file
from mixdit_sw.errors import MixditError
from mixdit_sw.files import check_writable, load_matrix, load_object, save_npy, write_atomically
from mixdit_sw.formats import MODES, Rounding, load_formats

UserFormats = Annotated[
    Path | None, typer.Option("--formats", help="Python file that registers formats of your own.")
]
Json = Annotated[Path | None, typer.Option("--json", help="Write the result here as JSON.")]
Preset = Annotated[str, typer.Option(help=f"Array: {', '.join(PRESETS)}.")]
Config = Annotated[Path | None, typer.Option(help="Array as JSON, instead of a preset.")]
Simulator = Annotated[str, typer.Option(help="verilator or icarus.")]
Accumulator = Annotated[
    str | None, typer.Option(help="fp32 or aligned<f>, instead of the array's.")
]
Waves = Annotated[
    Path | None,
    typer.Option(help="Record waveforms: .vcd (Verilator), .fst (Icarus; docs/flows.md)."),
]


def generate(
    out: Annotated[Path, typer.Option(help="Folder for the Verilog and manifest.json.")],
    preset: Preset = "small",
    config: Config = None,
    top: Annotated[str, typer.Option(help=f"One of {', '.join(hw_generate.TOPS)}.")] = "array",
    json_file: Json = None,
) -> None:
    """Emit Verilog."""
    with show.working(f"Emitting {top}"):
        manifest = hw_generate.generate(_machine(preset, config), top, out)
    _save(json_file, manifest)
    show.manifest(manifest, out)


def quantize(
    source: Annotated[Path, typer.Argument(help="float32 .npy, or .npz with --dequantize.")],
    out: Annotated[Path, typer.Option(help="Result: .npz, or .npy with --dequantize.")],
    format_name: Annotated[
        str, typer.Option("--format", help="Its name in docs/formats.md.")
    ] = "mx6",
    dequantize: Annotated[bool, typer.Option(help="Back from .npz to .npy.")] = False,
    rounding: Annotated[str, typer.Option(help=f"One of {', '.join(MODES)}.")] = MODES[0],
    seed: Annotated[int, typer.Option(help="Seed of stochastic rounding.")] = 0,
    formats: UserFormats = None,
    json_file: Json = None,
) -> None:
    """Quantize a tensor along its last axis, or turn one back."""
    _load(formats)
    _check_outputs(out, json_file)
    with show.working("Dequantizing" if dequantize else "Quantizing"):
        if dequantize:
            report = quantize_file.dequantize_npz(source, out)
        else:
            how = Rounding(rounding, seed)
            report = quantize_file.quantize_npy(source, format_name, out, how)
    _save(json_file, report)
    show.values(report, out)


def gemm(
    a: Annotated[Path, typer.Argument(help="A (M, K), float32 .npy.")],
    b: Annotated[Path, typer.Argument(help="B (N, K), float32 .npy.")],
    out: Annotated[Path, typer.Option(help="C = A @ B.T (M, N), float32 .npy.")],
    a_format: Annotated[str, typer.Option(help="Format of A, as in docs/formats.md.")] = "mx6",
    b_format: Annotated[str, typer.Option(help="Format of B.")] = "mx6",
    high_channels: Annotated[
        str | None,
        typer.Option(
            help="Channels in MX9 in A: the N largest, or a file of indices (text or .npy); "
            "completed to a multiple of 16 by the next largest."
        ),
    ] = None,
    b_high_channels: Annotated[str | None, typer.Option(help="The same for B.")] = None,
    plan: Annotated[
        Path | None, typer.Option(help="Plan of `mixdit search`, instead of formats and channels.")
    ] = None,
    layer: Annotated[str | None, typer.Option(help="Layer of the plan.")] = None,
    head: Annotated[int, typer.Option(help="Head of the layer, if it is a product.")] = 0,
    accumulator: Accumulator = None,
    backend: Annotated[str, typer.Option(help="float, golden or rtl.")] = "golden",
    preset: Preset = "small",
    config: Config = None,
    simulator: Simulator = "verilator",
    waves: Waves = None,
    formats: UserFormats = None,
    json_file: Json = None,
) -> None:
    """Multiply on the array: in floating point, by the golden model, or on simulated RTL."""
    _load(formats)
    options = sim_gemm.GemmOptions(
        a_format=a_format,
        b_format=b_format,
        a_high=high_channels,
        b_high=b_high_channels,
        accumulator=accumulator,
        backend=backend,
        simulator=simulator,
        waves=waves,
        plan=plan,
        layer=layer,
        head=head,
    )
    array = _machine(preset, config)
    _check_outputs(out, json_file, waves)
    with show.working(f"Multiplying ({backend})") as progress:
        c, report = sim_gemm.run_gemm(load_matrix(a), load_matrix(b), array, options, progress)
    save_npy(out, c)
    _save(json_file, report.to_dict())
    show.gemm(report, out)
    if report.mismatches:
        raise typer.Exit(1)


def area(
    preset: Preset = "small",
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
    recipe: Annotated[str, typer.Option(help="Recipe of docs/flows.md.")] = "reference",
    flop_memories: Annotated[
        int, typer.Option(help="Of the whole: make memories up to so many bits of flip-flops.")
    ] = 0,
    picture: Annotated[
        Path | None, typer.Option(help="Of the whole: draw a treemap, as PNG.")
    ] = None,
    json_file: Json = None,
) -> None:
    """Report the area, and with a Liberty file and OpenSTA the clock."""
    _check_outputs(json_file, picture)
    if unit is not None:
        array = _array(preset, config)
        with show.working(f"Synthesizing {unit}") as progress:
            report = hw_area.report_area(
                array, top=unit, target=target or "generic", recipe=recipe, progress=progress
            )
        _save(json_file, report.to_dict())
        show.area(report)
        return
    machine = _machine(preset, config)
    with show.working("Synthesizing") as progress:
        whole = hw_preset_area.report_preset(
            machine,
            target=target,
            recipe=recipe,
            memory_limit_bits=flop_memories,
            progress=progress,
        )
    _save(json_file, whole.to_dict())
    show.preset_area(whole)
    if picture is not None:
        draw_area(whole, f"{whole.top} of {config or preset}", picture)


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
    _check_outputs(json_file)
    with show.working("Estimating") as progress:
        report = sim_estimate.estimate(workload, preset, clock_ghz, progress)
    _save(json_file, report.to_dict())
    show.estimate(report)


def sample(
    out: Annotated[Path, typer.Option(help="Image, PNG.")],
    backend: Annotated[str, typer.Option(help="float, golden or rtl.")] = "golden",
    steps: Annotated[int, typer.Option(help="Denoising steps, at least 2.")] = 50,
    label: Annotated[int, typer.Option("--class", help="Class of Fashion-MNIST, 0..9.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    guidance: Annotated[float, typer.Option(help="Guidance scale; 1 is none.")] = 2.0,
    policy: Annotated[
        Path | None, typer.Option(help="Policy or plan, instead of MixDiT's policy.")
    ] = None,
    preset: Annotated[str, typer.Option(help=f"Engine: {', '.join(ENGINES)}.")] = "small",
    simulator: Simulator = "verilator",
    json_file: Json = None,
) -> None:
    """Sample an image from the shipped model; quantized, with the engine's cycles."""
    from mixdit_sim.sample.report import SampleOptions
    from mixdit_sim.sample.run import sample_image
    from mixdit_sw.models.load import load_dit
    from mixdit_sw.models.png import save_png

    options = SampleOptions(
        backend=backend,
        steps=steps,
        label=label,
        seed=seed,
        guidance=guidance,
        policy=policy,
        simulator=simulator,
    )
    _check_outputs(out, json_file)
    with show.working(f"Sampling ({backend})") as progress:
        image, report = sample_image(load_dit(), get_engine(preset), options, progress)
    save_png(out, image)
    _save(json_file, report.to_dict())
    show.values({k: v for k, v in report.to_dict().items() if v is not None}, out)
    if report.mismatches:
        raise typer.Exit(1)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for Verilog, report and picture.")] = Path(
        "build/demo"
    ),
    preset: Preset = "small",
    config: Config = None,
    simulator: Simulator = "verilator",
    waves: Waves = None,
    json_file: Json = None,
) -> None:
    """Run a block of a trained diffusion transformer on generated RTL, bit for bit."""
    from mixdit_sim.demo.run import run_demo

    engine = _engine(preset, config)
    _check_outputs(json_file, waves)
    with show.working("Demo") as progress:
        report = run_demo(engine, out, simulator=simulator, waves=waves, progress=progress)
    _save(json_file, report.to_dict())
    show.demo(report, out)
    if not report.passed:
        raise typer.Exit(1)


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
    _check_outputs(out / PICTURE, json_file)
    where = local_processes(jobs) if dask is None else dask_cluster(dask)
    with where as executor, show.counting("Sweep") as progress:
        result = run_sweep(plan, out, executor, progress)
    _save(json_file, result.to_dict())
    show.sweep(result, out, draw_sweep(result, out / PICTURE))
    if any(point.failed for point in result.points):
        raise typer.Exit(1)


def bitstream(
    out: Annotated[Path, typer.Option(help="Folder for selftest.bit and selftest.v.")],
    preset: Annotated[str, typer.Option(help=f"Engine: {', '.join(PRESETS)}.")] = "ecp5",
    config: Config = None,
    board: Annotated[str, typer.Option(help=f"One of {', '.join(BOARDS)}.")] = "ulx3s",
    json_file: Json = None,
) -> None:
    """Place and route an engine that tests itself, for a board with an ECP5-85F."""
    engine = _engine(preset, config)
    _check_outputs(json_file)
    with show.working("Bitstream") as progress:
        report = make_bitstream(engine, out, board=board, progress=progress)
    _save(json_file, report.to_dict())
    show.bitstream(report)
    if not report.passed:
        raise typer.Exit(1)


ALL = (generate, quantize, gemm, area, estimate, sample, sweep, bitstream, demo)


def _machine(preset: str, config: Path | None) -> ArrayConfig | EngineConfig:
    """Return the array of a preset, or of a JSON file the engine if it describes one.

    Raises
    ------
    MixditError
        When there is none.
    """
    if config is None:
        return get_preset(preset)
    values = load_object(config)
    return engine_from_dict(values) if "engine" in values else ArrayConfig.from_dict(values)


def _array(preset: str, config: Path | None) -> ArrayConfig:
    machine = _machine(preset, config)
    return machine.array if isinstance(machine, EngineConfig) else machine


def _engine(preset: str, config: Path | None) -> EngineConfig:
    machine = _machine(preset, config)
    return machine if isinstance(machine, EngineConfig) else engine_for(machine)


def _check_outputs(*paths: Path | None) -> None:
    """Check, before the work, that files can be written and are different ones."""
    outputs = [path for path in paths if path is not None]
    for path in outputs:
        check_writable(path)
    if len({path.absolute() for path in outputs}) < len(outputs):
        raise MixditError("Outputs must be different files")


def _load(formats: Path | None) -> None:
    """Register a user's formats, if there are any."""
    if formats is not None:
        load_formats(formats)


def _save(path: Path | None, values: object) -> None:
    """Write values as JSON, if asked to."""
    if path is not None:
        text = json.dumps(values, indent=2, default=_plain) + "\n"
        write_atomically(path, lambda partial: partial.write_text(text))


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)
