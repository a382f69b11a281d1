"""Configuration of an engine: an array and what surrounds it."""

from dataclasses import dataclass, replace
from functools import cached_property

from mixdit_hw.config import PRESETS, ArrayConfig
from mixdit_hw.epilogue.config import EpilogueConfig
from mixdit_hw.packet import PACKET
from mixdit_sw.engine.commands import STEPS
from mixdit_sw.engine.shape import EngineShape
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import LANES, MicroExponentFormat

PAGE_BYTES = 4096
"""A burst does not cross a multiple of this."""
MAX_BURST = 256
"""Beats of the longest AXI4 burst."""


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """What an engine is built for.

    Members
    -------
    array : ArrayConfig
        The array.
    port_bytes : int
        Width of an AXI port; a power of two.
    ports : int
        AXI ports, that move together: a bus word is striped over them. A power of two.
    buffer_bytes : int
        Size of each operand buffer.
    outstanding : int
        Bus words that may be asked for before they come.
    extra_words : int
        Bus words of the queue of epilogue operands.
    address_bits : int
        Bits of a byte address.
    steps : tuple of str
        Steps of the epilogue that are built.
    memory_latency : int
        Cycles of the memory that it is meant for. With `memory_words` it decides schedules and
        predictions, nothing in hardware.
    memory_words : float
        Bus words, read or written, that this memory moves a cycle: 2 is one in each direction.
    """

    array: ArrayConfig
    port_bytes: int
    ports: int = 1
    buffer_bytes: int
    outstanding: int = 256
    extra_words: int = 64
    address_bits: int = 40
    steps: tuple[str, ...] = STEPS
    memory_latency: int = 100
    memory_words: float = 2.0

    def __post_init__(self) -> None:
        for name in ("port_bytes", "ports"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1 or value & (value - 1):
                raise MixditError(f"{name} must be a power of two, not {value!r}")
        positive = ("buffer_bytes", "outstanding", "extra_words", "address_bits", "memory_latency")
        for name in positive:
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise MixditError(f"{name} must be a positive integer, not {value!r}")
        if not isinstance(self.memory_words, int | float) or not 0.01 <= self.memory_words <= 2:
            raise MixditError(f"memory_words must be 0.01..2, not {self.memory_words!r}")
        if not 20 <= self.address_bits <= 64:
            raise MixditError(f"address_bits must be 20..64, not {self.address_bits}")
        if self.steps != tuple(step for step in STEPS if step in self.steps):
            raise MixditError(
                f"steps must be some of {', '.join(STEPS)}, in this order, not {self.steps!r}"
            )
        if not 8 <= self.port_bytes <= 128:
            raise MixditError(f"port_bytes must be 8..128, not {self.port_bytes}")
        array = self.array
        if array.interleave != 1:
            raise MixditError("The engine needs an array with interleave = 1")
        if not all(isinstance(fmt, MicroExponentFormat) for fmt in array.block_formats):
            names = ", ".join(array.formats)
            raise MixditError(f"The engine loads mx9, mx6 and mx4 only, not {names}")
        row_bytes = 4 * array.cols
        grid = array.cluster_grid[0]
        if self.bus_bytes % row_bytes or grid % (self.bus_bytes // row_bytes):
            raise MixditError(
                f"A bus word of {self.bus_bytes} bytes must hold whole rows of a tile, "
                f"{row_bytes} bytes each, and their number divide the {grid} cluster rows"
            )
        if LANES % array.cols and array.cols % LANES:
            raise MixditError(f"The engine's columns must divide {LANES} or be a multiple of it")
        groups = grid * row_bytes // self.bus_bytes
        if groups & (groups - 1):
            raise MixditError(
                f"The {grid} cluster rows must take a power of two of bus words, not {groups}"
            )
        if self.shape.tile_beats % 2:
            raise MixditError(
                f"A tile must have an even number of bus words, not {self.shape.tile_beats}"
            )
        if self.words < 2 * array.max_digits:
            raise MixditError(f"buffer_bytes must hold two blocks, not {self.buffer_bytes}")
        if self.outstanding < self.burst or self.extra_words < 2:
            raise MixditError(
                f"outstanding must be at least a burst of {self.burst} bus words, "
                "and extra_words at least 2"
            )

    def to_dict(self) -> dict[str, object]:
        """Return the parameters, as written to JSON."""
        own = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "array"}
        return {**self.array.to_dict(), "engine": {**own, "steps": list(self.steps)}}

    @property
    def bus_bytes(self) -> int:
        """Bytes of a bus word."""
        return self.port_bytes * self.ports

    @property
    def burst(self) -> int:
        """Bus words of the longest burst; bursts end at multiples of it."""
        return min(PAGE_BYTES // self.port_bytes, MAX_BURST)

    @property
    def requests(self) -> int:
        """Requests whose words have not all come: many, since gathered rows are a word each."""
        return max(self.outstanding // 2, 2)

    @property
    def beat_bits(self) -> int:
        """Bits of an address in bus words."""
        return self.address_bits - (self.bus_bytes.bit_length() - 1)

    @property
    def words(self) -> int:
        """Words of an operand buffer."""
        packets = max(self.array.rows, self.array.cols) * PACKET.size
        return 8 * self.buffer_bytes // packets

    @cached_property
    def shape(self) -> EngineShape:
        """What software must know."""
        return EngineShape(
            rows=self.array.rows,
            cols=self.array.cols,
            bus_bytes=self.bus_bytes,
            a_words=self.words,
            b_words=self.words,
            formats=tuple(self.array.formats),
            steps=self.steps,
            address_bits=self.address_bits,
            memory_words=self.memory_words,
        )

    @property
    def transposes(self) -> bool:
        """Conversion from a transposed source is built: tiles are square, of a power of two."""
        rows, cols = self.heights
        return rows == cols and rows & (rows - 1) == 0 and rows > self.shape.rows_a_beat()

    @property
    def epilogue(self) -> EpilogueConfig:
        """Configuration of the epilogue; only where steps are built."""
        shape = self.shape
        return EpilogueConfig(shape.rows, shape.cols, shape.lanes, self.steps, self.array.fabric)

    @property
    def heights(self) -> tuple[int, int]:
        """Rows of A and of B in a tile."""
        return self.array.rows, self.array.cols

    def slice_bytes(self, is_b: bool) -> list[int]:
        """Stored bytes of one K-block of a tile's rows, by format number."""
        return [self.heights[is_b] * fmt.row_bytes(LANES) for fmt in self.array.block_formats]


ENGINES: dict[str, EngineConfig] = {
    "tiny": EngineConfig(array=PRESETS["tiny"], port_bytes=8, buffer_bytes=2048, extra_words=16),
    "small": EngineConfig(array=PRESETS["small"], port_bytes=32, buffer_bytes=64 << 10),
    "ecp5": EngineConfig(
        array=PRESETS["ecp5"], port_bytes=8, buffer_bytes=48 << 10, extra_words=16, address_bits=32
    ),
    "paper": EngineConfig(
        array=PRESETS["paper"],
        port_bytes=128,
        ports=8,
        buffer_bytes=256 << 10,
        outstanding=512,
        memory_latency=200,
        memory_words=936 / 1024,
    ),
}
"""Engines of the presets that have one; the memory of `paper` moves 936 bytes a cycle."""


def get_engine(name: str) -> EngineConfig:
    """Return the engine of a preset.

    Raises
    ------
    MixditError
        When there is none.
    """
    if name not in ENGINES:
        raise MixditError(f"Engine must be one of {', '.join(ENGINES)}, not '{name}'")
    return ENGINES[name]


def engine_for(array: ArrayConfig) -> EngineConfig:
    """Return the engine around an array: its preset's, or one with a bus word of a tile's row.

    Raises
    ------
    MixditError
        When the array cannot be in an engine.
    """
    for engine in ENGINES.values():
        if engine.array == array:
            return engine
    row_bytes = 4 * array.cols
    ports = max(1, row_bytes // 128)
    return EngineConfig(
        array=array,
        port_bytes=row_bytes // ports,
        ports=ports,
        buffer_bytes=(8 << 10) * max(array.rows, array.cols),
    )


def engine_from_dict(values: dict[str, object]) -> EngineConfig:
    """Build a configuration from JSON values: an array's, and an engine's under "engine".

    Raises
    ------
    MixditError
        When a parameter is unknown, missing or out of range.
    """
    rest = dict(values)
    own = rest.pop("engine", {})
    if not isinstance(own, dict):
        raise MixditError(f"engine must be an object of parameters, not {own!r}")
    known = set(EngineConfig.__dataclass_fields__) - {"array"}
    for name in own:
        if name not in known:
            raise MixditError(f"Unknown parameter '{name}'; known are {', '.join(sorted(known))}")
    steps = own.get("steps", STEPS)
    if not isinstance(steps, list | tuple):
        raise MixditError(f"steps must be a list of names, not {steps!r}")
    engine = engine_for(ArrayConfig.from_dict(rest))
    return replace(engine, **{**own, "steps": tuple(steps)})
