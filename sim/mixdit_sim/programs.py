"""Programs of a layer's GEMMs of one name, without their numbers."""

from collections.abc import Iterable

from mixdit_hw.engine.config import EngineConfig
from mixdit_sim.workloads import Matmul, Workload, formats
from mixdit_sw.engine.compiler import Program, compile_sizes
from mixdit_sw.engine.gemm import GemmSize


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

    Raises
    ------
    MixditError
        When a GEMM does not fit the engine.
    """
    return compile_sizes([size for times, size in sizes for _ in range(times)], config.shape)
