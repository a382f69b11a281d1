"""Cycles of the array, exactly: from the first operand beat accepted to the last result beat."""

from mixdit_sim.array.beats import Gemm
from mixdit_sw.formats import LANES


def predict_cycles(gemm: Gemm) -> int:
    """Return the cycles of a GEMM on an array that is never kept waiting.

    The last beats of two tiles are at least `drain_cycles` apart, since a tile leaves at one row of
    a cluster (and one turn) a cycle; else tiles follow each other without a bubble. After the last
    beat come the latency of the first cluster, the skew of the last one, and the drain.
    """
    config = gemm.config
    period = max(gemm.tile_beats, config.drain_cycles)
    last_beat = gemm.tile_beats + (len(gemm.tiles) - 1) * period
    return last_beat + config.result_latency + config.skew + config.drain_cycles - 1


def utilization(gemm: Gemm, k: int, cycles: int) -> float:
    """Return the share of the multipliers' time that went into the unpadded product.

    Parameters
    ----------
    gemm : Gemm
        The GEMM.
    k : int
        Its channels without padding.
    cycles : int
        Cycles it took.

    Returns
    -------
    float
        Sum over M * N * K of the passes of each K-block, over cycles * PEs * 16.
    """
    lanes = [min(LANES, k - LANES * i) for i in range(len(gemm.digits))]
    passes = sum(p * q * width for (p, q), width in zip(gemm.digits, lanes, strict=True))
    multipliers = gemm.config.rows * gemm.config.cols * LANES
    return gemm.m * gemm.n * passes / (cycles * multipliers)
