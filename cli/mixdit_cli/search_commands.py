"""The commands of the offline search."""

from pathlib import Path
from typing import Annotated

import typer

from mixdit_cli import show_studies, terminal
from mixdit_cli.options import Json, Simulator, check_outputs, save
from mixdit_hw.engine.config import ENGINES, get_engine


def search(
    model: Annotated[str, typer.Option(help="shipped, twin-x30 or a weight file.")],
    out: Annotated[
        Path, typer.Option(help="Folder for measurements, policy, plan, report and picture.")
    ],
    method: Annotated[str, typer.Option(help="mixdit.")] = "mixdit",
    per: Annotated[str, typer.Option(help="One rule per model, role or layer.")] = "model",
    shares: Annotated[str, typer.Option(help="Shares of MX9 channels.")] = "0,.01,.03,.06,.12,.25",
    heads: Annotated[str, typer.Option(help="Numbers of MX9 heads.")] = "0,1,2,3",
    weights: Annotated[str, typer.Option(help="Rounding of weights.")] = "nearest,gptq",
    weight_blocks: Annotated[str, typer.Option(help="Numbers of MX9 blocks of weights.")] = "0",
    trials: Annotated[int, typer.Option(help="Policies to try.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the search.")] = 0,
    finalists: Annotated[int, typer.Option(help="Policies judged by samples at a time.")] = 4,
    max_fid_change: Annotated[float, typer.Option(help="Bound of FID beyond float.")] = 1.0,
    max_distance: Annotated[
        float | None,
        typer.Option(help="Bound of the pixel distance of paired samples; else paper's policy's."),
    ] = None,
    images: Annotated[int, typer.Option(help="Samples of each of the seeds.")] = 100,
    seeds: Annotated[int, typer.Option(help="Seeds of samples.")] = 3,
    steps: Annotated[int, typer.Option(help="Denoising steps of samples.")] = 10,
    preset: Annotated[str, typer.Option(help=f"Engine: {', '.join(ENGINES)}.")] = "small",
    cycles_of: Annotated[
        str, typer.Option(help="own, or a public DiT at the same shares, such as dit-xl-2-512.")
    ] = "own",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    workers: Annotated[int, typer.Option(help="Processes; 0 works in this one.")] = 2,
    dask: Annotated[str | None, typer.Option(help="Address of a Dask scheduler.")] = None,
    json_file: Json = None,
) -> None:
    """Search offline for a policy: fewest cycles within bounds of quality."""
    from mixdit_sim.search import options

    config = options.search_config(
        model=model,
        method=method,
        per=per,
        lists={
            "shares": shares,
            "heads": heads,
            "weights": weights,
            "weight_blocks": weight_blocks,
        },
        budget={"trials": trials, "seed": seed},
        bounds={"fid_change": max_fid_change, "distance": max_distance},
        study={"images": images, "seeds": seeds, "steps": steps},
        device=device,
        finalists=finalists,
        preset=preset,
        cycles_of=cycles_of,
    )
    check_outputs(out / options.REPORT, json_file)
    with terminal.working("Searching") as progress:
        report = options.run_search(config, out, processes=workers, dask=dask, progress=progress)
    save(json_file, report.to_dict())
    show_studies.search(report, out)
    if not report.passed:
        raise typer.Exit(1)


def block(
    searched: Annotated[Path, typer.Argument(help="Folder of a finished search.")],
    number: Annotated[int, typer.Option("--block", help="Block of the model.")] = 0,
    preset: Annotated[str, typer.Option(help="Engine.")] = "small",
    simulator: Simulator = "verilator",
    json_file: Json = None,
) -> None:
    """Run a block of a model on RTL as a search's plan says, bit for bit."""
    from mixdit_sim.search.on_engine import run_block

    engine = get_engine(preset)
    check_outputs(json_file)
    with terminal.working("Block") as progress:
        report = run_block(searched, number, engine, simulator=simulator, progress=progress)
    save(json_file, report.to_dict())
    show_studies.block(report)
    if not report.passed:
        raise typer.Exit(1)


ALL = (search, block)
