"""Cycles of the engine, memory to memory: linear layers of DiT-XL/2 at 512 x 512."""

import time

from mixdit_hw.engine.config import ENGINES, EngineConfig
from mixdit_sim.engine.model.engine import predict
from mixdit_sim.engine.run import memory_timing
from mixdit_sw.engine.compiler import (
    GemmSize,
    Schedule,
    choose_schedule,
    compile_sizes,
    schedules,
    traffic,
)
from mixdit_sw.engine.registers import Register
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


def main() -> None:
    """Print the tables of docs/engine.md."""
    start = time.perf_counter()
    layers("paper", BLOCK)
    panels("paper", BLOCK[COMPARED])
    layers("small", {SMALL: BLOCK[SMALL]})
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
