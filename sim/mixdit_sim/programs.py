"""Programs of a layer's GEMMs of one name, without their numbers."""

from collections.abc import Iterable
from dataclasses import replace

from mixdit_hw.engine.config import EngineConfig
from mixdit_sim.workloads import Matmul, Workload, formats
from mixdit_sw.engine.compiler import Program, compile_sizes
from mixdit_sw.engine.schedule import GemmSize
from mixdit_sw.engine.shape import EngineShape
from mixdit_sw.formats import LANES


def gemm_sizes(workload: Workload, matmul: Matmul) -> list[tuple[int, GemmSize]]:
    """Return the GEMMs of a layer that have one name: how many there are of each size."""
    return [
        (times, GemmSize(m=matmul.m, n=matmul.n, k=matmul.k, a_formats=a, b_formats=b))
        for times, a, b in formats(matmul, workload.heads, workload.policy)
    ]


def layer_program(config: EngineConfig, workload: Workload, matmul: Matmul) -> Program:
    """Return the program that runs all GEMMs of a layer that have one name.

    Raises
    ------
    MixditError
        When a GEMM does not fit the engine.
    """
    return sizes_program(config, gemm_sizes(workload, matmul))


def sizes_program(config: EngineConfig, sizes: Iterable[tuple[int, GemmSize]]) -> Program:
    """Return the program that runs GEMMs, each so many times.

    A GEMM whose K is too long for the buffers is run in parts of K. The first parts of all GEMMs
    come first; then the engine waits until their results are in memory, where the next parts find
    them as residuals.

    Raises
    ------
    MixditError
        When a GEMM does not fit the engine.
    """
    rounds: list[list[GemmSize]] = []
    for times, size in sizes:
        for number, part in enumerate(split_k(size, config.shape)):
            rounds += [[]] * (number == len(rounds))
            rounds[number] = rounds[number] + [part] * times
    program = compile_sizes([size for parts in rounds for size in parts], config.shape)
    commands = list(program.commands)
    first = 0
    for earlier in rounds[:-1]:
        first += len(earlier)
        commands[first] = replace(commands[first], wait=1)
    return replace(program, commands=commands)


def split_k(size: GemmSize, shape: EngineShape) -> list[GemmSize]:
    """Return a GEMM in as few parts of K as fit the buffers, about equally long.

    All but the first add the sum so far as their residual, rounded to FP32.
    """
    blocks = len(size.a_formats)
    parts = 1
    while parts < blocks:
        found = [_part(size, i * blocks // parts, (i + 1) * blocks // parts) for i in range(parts)]
        if all(part.words(is_b) <= shape.words(is_b) for part in found for is_b in (False, True)):
            return found
        parts += 1
    return [size]


def _part(size: GemmSize, start: int, stop: int) -> GemmSize:
    return replace(
        size,
        k=min(size.k, LANES * stop) - LANES * start,
        a_formats=size.a_formats[start:stop],
        b_formats=size.b_formats[start:stop],
        steps=("residual",) if start else (),
    )
