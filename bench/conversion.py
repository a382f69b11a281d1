"""Cycles of conversions from memory to memory, and what an order of channels costs."""

import numpy as np

from mixdit_hw.engine.config import ENGINES
from mixdit_sim.engine.model.engine import predict
from mixdit_sim.engine.run import memory_timing
from mixdit_sw.engine.compiler import compile_sizes
from mixdit_sw.engine.convert import ConvertSize
from mixdit_sw.engine.gemm import GemmSize
from mixdit_sw.engine.registers import Register
from mixdit_sw.formats import MX6, MX9

CASES = [("small", 256, 1152), ("paper", 1024, 1152), ("paper", 1024, 4608)]


def orders(k: int) -> dict[str, tuple[int, ...]]:
    """Return the orders that are compared: the identity, MixDiT's, all channels at random."""
    rng = np.random.default_rng(0)
    found = {"identity": np.arange(k)}
    for high in (16, 64):
        first = np.sort(rng.choice(k, high, replace=False))
        rest = np.setdiff1d(np.arange(k), first)
        found[f"{high} high first"] = np.concatenate([first, rest])
    found["random"] = rng.permutation(k)
    return {name: tuple(order.tolist()) for name, order in found.items()}


def main() -> None:
    """Print a table for each engine and size."""
    print("A (M, K) in FP32, converted to MX9 and MX6; then its product with B (1152, K).\n")
    print("| engine | M x K | source | order | conversion | + identity | with GEMM | + identity |")
    print("|---|---|---|---|--:|--:|--:|--:|")
    for name, m, k in CASES:
        engine = ENGINES[name]
        formats = (MX9,) + (MX6,) * (k // 16 - 1)
        gemm = GemmSize(
            m=m, n=1152, k=k, a_formats=formats, b_formats=(MX6,) * (k // 16), a_source=0
        )
        rows = [("as it is, FP32", ConvertSize(m=m, n=k, as_operand=formats), "-")]
        bf16 = ConvertSize(m=m, n=k, as_operand=formats, source_bf16=True)
        rows.append(("as it is, BF16", bf16, "-"))
        for order_name, order in orders(k).items():
            size = ConvertSize(m=m, n=k, as_operand=formats, transposed=True, order=order)
            rows.append(("transposed, FP32", size, order_name))
        first: list[int] = []
        for source, size, order_name in rows:
            cycles = []
            for sizes in ([size], [size, gemm]):
                program = compile_sizes(sizes, engine.shape)
                cycles.append(predict(engine, program, memory_timing(engine))[Register.CYCLES])
            if order_name == "identity":
                first = cycles
            more = [
                f"{c - f:,} ({c / f - 1:.1%})" if first else "-"
                for c, f in zip(cycles, first or cycles, strict=True)
            ]
            print(
                f"| `{name}` | {m} x {k} | {source} | {order_name} | {cycles[0]:,} | {more[0]} "
                f"| {cycles[1]:,} | {more[1]} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
