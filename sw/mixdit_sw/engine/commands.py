"""Commands of the engine: fields, their places, and words (docs/programming.md)."""

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from mixdit_sw.errors import MixditError

COMMAND_WORDS = 32
"""32-bit words of a command."""


class Opcode(IntEnum):
    """What a command does."""

    END = 1
    GEMM = 2
    CONVERT = 3


class Output(IntEnum):
    """How results are stored."""

    FP32 = 0
    BF16 = 1
    OPERAND = 2


class Error(IntEnum):
    """Why a list ended before its END."""

    NONE = 0
    OPCODE = 1
    FIELD = 2
    SIZE = 3
    ALIGNMENT = 4
    RANGE = 5
    CAPACITY = 6
    READ = 7
    WRITE = 8
    FORMAT = 9
    LENGTH = 10
    STOPPED = 11


STEPS = ("row_scale", "col_scale", "bias", "residual")
"""Steps of the epilogue, in their order."""


class Field(NamedTuple):
    """Place of a field: word of the command, lowest bit in it, width (it may cross words)."""

    word: int
    bit: int
    width: int


FIELDS: dict[str, Field] = {
    "opcode": Field(0, 0, 8),
    "stationary_b": Field(0, 8, 1),
    "wait": Field(0, 9, 1),
    "output": Field(0, 10, 2),
    "steps": Field(0, 12, len(STEPS)),
    "transposed": Field(0, 16, 1),
    "source_bf16": Field(0, 17, 1),
    "row_tiles": Field(1, 0, 16),
    "col_tiles": Field(1, 16, 16),
    "panel": Field(2, 0, 16),
    "k_blocks": Field(2, 16, 16),
    "a_words": Field(3, 0, 16),
    "b_words": Field(3, 16, 16),
    "a_beats": Field(4, 0, 24),
    "b_beats": Field(5, 0, 24),
    "c_row_beats": Field(6, 0, 32),
    "c_col_beats": Field(7, 0, 32),
    "residual_row_beats": Field(8, 0, 32),
    "residual_col_beats": Field(9, 0, 32),
    "a_address": Field(10, 0, 64),
    "b_address": Field(12, 0, 64),
    "c_address": Field(14, 0, 64),
    "residual_address": Field(16, 0, 64),
    "row_vector_address": Field(18, 0, 64),
    "col_vector_address": Field(20, 0, 64),
    "tags_address": Field(22, 0, 64),
}
"""All bits outside these are zero."""

ADDRESSES = tuple(name for name in FIELDS if name.endswith("_address"))


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command; its members are the fields of FIELDS, 0 where they do not apply.

    Members
    -------
    opcode : int
        `Opcode`.
    stationary_b : int
        1: panels are of B's tiles, and A's stream by; 0: the other way round.
    wait : int
        1: begin only when all results of earlier commands are in memory.
    output : int
        `Output`.
    steps : int
        Bit i is set for step i of STEPS.
    transposed : int
        Of a CONVERT: 1 if rows of the source become columns of C.
    source_bf16 : int
        Of a CONVERT: 1 if the source is BF16.
    row_tiles, col_tiles : int
        Tiles of C.
    panel : int
        Stationary tiles that are held at a time.
    k_blocks : int
        K-blocks of every tile.
    a_words, b_words : int
        Buffer words of the longest tile: the digits of its K-blocks.
    a_beats, b_beats : int
        Bus words of an operand tile, and from one tile to the next.
    c_row_beats, c_col_beats, residual_row_beats, residual_col_beats : int
        Bus words from a tile of C, or of the residual, to the one below and to the right.
    a_address, b_address, c_address : int
        Bytes; multiples of a bus word. A's is the table of a transposed CONVERT.
    residual_address, row_vector_address, col_vector_address : int
        What the steps of the epilogue read. The residual's is a CONVERT's source.
    tags_address : int
        Where results are stored as an operand: the bus word of tags of their K-blocks.
    """

    opcode: int
    stationary_b: int = 0
    wait: int = 0
    output: int = 0
    steps: int = 0
    transposed: int = 0
    source_bf16: int = 0
    row_tiles: int = 0
    col_tiles: int = 0
    panel: int = 0
    k_blocks: int = 0
    a_words: int = 0
    b_words: int = 0
    a_beats: int = 0
    b_beats: int = 0
    c_row_beats: int = 0
    c_col_beats: int = 0
    residual_row_beats: int = 0
    residual_col_beats: int = 0
    a_address: int = 0
    b_address: int = 0
    c_address: int = 0
    residual_address: int = 0
    row_vector_address: int = 0
    col_vector_address: int = 0
    tags_address: int = 0

    def pack(self) -> np.ndarray:
        """Return the command as words, uint32 (COMMAND_WORDS,).

        Raises
        ------
        MixditError
            When a value does not fit its field.
        """
        total = 0
        for name, field in FIELDS.items():
            value = getattr(self, name)
            if not 0 <= value < 1 << field.width:
                raise MixditError(f"{name} = {value} does not fit {field.width} bits of a command")
            total |= value << (32 * field.word + field.bit)
        raw = total.to_bytes(4 * COMMAND_WORDS, "little")
        return np.frombuffer(raw, "<u4").astype(np.uint32)

    @classmethod
    def unpack(cls, words: np.ndarray) -> "Command":
        """Return the command of words; bits outside its fields are dropped."""
        total = int.from_bytes(words.astype("<u4").tobytes(), "little")
        values = {
            name: total >> (32 * field.word + field.bit) & ((1 << field.width) - 1)
            for name, field in FIELDS.items()
        }
        return cls(**values)

    @property
    def step_names(self) -> tuple[str, ...]:
        """The steps of the epilogue that are on."""
        return tuple(name for i, name in enumerate(STEPS) if self.steps >> i & 1)


assert [field.name for field in fields(Command)] == list(FIELDS)


def command_bytes(bus_bytes: int) -> int:
    """Return the bytes from one command of a list to the next."""
    return max(4 * COMMAND_WORDS, bus_bytes)
