"""Configuration of the array and its named presets: the one place where sizes are chosen."""

from dataclasses import asdict, dataclass
from functools import cached_property

from mixdit_hw.fabric import FABRICS
from mixdit_hw.packet import EXPONENT_BITS, exponent_bits
from mixdit_hw.pe.accumulator import AccumulatorConfig
from mixdit_hw.pe.dot import dot_latency
from mixdit_hw.pe.to_fp32 import ToFp32
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import FORMATS, LANES, MAX_DIGITS, Format, dot_bits, get_format
from mixdit_sw.gemm.kinds import parse_kind


@dataclass(frozen=True, kw_only=True)
class ArrayConfig:
    """What an array is built for.

    Members
    -------
    rows, cols : int
        PEs.
    cluster_rows, cluster_cols : int
        PEs of a cluster: they share operand registers, and a column of a cluster drains by itself.
    formats : tuple of str
        Formats that the array can multiply; decides its widths.
    accumulator : str
        Kind of accumulator, "fp32" or "aligned<f>" (docs/numerics.md).
    interleave : int
        Outputs of a PE that take turns.
    dot_register, prepare_register : bool
        Registers between dot product and join, and between join and the accumulator's loop.
    loop_latency : int
        Cycles of the accumulator's loop.
    fabric : str
        What it is built of: "gates", or an "fpga" with multiplier blocks and carry chains.
    """

    rows: int
    cols: int
    cluster_rows: int = 8
    cluster_cols: int = 8
    formats: tuple[str, ...] = ("mx9", "mx6", "mx4")
    accumulator: str = "aligned40"
    interleave: int = 1
    dot_register: bool = False
    prepare_register: bool = False
    loop_latency: int = 1
    fabric: str = "gates"

    def __post_init__(self) -> None:
        for name in ("rows", "cols", "cluster_rows", "cluster_cols", "interleave", "loop_latency"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise MixditError(f"{name} must be a positive integer, not {value!r}")
        for name in ("dot_register", "prepare_register"):
            if not isinstance(getattr(self, name), bool):
                raise MixditError(f"{name} must be true or false, not {getattr(self, name)!r}")
        for of, per in (("rows", "cluster_rows"), ("cols", "cluster_cols")):
            if getattr(self, of) % getattr(self, per):
                raise MixditError(
                    f"{of} must be a multiple of {per} = {getattr(self, per)}, "
                    f"not {getattr(self, of)}"
                )
        if self.fabric not in FABRICS:
            raise MixditError(f"fabric must be one of {', '.join(FABRICS)}, not {self.fabric!r}")
        if not isinstance(self.accumulator, str):
            raise MixditError(f"accumulator must be a name, not {self.accumulator!r}")
        if not self.formats:
            raise MixditError("formats must name at least one format")
        for name in self.formats:
            if not isinstance(name, str):
                raise MixditError(f"formats must be a list of names, not {list(self.formats)!r}")
            fmt = get_format(name)
            if not fmt.is_engine_format:
                raise MixditError(
                    f"The array cannot multiply {name}: a format must have at most {MAX_DIGITS} "
                    "digits and no real-valued scale"
                )
            if exponent_bits([fmt]) > EXPONENT_BITS:
                raise MixditError(
                    f"The array cannot multiply {name}: exponents of its packets need "
                    f"{exponent_bits([fmt])} bits, not {EXPONENT_BITS}"
                )
        self.pe_accumulator  # noqa: B018  checks kind, latency and interleave

    @property
    def block_formats(self) -> tuple[Format, ...]:
        """The formats themselves."""
        return tuple(get_format(name) for name in self.formats)

    @property
    def max_digits(self) -> int:
        """Digits of the widest format."""
        return max(fmt.digits for fmt in self.block_formats)

    @property
    def block_bits(self) -> int:
        """Width of a block's exact signed dot product, the widest of any two formats."""
        return max(dot_bits(a, b) for a in self.block_formats for b in self.block_formats)

    @cached_property
    def pe_accumulator(self) -> AccumulatorConfig:
        """Configuration of a PE's accumulator."""
        return AccumulatorConfig(
            kind=parse_kind(self.accumulator),
            block_bits=self.block_bits,
            exponent_bits=EXPONENT_BITS + 1,
            prepare_register=self.prepare_register,
            loop_latency=self.loop_latency,
            interleave=self.interleave,
        )

    @property
    def cluster_grid(self) -> tuple[int, int]:
        """Rows and columns of clusters."""
        return self.rows // self.cluster_rows, self.cols // self.cluster_cols

    @property
    def tile_shape(self) -> tuple[int, int]:
        """Rows and columns of an output tile."""
        return self.rows, self.cols * self.interleave

    @property
    def drain_cycles(self) -> int:
        """Cycles that a tile takes to leave, and least distance between the ends of two tiles."""
        return self.cluster_rows * self.interleave

    @property
    def drain_latency(self) -> int:
        """Cycles from a tile's last beat in the operand registers to its drain registers."""
        before = dot_latency(self.fabric) + self.dot_register
        return 2 + before + self.pe_accumulator.latency

    @property
    def result_latency(self) -> int:
        """Cycles from a tile's last beat at the input to the first cluster's first result."""
        return 1 + self.drain_latency + ToFp32.LATENCY

    @property
    def skew(self) -> int:
        """Cycles by which the last cluster is behind the first."""
        return sum(self.cluster_grid) - 2

    @property
    def peak_macs_per_cycle(self) -> dict[str, int | None]:
        """Multiply-adds a cycle by format pair; None for a format the array is not built for."""
        peak = {}
        for a, b in (("mx6", "mx6"), ("mx9", "mx6"), ("mx9", "mx9")):
            passes = get_format(a).digits * get_format(b).digits
            built = {a, b} <= set(self.formats)
            peak[f"{a}x{b}"] = self.rows * self.cols * LANES // passes if built else None
        return peak

    def to_dict(self) -> dict[str, object]:
        """Return the parameters, as written to JSON."""
        return {**asdict(self), "formats": list(self.formats)}

    @classmethod
    def from_dict(cls, values: dict[str, object]) -> "ArrayConfig":
        """Build a configuration from JSON values.

        Raises
        ------
        MixditError
            When a parameter is unknown, missing or out of range.
        """
        known = set(cls.__dataclass_fields__)
        for name in values:
            if name not in known:
                raise MixditError(
                    f"Unknown parameter '{name}'; known are {', '.join(sorted(known))}"
                )
        for name in ("rows", "cols"):
            if name not in values:
                raise MixditError(f"Parameter '{name}' is missing")
        formats = values.get("formats", cls.formats)
        if not isinstance(formats, list | tuple):
            raise MixditError(f"formats must be a list of names, not {formats!r}")
        return cls(**{**values, "formats": tuple(formats)})


PRESETS: dict[str, ArrayConfig] = {
    "tiny": ArrayConfig(rows=2, cols=2, cluster_rows=2, cluster_cols=2),
    "small": ArrayConfig(rows=8, cols=8),
    "wide": ArrayConfig(
        rows=8, cols=8, formats=tuple(name for name, fmt in FORMATS.items() if fmt.is_engine_format)
    ),
    "ecp5": ArrayConfig(
        rows=4,
        cols=2,
        cluster_rows=4,
        cluster_cols=2,
        dot_register=True,
        prepare_register=True,
        fabric="fpga",
    ),
    "paper": ArrayConfig(rows=64, cols=64),
}


def get_preset(name: str) -> ArrayConfig:
    """Return the configuration called `name`.

    Raises
    ------
    MixditError
        When there is none.
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise MixditError(f"Preset must be one of {', '.join(PRESETS)}, not '{name}'") from None
