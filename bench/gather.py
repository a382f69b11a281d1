"""What reordering costs: cycles of a row by kind of order, over those of the identity."""

import numpy as np

from mixdit_sim.gather_cycles import gather_cycles

LENGTHS = (192, 1152, 4608)
SHARES = (1, 4)
TRIALS = 200


def high_first(rng: np.random.Generator, k: int, blocks: int) -> np.ndarray:
    """Return an order with some whole K-blocks of random channels first, all ascending."""
    high = np.sort(rng.choice(k, 16 * blocks, replace=False))
    return np.concatenate([high, np.setdiff1d(np.arange(k), high)])


def main() -> None:
    """Print the table of docs/converter.md."""
    rng = np.random.default_rng(0)
    print("| K | identity | 16 high channels first | 64 high channels first | random |")
    print("|--:|--:|--:|--:|--:|")
    for k in LENGTHS:
        cells = [str(k), str(gather_cycles(np.arange(k)))]
        makers = [lambda n=n, k=k: high_first(rng, k, n) for n in SHARES]
        makers.append(lambda k=k: rng.permutation(k))
        for make in makers:
            cycles = np.mean([gather_cycles(make()) for _ in range(TRIALS)])
            cells.append(f"{cycles:.1f} ({cycles / (k // 16):.2f} x)")
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
