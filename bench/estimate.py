"""Tables of docs/estimate.md: `python -m bench.estimate [PRESET MODEL ...]`."""

import sys

from mixdit_sim.estimate import Cycles, Estimate, estimate
from mixdit_sim.workloads import WORKLOADS, get_workload

DETAILS = "dit-xl-2-512"
STALL_NAMES = ("load", "drain", "store", "ends")


def summary(results: list[Estimate]) -> None:
    """Print a line for each model."""
    print(
        "| model | r, high heads | array ms | with score traffic | linear | QK | A.V | all, array |"
    )
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    for x in results:
        kinds = {part.name: f"{part.array_utilization:.1%}" for part in x.kinds}
        columns = [
            x.model,
            f"{x.high_share:.0%}, {x.high_heads}",
            f"{x.ms(x.total.array_cycles):.2f}",
            f"{x.ms(x.total.cycles):.2f}",
            *kinds.values(),
            f"{x.total.array_utilization:.1%}",
        ]
        print("|", " | ".join(columns), "|")


def against_mixdit(results: list[Estimate]) -> None:
    """Print a line for each model that MixDiT simulated."""
    print("\n| model | as simulated ms | array ms | ratio | with score traffic |")
    print("|---|--:|--:|--:|--:|")
    for x in results:
        if x.as_simulated_ms is not None:
            ms = x.ms(x.total.array_cycles), x.ms(x.total.cycles)
            ratios = [f"{x.as_simulated_ms / value:.2f}" for value in ms]
            print(f"| {x.model} | {x.as_simulated_ms} | {ms[0]:.2f} | {' | '.join(ratios)} |")


def details(x: Estimate) -> None:
    """Print a line for each GEMM name, and the sum."""
    print(f"\n{x.model} on {x.preset}\n")
    head = ["GEMM", "cycles", "array", "score traffic", "utilization", "of array", *STALL_NAMES]
    print("|", " | ".join(head), "|")
    print("|---|" + "--:|" * (len(head) - 1))
    for part in (*x.matmuls, x.total):
        print("|", " | ".join(_cells(part)), "|")


def _cells(x: Cycles) -> list[str]:
    counts = [x.cycles, x.array_cycles, x.score_traffic]
    stalls = [x.stalls[name] for name in STALL_NAMES]
    shares = [f"{x.utilization:.1%}", f"{x.array_utilization:.1%}"]
    return [x.name, *(f"{v:,}" for v in counts), *shares, *(f"{v:,}" for v in stalls)]


def main() -> None:
    """Print the tables."""
    preset, *names = sys.argv[1:] or ["paper"]
    results = []
    for name in names or WORKLOADS:
        results.append(estimate(get_workload(name), preset))
        print(f"{name} done", file=sys.stderr, flush=True)
    summary(results)
    against_mixdit(results)
    for x in results:
        if x.model == DETAILS:
            details(x)


if __name__ == "__main__":
    main()
