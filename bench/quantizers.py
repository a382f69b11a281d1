"""Quantizers against those of other packages, and how time and memory grow with the tensor.

Run `python -m bench.quantizers`. Rounds alternate between ours and the peer's in one process; times
are medians, and so is the ratio. Both reuse freed memory, else the kernel's clearing of pages for
the results is most of the time. A peer that is not installed is skipped.
"""

import argparse
import ctypes
import functools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version

import torch

from bench.numerics import extra_memory, measure
from mixdit_sw.codec.fake import fake_quantize
from mixdit_sw.codec.fast import encode
from mixdit_sw.formats import FORMATS, LANES, MX6, MX9, Format, MicroExponentFormat

TENSOR = (4096, 4608)
SIZES_MB = (16, 256, 1024)
ROW = 4096

MXFP4, MXFP8 = FORMATS["mxfp4"], FORMATS["mxfp8_e4m3"]
TORCHAO_DTYPES = {MXFP4: torch.float4_e2m1fn_x2, MXFP8: torch.float8_e4m3fn}

INSTALL = {
    "amd-quark": "pip install amd-quark==0.13 transformers==5.23.0 onnxruntime==1.28.0",
    "torchao": "pip install torchao==0.18.0",
}

Quantizer = Callable[[torch.Tensor], object]

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Parameters of glibc's mallopt."""


@dataclass(frozen=True)
class Contest:
    """Ours against one setting of a peer.

    Members
    -------
    task : str
        "fake" for quantization and back to float32, "encode" for the first half.
    fmt : Format
        Format.
    setting : str
        How the peer is run.
    ours, theirs : callable
        What is timed.
    """

    task: str
    fmt: Format
    setting: str
    ours: Quantizer
    theirs: Quantizer


def quark_contests() -> Iterator[Contest]:
    """Yield amd-quark: its torch operator as it is and compiled, and its C++ kernel.

    Both come into torch.ops on import.
    """
    import quark.onnx.operators.custom_ops  # noqa: F401
    import quark.torch.kernel  # noqa: F401

    def operator(x: torch.Tensor, name: str) -> torch.Tensor:
        return torch.ops.quark.non_scaled_fake_quantize(x, name, "", -1, LANES)

    def kernel(x: torch.Tensor, fmt: MicroExponentFormat) -> torch.Tensor:
        half_even = 2
        width = 9 + fmt.magnitude_bits
        return torch.ops.quark_custom_ops.bfp_prime(x, width, LANES, 2, 1, half_even)

    for fmt in (MX6, MX9):
        ours = functools.partial(fake_quantize, fmt=fmt)
        eager = functools.partial(operator, name=fmt.name)
        yield Contest("fake", fmt, "torch", ours, eager)
        yield Contest("fake", fmt, "torch.compile", ours, torch.compile(eager))
        yield Contest("fake", fmt, "C++ kernel", ours, functools.partial(kernel, fmt=fmt))


def torchao_contests() -> Iterator[Contest]:
    """Yield torchao's MX tensor, as it is and compiled.

    torch 2.13 compiles no E8M0 scales for the CPU, for want of their C type only: it is added. Our
    codes have 16 bits here, torchao's 8, or 4 in pairs.
    """
    from torch._inductor.codegen.cpp_utils import DTYPE_TO_CPP
    from torchao.prototype.mx_formats.mx_tensor import MXTensor, to_mx

    DTYPE_TO_CPP.setdefault(torch.float8_e8m0fnu, "uint8_t")

    def fake(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        return MXTensor.to_mx(x, dtype, block_size=32).dequantize(torch.float32)

    def first_half(x: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        return to_mx(x, dtype, block_size=32)

    for fmt, dtype in TORCHAO_DTYPES.items():
        for task, ours, theirs in (("fake", fake_quantize, fake), ("encode", encode, first_half)):
            own = functools.partial(ours, fmt=fmt)
            eager = functools.partial(theirs, dtype=dtype)
            yield Contest(task, fmt, "torch", own, eager)
            yield Contest(task, fmt, "torch.compile", own, torch.compile(eager))


PEERS = {"amd-quark": quark_contests, "torchao": torchao_contests}


def bench_peers(threads: int, rounds: int) -> None:
    """Print the table of all peers."""
    torch.set_num_threads(threads)
    torch._dynamo.reset()
    x = torch.randn(TENSOR, generator=torch.Generator().manual_seed(0))
    print(f"\n{TENSOR[0]} x {TENSOR[1]} float32, N(0, 1); {threads} thread(s)\n")
    print("| task | format | peer | setting | ours s | peer s | peer / ours | same values |")
    print("|---|---|---|---|---|---|---|---|")
    skipped = []
    for name, contests in PEERS.items():
        try:
            for contest in contests():
                print(row(contest, f"{name} {version(name)}", x, rounds), flush=True)
        except ImportError as error:
            skipped.append(f"{name} is skipped ({error}): {INSTALL[name]}")
    print("\n".join(["", *skipped]))


def keep_memory() -> None:
    """Make freed memory stay with the process, however large, where glibc allocates it."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def row(contest: Contest, peer: str, x: torch.Tensor, rounds: int) -> str:
    """Return a row of the table."""
    cells = [contest.task, contest.fmt.name, peer, contest.setting]
    own = contest.ours(x)
    try:
        other = contest.theirs(x)
    except RuntimeError as error:
        return "| " + " | ".join([*cells, "", type(error).__name__, "", ""]) + " |"
    same = ""
    if isinstance(own, torch.Tensor) and isinstance(other, torch.Tensor):
        same = "yes" if torch.equal(own, other) else "no"
    del own, other
    seconds = race(functools.partial(contest.ours, x), functools.partial(contest.theirs, x), rounds)
    cells += [f"{seconds[0]:.4f}", f"{seconds[1]:.4f}", f"{seconds[2]:.2f}", same]
    return "| " + " | ".join(cells) + " |"


def race(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int
) -> tuple[float, float, float]:
    """Return the median times of both in seconds, and of the ratio of theirs to ours."""
    pairs = [(settled(ours), settled(theirs)) for _ in range(rounds)]
    own, other = (statistics.median(times) for times in zip(*pairs, strict=True))
    return own, other, statistics.median(b / a for a, b in pairs)


def settled(function: Callable[[], object]) -> float:
    """Return the seconds of a call, once the threads of the one before have stopped spinning."""
    time.sleep(0.3)
    return measure(function)


def bench_growth(threads: int, rounds: int) -> None:
    """Print time per element, into a given result, and extra memory of tensors of several sizes."""
    torch.set_num_threads(threads)
    rows = [(size << 20) // (4 * ROW) for size in SIZES_MB]
    data = torch.randn((max(rows), ROW), generator=torch.Generator().manual_seed(1))
    result = torch.zeros_like(data)
    print(f"\nfake_quantize, tensors of several sizes; {threads} thread(s)\n")
    print("| format | MB | ns per element | extra MB |")
    print("|---|---|---|---|")
    for fmt in (MX6, MX9, MXFP4, MXFP8):
        for size, count in zip(SIZES_MB, rows, strict=True):
            fake = functools.partial(fake_quantize, data[:count], fmt)
            into = functools.partial(fake, out=result[:count])
            into()
            seconds = statistics.median(measure(into) for _ in range(rounds))
            memory = extra_memory(fake)
            shown = "" if memory is None else f"{max(memory, 0):.1f}"
            nanoseconds = 1e9 * seconds / (count * ROW)
            print(f"| {fmt.name} | {size} | {nanoseconds:.2f} | {shown} |", flush=True)


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description="Measure quantizers against other packages.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    bench_growth(args.threads[0], args.rounds)
    keep_memory()
    for threads in args.threads:
        bench_peers(threads, args.rounds)


if __name__ == "__main__":
    main()
