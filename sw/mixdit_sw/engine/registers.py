"""Registers of the engine, 32 bits each, by byte offset (docs/programming.md)."""

from enum import IntEnum, IntFlag

IDENTITY = 0x5444_584D
"""ASCII MXDT, first letter in the lowest byte."""
VERSION = 0x0001_0000
"""Major version in the upper half, minor in the lower: of registers, commands and layout."""


class Register(IntEnum):
    """Byte offsets. Counters have 64 bits, the lower word first, and are zeroed by a start."""

    IDENTITY = 0x00
    VERSION = 0x04
    TILE = 0x08
    BUS = 0x0C
    WORDS = 0x10
    FEATURES = 0x14
    CONTROL = 0x20
    STATUS = 0x24
    ERROR = 0x28
    INTERRUPT_ENABLE = 0x2C
    ERROR_ADDRESS = 0x30
    LIST_ADDRESS = 0x38
    CYCLES = 0x40
    BUSY = 0x48
    STALL_LOAD = 0x50
    STALL_DRAIN = 0x58
    STALL_STORE = 0x60
    STALL_CONVERT = 0x68
    NAN_BLOCKS = 0x70
    TILES = 0x78


COUNTERS = (
    Register.CYCLES,
    Register.BUSY,
    Register.STALL_LOAD,
    Register.STALL_DRAIN,
    Register.STALL_STORE,
    Register.STALL_CONVERT,
    Register.NAN_BLOCKS,
    Register.TILES,
)


class Control(IntFlag):
    """Bits of CONTROL; a 1 written acts, it reads as zero."""

    START = 1
    STOP = 2
    CLEAR = 4


class Status(IntFlag):
    """Bits of STATUS."""

    BUSY = 1
    DONE = 2
    ERROR = 4
    NAN = 8
