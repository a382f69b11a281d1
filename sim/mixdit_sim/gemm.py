"""One GEMM on any backend: float, golden model, or RTL checked against the golden model."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from mixdit_hw.config import ArrayConfig
from mixdit_hw.engine.config import EngineConfig
from mixdit_sim.array.beats import Gemm
from mixdit_sim.array.cycles import predict_cycles, utilization
from mixdit_sim.array.rtl import check_simulable, check_simulator
from mixdit_sim.gemm_rtl import rtl_gemm
from mixdit_sw.errors import MixditError
from mixdit_sw.files import load_npy
from mixdit_sw.formats import get_format
from mixdit_sw.gemm.kinds import parse_kind
from mixdit_sw.metrics import qsnr_db
from mixdit_sw.operand import QuantizedOperand, quantize_pair, select_high_channels

BACKENDS = ("float", "golden", "rtl")


@dataclass(frozen=True, kw_only=True)
class GemmReport:
    """What a GEMM was and how it went; None where a value does not apply.

    Members
    -------
    scope : str
        What `cycles` spans: "engine", from start to interrupt, memory to memory; "array", from the
        first operand beat to the last result beat of the array alone.
    backend : str
        "float", "golden" or "rtl".
    shape : tuple of int
        (M, N, K).
    macs : int
        M * N * K.
    padding : int
        Zeros that complete each row to whole blocks.
    nan_blocks : int
        Blocks of A and B with a NaN or an Inf.
    cycles, predicted_cycles : int
        Of the simulated RTL; of the cycle model, or of the array's formula.
    stalls : dict of str to int
        Cycles in which the engine's array waited, by cause.
    utilization : float
        Share of the multipliers' time that went into the unpadded product, from `cycles` if there
        are any, else from `predicted_cycles`.
    qsnr_db : float
        Of C against a float64 product of the original tensors.
    bit_exact : bool
        RTL and golden model agree in every bit.
    mismatches : int
        Words of C in which they do not.
    wall_s : float
        Seconds that the backend took.
    """

    scope: str | None
    backend: str
    shape: tuple[int, int, int]
    macs: int
    padding: int | None
    nan_blocks: int | None
    cycles: int | None
    predicted_cycles: int | None
    utilization: float | None
    stalls: dict[str, int] | None
    qsnr_db: float | None
    bit_exact: bool | None
    mismatches: int | None
    wall_s: float

    def to_dict(self) -> dict[str, object]:
        """Return the values, as written to JSON."""
        return {**asdict(self), "shape": list(self.shape)}


@dataclass(frozen=True, kw_only=True)
class GemmOptions:
    """How to run a GEMM.

    Members
    -------
    a_format, b_format : str
        Formats of the channels that are not high.
    a_high, b_high : str, optional
        High channels, as `parse_channels` takes them.
    accumulator : str, optional
        Kind of accumulator; the array's by default.
    backend, simulator : str
        One of BACKENDS; "verilator" or "icarus".
    waves : Path, optional
        File for waveforms.
    plan, layer, head : Path, str, int, optional
        Plan of a policy, and its layer whose formats and order of channels are taken instead.
    """

    a_format: str = "mx6"
    b_format: str = "mx6"
    a_high: str | None = None
    b_high: str | None = None
    accumulator: str | None = None
    backend: str = "golden"
    simulator: str = "verilator"
    waves: Path | None = None
    plan: Path | None = None
    layer: str | None = None
    head: int = 0


def parse_channels(text: str | None, x: np.ndarray) -> np.ndarray | None:
    """Return high channels from a number of channels of x (rows, K), or a file of indices.

    A file is a .npy of integers or text with whitespace between indices.

    Raises
    ------
    MixditError
        When the number is out of range or the file holds no indices.
    """
    if text is None:
        return None
    if text.isdecimal():
        return select_high_channels(x, int(text))
    path = Path(text)
    if path.suffix == ".npy":
        return load_npy(path)
    try:
        return np.array([int(word) for word in path.read_text().split()], np.int64)
    except OSError as error:
        raise MixditError(
            f"High channels must be a number or a file of indices; cannot read '{text}': "
            f"{error.strerror}"
        ) from error
    except (ValueError, OverflowError) as error:
        raise MixditError(f"High channels in {text} must be integers") from error


def run_gemm(
    a: np.ndarray,
    b: np.ndarray,
    config: ArrayConfig | EngineConfig,
    options: GemmOptions,
    progress: Callable[[str], None] | None = None,
) -> tuple[np.ndarray, GemmReport]:
    """Return C = A @ B.T and what is to be said about it.

    Parameters
    ----------
    a, b : float32 (M, K), (N, K)
        Operands.
    config : ArrayConfig or EngineConfig
        Array, or the engine around it. On RTL the GEMM runs through the engine, memory to memory;
        what no engine can run (formats without micro-exponents, interleaved outputs) runs on the
        array alone. Other backends predict the array's cycles.
    options : GemmOptions
        Formats and backend.
    progress : callable, optional
        Told in a line what takes long.

    Raises
    ------
    MixditError
        When operands, formats, array or backend do not fit.
    """
    if options.backend not in BACKENDS:
        raise MixditError(f"Backend must be one of {', '.join(BACKENDS)}, not '{options.backend}'")
    engine = config if isinstance(config, EngineConfig) else None
    config = config.array if isinstance(config, EngineConfig) else config
    if options.accumulator is not None:
        config = replace(config, accumulator=options.accumulator)
        engine = None if engine is None else replace(engine, array=config)
    if options.waves is not None and options.backend != "rtl":
        raise MixditError("Waveforms are recorded on RTL only: add --backend rtl")
    check_simulator(options.simulator)
    if options.backend == "rtl":
        check_simulable(config, options.simulator)
    kind = parse_kind(config.accumulator)
    pair = _quantize(a, b, options)
    exact = _float_gemm(a.astype(np.float64), b.astype(np.float64))
    shape = (a.shape[0], b.shape[0], a.shape[1])
    if options.backend == "float":
        start = time.perf_counter()
        c = _float_gemm(a, b)
        return c, _float_report(shape, qsnr_db(exact, c), time.perf_counter() - start)

    # Commands that multiply nothing need no torch, nor wait for it.
    from mixdit_sw.gemm.fast import golden_gemm

    is_built = {fmt.name for x in pair for fmt in x.formats} <= set(config.formats)
    # Formats that the array is not built for have golden results, but no cycles.
    gemm = Gemm.of(config, *pair) if is_built or options.backend == "rtl" else None
    run = None
    cycles = mismatches = None
    start = time.perf_counter()
    if options.backend == "rtl":
        run = rtl_gemm(
            config,
            engine,
            pair,
            simulator=options.simulator,
            waves=options.waves,
            progress=progress,
        )
        wall = time.perf_counter() - start
        c, cycles = run.c, run.cycles
        golden = run.golden(pair, kind)
        mismatches = int((c.view(np.uint32) != golden.view(np.uint32)).sum())
    else:
        c = golden_gemm(*pair, kind)
        wall = time.perf_counter() - start
    predicted = None if gemm is None else predict_cycles(gemm)
    if run is not None:
        predicted = run.predicted
    return c, GemmReport(
        scope=None if gemm is None else "array" if run is None else run.scope,
        backend=options.backend,
        shape=shape,
        macs=shape[0] * shape[1] * shape[2],
        padding=pair[0].padding,
        nan_blocks=pair[0].nan_blocks + pair[1].nan_blocks,
        cycles=cycles,
        predicted_cycles=predicted,
        utilization=(
            None
            if gemm is None or predicted is None
            else utilization(gemm, shape[2], cycles or predicted)
        ),
        stalls=None if run is None else run.stalls,
        qsnr_db=qsnr_db(exact, c),
        bit_exact=None if mismatches is None else mismatches == 0,
        mismatches=mismatches,
        wall_s=wall,
    )


def _quantize(
    a: np.ndarray, b: np.ndarray, options: GemmOptions
) -> tuple[QuantizedOperand, QuantizedOperand]:
    if options.plan is None:
        return quantize_pair(
            a,
            b,
            get_format(options.a_format),
            get_format(options.b_format),
            parse_channels(options.a_high, a),
            parse_channels(options.b_high, b),
        )
    if options.layer is None or (options.a_high, options.b_high) != (None, None):
        raise MixditError("A plan needs the name of a layer, and chooses high channels by itself")
    from mixdit_sw.policy.lower import plan_operands
    from mixdit_sw.policy.plan import Plan

    return plan_operands(a, b, Plan.load(options.plan), options.layer, options.head)


def _float_gemm(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return A @ B.T; NaN, Inf and overflow are data."""
    with np.errstate(over="ignore", invalid="ignore"):
        return a @ b.T


def _float_report(shape: tuple[int, int, int], qsnr: float | None, wall: float) -> GemmReport:
    return GemmReport(
        scope=None,
        backend="float",
        shape=shape,
        macs=shape[0] * shape[1] * shape[2],
        padding=None,
        nan_blocks=None,
        cycles=None,
        predicted_cycles=None,
        utilization=None,
        stalls=None,
        qsnr_db=qsnr,
        bit_exact=None,
        mismatches=None,
        wall_s=wall,
    )
