"""Registers: places that do not overlap, and counters of two words."""

from mixdit_sw.engine.registers import COUNTERS, IDENTITY, Control, Register, Status

WIDE = {Register.ERROR_ADDRESS, Register.LIST_ADDRESS, *COUNTERS}


def test_places():
    words = [r + 4 * i for r in Register for i in range(2 if r in WIDE else 1)]
    assert len(set(words)) == len(words)
    assert all(word % 4 == 0 and word < 0x100 for word in words)


def test_counters_are_all_from_cycles_on():
    assert list(COUNTERS) == [r for r in Register if r >= Register.CYCLES]


def test_identity_is_text():
    assert IDENTITY.to_bytes(4, "little") == b"MXDT"


def test_bits():
    for flags in (Control, Status):
        values = [flag.value for flag in flags]
        assert values == [1 << i for i in range(len(values))]
