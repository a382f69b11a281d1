"""Time of golden GEMM and fake quantization over that of plain torch, and memory.

Run `python -m bench numerics`. Rounds alternate between a function and what it is compared with, so
that a busy machine slows both; the ratio is the median over the rounds.
"""

import argparse
import ctypes
import functools
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from mixdit_sw import native
from mixdit_sw.codec.fake import fake_quantize
from mixdit_sw.formats import FORMATS, MX6, MX9
from mixdit_sw.gemm.fast import TorchOperand, multiply
from mixdit_sw.gemm.kinds import parse_kind
from mixdit_sw.operand import quantize_operand

M, K, N = 1024, 1152, 4608
KINDS = ("fp32", "aligned40", "aligned33x4")
PAIRS = ((MX6, MX6), (MX9, MX6), (MX9, MX9))
TENSOR = (4096, 4608)


def alternate(
    function: Callable[[], object], base: Callable[[], object], rounds: int
) -> tuple[float, float]:
    """Return the median time of `function` in seconds, and of its ratio to `base` before it."""
    function(), base()
    times, ratios = [], []
    for _ in range(rounds):
        base_time = measure(base)
        times.append(measure(function))
        ratios.append(times[-1] / base_time)
    return statistics.median(times), statistics.median(ratios)


def measure(function: Callable[[], object]) -> float:
    """Return the wall time of a call in seconds."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def extra_memory(function: Callable[[], torch.Tensor]) -> float | None:
    """Return by how many MB a call's peak exceeds what is there afterwards, its result included.

    None where the system does not say (it takes Linux and glibc).
    """
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not status.exists() or not hasattr(ctypes.CDLL(None), "malloc_trim"):
        return None

    def read(key: str) -> float:
        line = next(x for x in status.read_text().splitlines() if x.startswith(key))
        return int(line.split()[1]) / 1024

    ctypes.CDLL(None).malloc_trim(0)
    reset.write_text("5")
    before = read("VmRSS")
    result = function()
    return read("VmHWM") - before - result.numel() * result.element_size() / 2**20


def gemm_data() -> dict[str, np.ndarray]:
    """Return A of several kinds: plain, with outlier channels, with blocks of any magnitude."""
    rng = np.random.default_rng(0)
    normal = rng.standard_normal((M, K))
    outliers = normal.copy()
    outliers[:, rng.choice(K, K // 100, replace=False)] *= 50
    scattered = normal * np.exp2(rng.integers(-12, 1, (M, K // 16))).repeat(16, axis=1)
    return {"N(0, 1)": normal, "1 % x 50": outliers, "blocks x 2^-12..1": scattered}


def bench_gemm(rounds: int) -> None:
    """Print the table of the golden GEMM."""
    print(f"C = A @ B.T, M, K, N = {M}, {K}, {N}; {torch.get_num_threads()} thread(s)\n")
    print("| A | formats | kind | s | ratio to float32 matmul | extra MB |")
    print("|---|---|---|---|---|---|")
    b = np.random.default_rng(1).standard_normal((N, K)).astype(np.float32)
    b_torch = torch.from_numpy(b)
    for name, data in gemm_data().items():
        a = data.astype(np.float32)
        a_torch = torch.from_numpy(a)
        for a_format, b_format in PAIRS:
            operands = [
                TorchOperand.from_quantized(quantize_operand(x, fmt))
                for x, fmt in ((a, a_format), (b, b_format))
            ]
            for text in KINDS:
                kind = parse_kind(text)

                golden = functools.partial(multiply, *operands, kind)
                seconds, ratio = alternate(golden, lambda x=a_torch: x @ b_torch.T, rounds)
                memory = extra_memory(golden)
                shown = "" if memory is None else f"{max(memory, 0):.0f}"
                pair = f"{a_format.name} x {b_format.name}"
                print(f"| {name} | {pair} | {text} | {seconds:.2f} | {ratio:.1f} | {shown} |")


def bench_fake_quantize(rounds: int) -> None:
    """Print the table of fake quantization."""
    x = torch.from_numpy(np.random.default_rng(2).standard_normal(TENSOR).astype(np.float32))
    y = torch.empty_like(x)
    print(f"\nfake_quantize of {TENSOR[0]} x {TENSOR[1]}; {torch.get_num_threads()} thread(s)\n")
    print("| format | s | ratio to torch.mul(x, s, out=y) |")
    print("|---|---|---|")
    for fmt in FORMATS.values():
        fake = functools.partial(fake_quantize, x, fmt, out=torch.empty_like(x))
        seconds, ratio = alternate(fake, lambda: torch.mul(x, 1.5, out=y), rounds)
        print(f"| {fmt.name} | {seconds:.3f} | {ratio:.1f} |")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description="Measure golden GEMM and fake quantization.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-compiler", action="store_true", help="only what torch has")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.no_compiler:
        native.is_available = lambda: False
    bench_gemm(args.rounds)
    bench_fake_quantize(4 * args.rounds + 1)


if __name__ == "__main__":
    main()
