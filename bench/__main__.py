"""All benchmarks, one after the other: `python -m bench`, or `make bench`."""

import importlib
import sys

BENCHMARKS = {
    "numerics": "golden GEMM and fake quantization against plain torch",
    "quantizers": "fake quantization against quark and torchao, time and memory by size",
    "formats": "quality of every format",
    "simulation": "build time and cycles per second of the simulated array",
    "emission": "time and size of emitted Verilog",
    "gather": "cycles of reordering",
    "pe_study": "area and clock of PE variants",
    "accumulators": "quality of accumulator kinds",
}


def main() -> None:
    """Run the benchmarks named on the command line, or all."""
    chosen = sys.argv[1:] or list(BENCHMARKS)
    unknown = [name for name in chosen if name not in BENCHMARKS]
    if unknown:
        sys.exit(f"error: no benchmark {unknown[0]}; there are {', '.join(BENCHMARKS)}")
    sys.argv = sys.argv[:1]
    for name in chosen:
        print(f"\n## {name}: {BENCHMARKS[name]}\n", flush=True)
        importlib.import_module(f"bench.{name}").main()


if __name__ == "__main__":
    main()
