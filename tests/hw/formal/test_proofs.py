"""Every proof of the list holds; those of the default suite take seconds each."""

import sys

import pytest
from amaranth.back import rtlil

from mixdit_hw.blocks.converter import MxConverter
from mixdit_hw.config import PRESETS
from mixdit_hw.formal.fp32 import cases
from mixdit_hw.formal.proofs import FORMATS, proofs
from mixdit_hw.pe.pe import PE
from mixdit_sw.codec.packets import passes

ON_LINUX = pytest.mark.skipif(sys.platform == "darwin", reason="bitwuzla has no package for macOS")


@ON_LINUX
@pytest.mark.parametrize(
    "proof",
    [
        pytest.param(proof, id=proof.name, marks=[pytest.mark.heavy] if proof.heavy else [])
        for proof in proofs()
    ],
)
def test_holds(proof):
    assert (proof.run().folder / "proof.sby").is_file()


def test_names_are_unique():
    names = [proof.name for proof in proofs()]
    assert len(set(names)) == len(names)


def test_fp32_cases_are_the_whole_space():
    """Differences of any block's exponent and any state's (1..254) are each in one case."""
    bits = PRESETS["small"].pe_accumulator.exponent_bits
    ranges = [range(c.low, c.high + 1) for c in cases(bits) if c.low is not None]
    lowest, highest = -(1 << bits) - 254, (1 << bits) - 1 - 1
    for gap in range(lowest, highest + 1):
        assert sum(gap in found for found in ranges) == 1


def test_passes_are_each_pair_of_digits_once():
    """What the join's sum over passes takes for granted."""
    for p in (1, 2, 3):
        for q in (1, 2, 3):
            pairs = [(step.a_digit, step.b_digit) for step in passes(p, q)]
            assert sorted(pairs) == [(i, j) for i in range(p) for j in range(q)]


def test_units_contain_no_properties():
    for unit in (MxConverter(FORMATS), PE(PRESETS["tiny"].pe_accumulator, dot_register=False)):
        assert "$check" not in rtlil.convert(unit)
