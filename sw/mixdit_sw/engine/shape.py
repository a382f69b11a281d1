"""What software must know of an engine: its tile, bus, buffers and formats."""

from dataclasses import dataclass
from functools import cached_property

from mixdit_sw.errors import MixditError
from mixdit_sw.formats import LANES, Format, get_format

FP32_BYTES = 4
TAG_BITS = 2
"""Bits of a K-block's format number in a section's header."""


@dataclass(frozen=True, kw_only=True)
class EngineShape:
    """Sizes of an engine that decide how memory is laid out and what fits.

    Members
    -------
    rows, cols : int
        Rows and columns of an output tile.
    bus_bytes : int
        Bytes of a bus word, over all ports; a power of two.
    a_words, b_words : int
        Words of the operand buffers; a word is a digit of one K-block of a tile's rows.
    formats : tuple of str
        Formats of K-blocks; a tag is the number of one of them.
    steps : tuple of str
        Steps of the epilogue that are built.
    address_bits : int
        Bits of a byte address.
    memory_words : float
        Bus words, read or written, that the memory moves a cycle, at most 2.
    """

    rows: int
    cols: int
    bus_bytes: int
    a_words: int
    b_words: int
    formats: tuple[str, ...] = ("mx9", "mx6", "mx4")
    steps: tuple[str, ...] = ()
    address_bits: int = 40
    memory_words: float = 2.0

    @cached_property
    def block_formats(self) -> tuple[Format, ...]:
        """The formats themselves."""
        return tuple(get_format(name) for name in self.formats)

    @property
    def section(self) -> int:
        """K-blocks behind one header: as many tags as a bus word holds, at most 512."""
        return min(8 * self.bus_bytes // TAG_BITS, 512)

    @property
    def group(self) -> int:
        """K-blocks that lie without gaps; the next group begins with a bus word.

        As many as a tile's columns give, when results are stored as an operand.
        """
        return max(1, self.cols // LANES)

    @property
    def group_tiles(self) -> int:
        """Tiles, side by side, whose columns give a group of K-blocks."""
        return max(1, LANES // self.cols)

    @property
    def lanes(self) -> int:
        """FP32 words of a bus word."""
        return self.bus_bytes // FP32_BYTES

    def rows_a_beat(self, *, narrow: bool = False) -> int:
        """Rows of a tile of FP32, or BF16, in a bus word."""
        return self.lanes // self.cols * (2 if narrow else 1)

    @property
    def columns(self) -> int:
        """Columns of C of a command that stores an operand, or converts: those of a section."""
        return self.section * LANES

    @property
    def tile_beats(self) -> int:
        """Bus words of an FP32 output tile."""
        return self.rows * self.cols // self.lanes

    @property
    def row_vector_beats(self) -> int:
        """Bus words of a tile's row scales."""
        return -(-self.rows // self.lanes)

    def height(self, is_b: bool) -> int:
        """Rows of an operand that a tile takes."""
        return self.cols if is_b else self.rows

    def words(self, is_b: bool) -> int:
        """Words of an operand's buffer."""
        return self.b_words if is_b else self.a_words

    def tag(self, fmt: Format) -> int:
        """Number of a format.

        Raises
        ------
        MixditError
            When the engine does not load it.
        """
        try:
            return self.formats.index(fmt.name)
        except ValueError:
            names = ", ".join(self.formats)
            raise MixditError(f"The engine loads {names}, not {fmt.name}") from None

    def slice_bytes(self, fmt: Format, is_b: bool) -> int:
        """Stored bytes of one K-block of a tile's rows."""
        return self.height(is_b) * fmt.row_bytes(LANES)

    def operand_beats(self, formats: tuple[Format, ...], is_b: bool) -> int:
        """Bus words of an operand tile: a header for each section, and its groups."""
        headers = -(-len(formats) // self.section)
        starts = range(0, len(formats), self.group)
        return headers + sum(
            self.group_beats(formats[start : start + self.group], is_b) for start in starts
        )

    def group_beats(self, formats: tuple[Format, ...], is_b: bool) -> int:
        """Bus words of a group of K-blocks."""
        return -(-sum(self.slice_bytes(fmt, is_b) for fmt in formats) // self.bus_bytes)


def stored_formats(
    wanted: tuple[Format, ...], columns: int, col_tiles: int, shape: EngineShape
) -> tuple[Format, ...]:
    """Return the formats of the K-blocks of tiles that are stored as an operand.

    Those that are wanted for so many columns, the last one repeated.

    Raises
    ------
    MixditError
        When they are not those of the columns, or more than a section holds.
    """
    if len(wanted) != -(-columns // LANES):
        raise MixditError(f"C has {-(-columns // LANES)} K-blocks, not {len(wanted)}")
    blocks = col_tiles * shape.cols // LANES
    if blocks > shape.section:
        raise MixditError(
            f"C as an operand may have {shape.columns} columns, not {columns}: compute it in parts"
        )
    return (*wanted, *(wanted[-1:] * (blocks - len(wanted))))


def digit_words(formats: tuple[Format, ...]) -> int:
    """Words of an operand tile in its buffer: one for each digit."""
    return sum(fmt.digits or 0 for fmt in formats)
