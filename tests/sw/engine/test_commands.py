"""Commands: every field in its place, and back."""

import random
from dataclasses import replace

import numpy as np
import pytest

from mixdit_sw.engine.commands import (
    ADDRESSES,
    COMMAND_WORDS,
    FIELDS,
    STEPS,
    Command,
    Opcode,
    command_bytes,
)
from mixdit_sw.errors import MixditError


def any_command(rng):
    return Command(**{name: rng.getrandbits(field.width) for name, field in FIELDS.items()})


def test_fields_do_not_overlap_and_fit():
    bits = [32 * f.word + f.bit + i for f in FIELDS.values() for i in range(f.width)]
    assert len(set(bits)) == len(bits) and max(bits) < 32 * COMMAND_WORDS


def test_places():
    """Each field alone sets the bits of its place only."""
    for name, field in FIELDS.items():
        most = (1 << field.width) - 1
        words = Command(**{"opcode": 0, name: most}).pack()
        assert words.dtype == np.uint32 and words.shape == (COMMAND_WORDS,)
        total = int.from_bytes(words.tobytes(), "little")
        assert total == most << 32 * field.word + field.bit, name


def test_round_trip():
    rng = random.Random(0)
    for _ in range(100):
        command = any_command(rng)
        assert Command.unpack(command.pack()) == command


def test_bits_outside_fields_are_dropped():
    words = Command(opcode=Opcode.END).pack()
    words[COMMAND_WORDS - 1] = 7
    assert Command.unpack(words) == Command(opcode=Opcode.END)


@pytest.mark.parametrize("name", FIELDS)
def test_what_does_not_fit_is_refused(name):
    command = any_command(random.Random(1))
    for value in (-1, 1 << FIELDS[name].width):
        with pytest.raises(MixditError, match=f"{name} = {value} does not fit"):
            replace(command, **{name: value}).pack()


def test_names_of_steps():
    for steps in range(1 << len(STEPS)):
        names = Command(opcode=Opcode.GEMM, steps=steps).step_names
        assert names == tuple(n for i, n in enumerate(STEPS) if steps & 1 << i)
    assert len(ADDRESSES) == 7


def test_distance_of_commands():
    assert [command_bytes(bus) for bus in (8, 64, 128, 1024)] == [128, 128, 128, 1024]
