"""Cycles of the engine, memory to memory: linear layers of DiT-XL/2 at 512 x 512."""

import time
from dataclasses import replace
from unittest.mock import patch

from mixdit_hw.engine.config import ENGINES, EngineConfig
from mixdit_sim.engine.model import compute
from mixdit_sim.engine.model.engine import EngineModel, predict
from mixdit_sim.engine.run import memory_timing
from mixdit_sw.engine.compiler import compile_sizes
from mixdit_sw.engine.gemm import GemmSize
from mixdit_sw.engine.registers import Register
from mixdit_sw.engine.schedule import Schedule, choose_schedule, schedules, traffic
from mixdit_sw.formats import LANES, MX6, MX9

TOKENS = 1024
BLOCK = {
    "modulation": (1, 6912, 1152),
    "query, key, value": (TOKENS, 3456, 1152),
    "projection": (TOKENS, 1152, 1152),
    "MLP, first": (TOKENS, 4608, 1152),
    "MLP, second": (TOKENS, 1152, 4608),
}
"""M, N, K of a block's linear layers, one image."""
SMALL = "projection"
"""What `small` is given."""
SHORT = ((256, 256, 256), (256, 256, 128), (256, 256, 64))
"""Of short tiles, as attention has."""
HIGH_BLOCKS = 1
COMPARED = "query, key, value"


def size(m: int, n: int, k: int) -> GemmSize:
    """Return a GEMM: A with some K-blocks of MX9, else MX6."""
    blocks = k // LANES
    a = (MX9,) * HIGH_BLOCKS + (MX6,) * (blocks - HIGH_BLOCKS)
    return GemmSize(m=m, n=n, k=k, a_formats=a, b_formats=(MX6,) * blocks)


def useful(gemm: GemmSize, engine: EngineConfig) -> float:
    """Return the passes of the unpadded product for each PE."""
    return gemm.m * gemm.n * sum(gemm.passes) / (engine.array.rows * engine.array.cols)


def count(
    engine: EngineConfig, gemms: list[GemmSize], plan: Schedule | None = None
) -> dict[Register, int]:
    """Return the predicted counters of GEMMs run as one list."""
    program = compile_sizes(gemms, engine.shape, plans=[plan] * len(gemms))
    return predict(engine, program, memory_timing(engine))


def cells(counters: dict[Register, int], passes: float) -> str:
    """Return the columns that every table has."""
    names = (Register.CYCLES, Register.BUSY, Register.STALL_LOAD, Register.STALL_STORE)
    values = [f"{counters[name]:,}".replace(",", " ") for name in names]
    return " | ".join([*values, f"{passes / counters[Register.CYCLES]:.2%}"])


def layers(name: str, sizes: dict[str, tuple[int, int, int]]) -> None:
    """Print a table of layers."""
    engine = ENGINES[name]
    print(f"\n`{name}`:\n")
    print("| layer | M x N x K | panel | loaded | cycles | busy | load | store | utilization |")
    print("|---|---|---|--:|--:|--:|--:|--:|--:|")
    gemms = {layer: size(*shape) for layer, shape in sizes.items()}
    for layer, gemm in gemms.items():
        plan = choose_schedule(gemm, engine.shape)
        loaded = traffic(gemm, engine.shape, plan) * engine.bus_bytes / 1e6
        panel = f"{plan.panel} of {'B' if plan.stationary_b else 'A'}"
        shape = " x ".join(map(str, sizes[layer]))
        found = cells(count(engine, [gemm]), useful(gemm, engine))
        print(f"| {layer} | {shape} | {panel} | {loaded:.1f} MB | {found} |", flush=True)
    if len(gemms) > 1:
        everything = list(gemms.values())
        passes = sum(useful(gemm, engine) for gemm in everything)
        print(f"| all, one list | | | | {cells(count(engine, everything), passes)} |")


def panels(name: str, shape: tuple[int, int, int]) -> None:
    """Print a table of one layer's schedules."""
    engine, gemm = ENGINES[name], size(*shape)
    print(f"\nSchedules of {' x '.join(map(str, shape))} on `{name}`:\n")
    print("| panel | loaded | cycles | busy | load | store | utilization |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for plan in schedules(gemm, engine.shape):
        loaded = traffic(gemm, engine.shape, plan) * engine.bus_bytes / 1e6
        panel = f"{plan.panel} of {'B' if plan.stationary_b else 'A'}"
        found = cells(count(engine, [gemm], plan), useful(gemm, engine))
        print(f"| {panel} | {loaded:.1f} MB | {found} |", flush=True)


def waiting(name: str, shapes: list[tuple[int, int, int]]) -> None:
    """Print what it costs that the last of some layers waits for the others' results."""
    engine = ENGINES[name]
    program = compile_sizes([size(*shape) for shape in shapes], engine.shape)
    *others, last, end = program.commands
    waits = replace(program, commands=[*others, replace(last, wait=1), end])
    free, kept = (predict(engine, p, memory_timing(engine)) for p in (program, waits))
    cost = kept[Register.CYCLES] - free[Register.CYCLES]
    print(f"\nThe wait bit costs {cost} cycles between the last two layers on `{name}`")


def variants(name: str, shape: tuple[int, int, int]) -> None:
    """Print the cycles of a layer with other buffers."""
    engine, gemm = ENGINES[name], size(*shape)
    timing, passes = memory_timing(engine), useful(gemm, engine)

    def row(label: str, built: EngineConfig) -> None:
        counters = predict(built, compile_sizes([gemm], built.shape), timing)
        print(f"| {label} | {cells(counters, passes)} |", flush=True)

    print(f"\n{' x '.join(map(str, shape))} on `{name}`:\n")
    print("| buffers | cycles | busy | load | store | utilization |\n|---|--:|--:|--:|--:|--:|")
    row("as they are", engine)
    row("operand buffers twice as large", replace(engine, buffer_bytes=2 * engine.buffer_bytes))
    for tiles in (1, 3):
        with patch.object(compute, "TILES", tiles):
            row(f"{tiles} output tile{'s' * (tiles > 1)}", engine)


def timeline(name: str, shape: tuple[int, int, int], unit: int) -> None:
    """Print when which part of an engine moves, a character for so many cycles."""
    engine, gemm = ENGINES[name], size(*shape)
    program = compile_sizes([gemm], engine.shape)
    model = EngineModel(engine, program, memory_timing(engine))
    moved: dict[str, list[bool]] = {part: [] for part in ("load", "array", "drain", "store")}
    while model.state != "IDLE":
        before = sum(model.loader.written), model.counters[Register.BUSY], model.writer.count
        model.step()
        after = sum(model.loader.written), model.counters[Register.BUSY], model.writer.count
        moves = [x != y for x, y in zip(before, after, strict=True)]
        moves.insert(2, model.array.drain > 0)
        for part, move in zip(moved.values(), moves, strict=True):
            part.append(move)
    print(f"\n{' x '.join(map(str, shape))} on `{name}`, {unit} cycles a character:\n")
    for name, moves in moved.items():
        shares = [moves[i : i + unit] for i in range(0, len(moves), unit)]
        print(f"    {name:6}", "".join(".-=#"[-(-3 * sum(x) // len(x))] for x in shares))


def main() -> None:
    """Print the tables of docs/engine.md."""
    start = time.perf_counter()
    timeline("paper", (512, 384, 1152), 64)
    layers("paper", BLOCK)
    panels("paper", BLOCK[COMPARED])
    layers("small", {SMALL: BLOCK[SMALL]})
    variants("paper", BLOCK["MLP, second"])
    variants("paper", (1024, 1024, 256))
    for shape in SHORT:
        variants("small", shape)
    waiting("paper", [BLOCK["projection"], BLOCK["MLP, first"]])
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
