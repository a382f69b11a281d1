"""Time of a denoising step on an engine, by its cycle model (docs/estimate.md)."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from mixdit_hw.config import ArrayConfig
from mixdit_hw.engine.config import EngineConfig, get_engine
from mixdit_sim.engine.model.repeat import predict_quickly
from mixdit_sim.engine.run import memory_timing
from mixdit_sim.programs import layer_program
from mixdit_sim.workloads import WORKLOADS, Kind, Matmul, Workload
from mixdit_sw.engine.gemm import GemmSize
from mixdit_sw.engine.registers import Register
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import LANES

AS_SIMULATED_MS = {
    "dit-xl-2-256": 7.4,
    "dit-xl-2-512": 52.1,
    "pixart-sigma-1024": 479.8,
    "sd3-medium-512": 89.3,
    "sd3-medium-1024": 601.5,
}
"""A step on MixDiT's simulated accelerator: as many MX6 MACs a cycle as `paper`, at 1 GHz."""

SIMULATED_PRESET = "paper"
STALLS = {
    "load": Register.STALL_LOAD,
    "drain": Register.STALL_DRAIN,
    "store": Register.STALL_STORE,
    "convert": Register.STALL_CONVERT,
}


@dataclass(frozen=True, kw_only=True)
class Cycles:
    """Cycles of a step, of one GEMM name, of a kind, or of all.

    Members
    -------
    name : str
        What they are of.
    macs : int
        Multiply-adds, without padding.
    cycles : int
        Of the engine: from the start of each program to its interrupt.
    array_cycles : int
        Without score traffic: of attention, those that the array alone needs; else all.
    score_traffic : int
        The difference.
    work : float
        Cycles in which all multipliers would do the digit passes of the unpadded products.
    busy : int
        In which the array took operands.
    stalls : dict of str to int
        By cause: the array waited to load, for its drain, to store, for a converter; "ends": before
        the first operands of a program and behind its last.
    """

    name: str
    macs: int
    cycles: int
    array_cycles: int
    score_traffic: int
    work: float
    busy: int
    stalls: dict[str, int]

    @property
    def utilization(self) -> float:
        """Of the engine (docs/estimate.md)."""
        return self.work / self.cycles

    @property
    def array_utilization(self) -> float:
        """Score traffic apart."""
        return self.work / self.array_cycles

    @classmethod
    def total(cls, name: str, parts: list["Cycles"]) -> "Cycles":
        """Return the sum of several."""
        return cls(
            name=name,
            macs=sum(x.macs for x in parts),
            cycles=sum(x.cycles for x in parts),
            array_cycles=sum(x.array_cycles for x in parts),
            score_traffic=sum(x.score_traffic for x in parts),
            work=sum(x.work for x in parts),
            busy=sum(x.busy for x in parts),
            stalls={cause: sum(x.stalls[cause] for x in parts) for cause in (*STALLS, "ends")},
        )

    def to_dict(self) -> dict[str, object]:
        """Return members and properties, as written to JSON."""
        values = asdict(self)
        values["utilization"] = self.utilization
        values["array_utilization"] = self.array_utilization
        return values


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A denoising step.

    Members
    -------
    model, preset : str
        Workload and engine.
    clock_ghz, high_share : float
        Clock; share of MX9 channels of linear layers.
    high_heads : int
        Heads of self-attention in MX9.
    matmuls, kinds : list of Cycles
        By name, by kind ("linear", "qk", "av").
    total : Cycles
        All.
    as_simulated_ms : float, optional
        MixDiT's simulated accelerator, where policy, MAC rate and model are the same.
    """

    model: str
    preset: str
    clock_ghz: float
    high_share: float
    high_heads: int
    matmuls: list[Cycles]
    kinds: list[Cycles]
    total: Cycles
    as_simulated_ms: float | None

    def ms(self, cycles: int) -> float:
        """Return milliseconds."""
        return cycles / self.clock_ghz / 1e6

    @property
    def speedup(self) -> float | None:
        """How much shorter the step is than as simulated, score traffic apart in both."""
        if self.as_simulated_ms is None:
            return None
        return self.as_simulated_ms / self.ms(self.total.array_cycles)

    def to_dict(self) -> dict[str, object]:
        """Return the report, as written to JSON."""
        total = self.total
        return {
            "scope": "engine",
            "model": self.model,
            "preset": self.preset,
            "clock_ghz": self.clock_ghz,
            "high_share": self.high_share,
            "high_heads": self.high_heads,
            "macs": total.macs,
            "cycles": total.cycles,
            "array_cycles": total.array_cycles,
            "score_traffic_cycles": total.score_traffic,
            "ms_per_step": self.ms(total.cycles),
            "array_ms_per_step": self.ms(total.array_cycles),
            "utilization": total.utilization,
            "array_utilization": total.array_utilization,
            "stalls": total.stalls,
            "breakdown": [x.to_dict() for x in self.matmuls],
            "kinds": [x.to_dict() for x in self.kinds],
            "as_simulated_ms": self.as_simulated_ms,
            "speedup": self.speedup,
        }


def estimate(
    workload: Workload,
    preset: str = "paper",
    clock_ghz: float = 1.0,
    progress: Callable[[str], None] | None = None,
) -> Estimate:
    """Return the cycles of a denoising step.

    Parameters
    ----------
    workload : Workload
        Model and policy.
    preset : str
        Engine.
    clock_ghz : float
        Its clock.
    progress : callable, optional
        Told in a line what is being counted.

    Raises
    ------
    MixditError
        When there is no such engine or clock, or a GEMM does not fit.
    """
    if not 0 < clock_ghz < float("inf"):
        raise MixditError(f"Clock must be a positive number of GHz, not {clock_ghz}")
    config = get_engine(preset)
    parts: list[tuple[Kind, Cycles]] = []
    for number, matmul in enumerate(workload.matmuls, 1):
        if progress:
            progress(f"{workload.name}: {matmul.name} ({number} of {len(workload.matmuls)})")
        parts.append((matmul.kind, count(config, workload, matmul)))
    kinds = list(dict.fromkeys(kind for kind, _ in parts))
    matmuls = [part for _, part in parts]
    return Estimate(
        model=workload.name,
        preset=preset,
        clock_ghz=clock_ghz,
        high_share=workload.policy.high_share,
        high_heads=workload.policy.high_heads,
        matmuls=matmuls,
        kinds=[Cycles.total(kind, [x for k, x in parts if k == kind]) for kind in kinds],
        total=Cycles.total("total", matmuls),
        as_simulated_ms=_as_simulated(workload, preset),
    )


def count(config: EngineConfig, workload: Workload, matmul: Matmul) -> Cycles:
    """Return the cycles of all GEMMs of a name: a program of a layer's, times the layers."""
    program = layer_program(config, workload, matmul)
    sizes = [size for size in program.gemms if isinstance(size, GemmSize)]
    counters = predict_quickly(config, program, memory_timing(config))
    cycles, busy = counters[Register.CYCLES], counters[Register.BUSY]
    array = cycles if matmul.kind == "linear" else array_cycles(config.array, sizes)
    stalls = {cause: counters[register] for cause, register in STALLS.items()}
    stalls["ends"] = cycles - busy - sum(stalls.values())
    layers = matmul.layers
    return Cycles(
        name=matmul.name,
        macs=matmul.macs,
        cycles=layers * cycles,
        array_cycles=layers * array,
        score_traffic=layers * (cycles - array),
        work=layers * sum(ideal_cycles(config.array, size) for size in sizes),
        busy=layers * busy,
        stalls={cause: layers * value for cause, value in stalls.items()},
    )


def array_cycles(array: ArrayConfig, sizes: list[GemmSize]) -> int:
    """Return the cycles of GEMMs one after the other on an array that is never kept waiting.

    For one GEMM this is `mixdit_sim.array.cycles.predict_cycles`.
    """
    tile_rows, tile_cols = array.tile_shape
    last_beat = 0
    for number, size in enumerate(sizes):
        beats = array.interleave * sum(size.passes)
        period = max(beats, array.drain_cycles)
        last_beat += -(-size.m // tile_rows) * -(-size.n // tile_cols) * period
        if number == 0:
            last_beat -= period - beats
    return last_beat + array.result_latency + array.skew + array.drain_cycles - 1


def ideal_cycles(array: ArrayConfig, size: GemmSize) -> float:
    """Return the cycles in which all multipliers would do a GEMM's passes, without padding."""
    lanes = [min(LANES, size.k - LANES * i) for i in range(len(size.passes))]
    passes = sum(p * width for p, width in zip(size.passes, lanes, strict=True))
    return size.m * size.n * passes / (array.rows * array.cols * LANES)


def _as_simulated(workload: Workload, preset: str) -> float | None:
    """Return the time as simulated, if the policy is MixDiT's and the engine as wide."""
    if preset != SIMULATED_PRESET or workload != WORKLOADS.get(workload.name):
        return None
    return AS_SIMULATED_MS.get(workload.name)
