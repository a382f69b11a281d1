"""The commands that generate, quantize, multiply and sample."""

from pathlib import Path
from typing import Annotated

import typer

from mixdit_cli import show, terminal
from mixdit_cli.options import (
    Accumulator,
    Config,
    Json,
    Preset,
    Simulator,
    UserFormats,
    Waves,
    check_outputs,
    engine_of,
    load_user_formats,
    machine_of,
    save,
)
from mixdit_hw import generate as hw_generate
from mixdit_hw.engine.config import (
    ENGINES,
    get_engine,
)
from mixdit_sim import gemm as sim_gemm
from mixdit_sw import quantize_file
from mixdit_sw.errors import MixditError
from mixdit_sw.files import load_matrix, save_npy
from mixdit_sw.formats import MODES, Rounding


def generate(
    out: Annotated[Path, typer.Option(help="Folder for the Verilog and manifest.json.")],
    preset: Preset = None,
    config: Config = None,
    top: Annotated[str, typer.Option(help=f"One of {', '.join(hw_generate.TOPS)}.")] = "array",
    json_file: Json = None,
) -> None:
    """Emit Verilog."""
    with terminal.working(f"Emitting {top}"):
        manifest = hw_generate.generate(machine_of(preset, config), top, out)
    save(json_file, manifest)
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
    load_user_formats(formats)
    check_outputs(out, json_file, inputs=(source, formats))
    with terminal.working("Dequantizing" if dequantize else "Quantizing"):
        if dequantize:
            report = quantize_file.dequantize_npz(source, out)
        else:
            how = Rounding(rounding, seed)
            report = quantize_file.quantize_npy(source, format_name, out, how)
    save(json_file, report)
    show.values(report, out)


def gemm(
    a: Annotated[Path, typer.Argument(help="A (M, K), float32 .npy.")],
    b: Annotated[Path, typer.Argument(help="B (N, K), float32 .npy.")],
    out: Annotated[Path, typer.Option(help="C = A @ B.T (M, N), float32 .npy.")],
    a_format: Annotated[
        str | None, typer.Option(help="Format of A, as in docs/formats.md.", show_default="mx6")
    ] = None,
    b_format: Annotated[str | None, typer.Option(help="Format of B.", show_default="mx6")] = None,
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
    head: Annotated[
        int | None, typer.Option(help="Head of the layer, if it is a product.", show_default="0")
    ] = None,
    accumulator: Accumulator = None,
    backend: Annotated[str, typer.Option(help="float, golden or rtl.")] = "golden",
    preset: Preset = None,
    config: Config = None,
    simulator: Simulator = "verilator",
    waves: Waves = None,
    formats: UserFormats = None,
    json_file: Json = None,
) -> None:
    """Multiply on the array: in floating point, by the golden model, or on simulated RTL."""
    load_user_formats(formats)
    if plan is None and (layer, head) != (None, None):
        raise MixditError("--layer and --head are of a plan: give --plan too")
    if plan is not None and (a_format, b_format) != (None, None):
        raise MixditError("A plan has the formats: leave out --a-format and --b-format")
    options = sim_gemm.GemmOptions(
        a_format="mx6" if a_format is None else a_format,
        b_format="mx6" if b_format is None else b_format,
        a_high=high_channels,
        b_high=b_high_channels,
        accumulator=accumulator,
        backend=backend,
        simulator=simulator,
        waves=waves,
        plan=plan,
        layer=layer,
        head=head or 0,
    )
    array = machine_of(preset, config)
    channels = [Path(value) for value in (high_channels, b_high_channels) if value]
    inputs = (a, b, plan, config, formats, *channels)
    check_outputs(out, json_file, waves, inputs=inputs)
    with terminal.working(f"Multiplying ({backend})") as progress:
        c, report = sim_gemm.run_gemm(load_matrix(a), load_matrix(b), array, options, progress)
    save_npy(out, c)
    save(json_file, report.to_dict())
    show.gemm(report, out)
    if report.mismatches:
        raise typer.Exit(1)


def sample(
    out: Annotated[Path, typer.Option(help="Image, PNG.")],
    backend: Annotated[str, typer.Option(help="float, golden or rtl.")] = "golden",
    steps: Annotated[int, typer.Option(help="Denoising steps, at least 2.")] = 50,
    label: Annotated[int, typer.Option("--class", help="Class; of the shipped model, 0..9.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    guidance: Annotated[float, typer.Option(help="Guidance scale; 1 is none.")] = 2.0,
    model: Annotated[str, typer.Option(help="shipped, twin-x30 or a weight file.")] = "shipped",
    policy: Annotated[
        Path | None, typer.Option(help="Policy or plan, instead of MixDiT's policy.")
    ] = None,
    preset: Annotated[str, typer.Option(help=f"Engine: {', '.join(ENGINES)}.")] = "small",
    simulator: Simulator = "verilator",
    json_file: Json = None,
) -> None:
    """Sample an image; quantized, with the engine's cycles."""
    from mixdit_sim.sample.report import SampleOptions
    from mixdit_sim.sample.run import sample_image
    from mixdit_sw.models.named import named_dit
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
    check_outputs(out, json_file, inputs=(policy, Path(model)))
    bundle = named_dit(model)
    with terminal.working(f"Sampling ({backend})") as progress:
        image, report = sample_image(bundle, get_engine(preset), options, progress)
    save_png(out, image)
    save(json_file, report.to_dict())
    show.values({k: v for k, v in report.to_dict().items() if v is not None}, out)
    if report.mismatches:
        raise typer.Exit(1)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for Verilog, report and picture.")] = Path(
        "build/demo"
    ),
    preset: Preset = None,
    config: Config = None,
    simulator: Simulator = "verilator",
    waves: Waves = None,
    json_file: Json = None,
) -> None:
    """Run a block of a trained diffusion transformer on generated RTL, bit for bit."""
    from mixdit_sim.demo.run import run_demo

    engine = engine_of(preset, config)
    check_outputs(json_file, waves)
    with terminal.working("Demo") as progress:
        report = run_demo(engine, out, simulator=simulator, waves=waves, progress=progress)
    save(json_file, report.to_dict())
    show.demo(report, out)
    if not report.passed:
        raise typer.Exit(1)


ALL = (generate, quantize, gemm, sample, demo)
