"""All benchmarks, one after the other: `python -m bench`, or `make bench`."""

import subprocess
import sys

BENCHMARKS = {
    "numerics": "golden GEMM and fake quantization against plain torch",
    "quantizers": "fake quantization against quark and torchao, time and memory by size",
    "formats": "quality of every format",
    "simulation": "build time and cycles per second of the simulated array",
    "emission": "time and size of emitted Verilog",
    "engine": "cycles of the engine, memory to memory, by the cycle model",
    "conversion": "conversions from memory to memory, and what an order of channels costs",
    "pe_study": "area and clock of PE variants",
    "estimate": "cycles of denoising steps of public models",
    "baselines": "area, clock and energy of baseline units, each at its best, beside ours",
    "energy": "energy of the array on operands of real layers",
    "accumulators": "quality of accumulator kinds",
    "fpga": "units placed and routed on an ECP5-85F, multiplier blocks against logic",
    "policies": "ablation of selection policies, searched ones among them, hours",
    "policy_speed": "sampling with quantization over float sampling",
    "policy_bits": "bits of float32 products against the engine's",
    "foreign_coverage": "share of public transformers that policies reach",
    "twin": "exactness and outliers of the twins",
}


def main() -> None:
    """Run the benchmarks named on the command line, or all, each in a process of its own."""
    chosen = sys.argv[1:] or list(BENCHMARKS)
    unknown = [name for name in chosen if name not in BENCHMARKS]
    if unknown:
        sys.exit(f"error: no benchmark {unknown[0]}; there are {', '.join(BENCHMARKS)}")
    for name in chosen:
        print(f"\n## {name}: {BENCHMARKS[name]}\n", flush=True)
        if subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False).returncode:
            sys.exit(f"error: benchmark {name} failed")


if __name__ == "__main__":
    main()
