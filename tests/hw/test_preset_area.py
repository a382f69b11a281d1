"""Area of a whole preset by kind."""

import dataclasses
from pathlib import Path

import pytest

from mixdit_hw.area_kinds import KINDS, kind_of, rules_of
from mixdit_hw.config import get_preset
from mixdit_hw.engine.config import get_engine
from mixdit_hw.generate import cached_verilog
from mixdit_hw.preset_area import report_preset
from mixdit_hw.synth.hierarchy import split_units


@pytest.fixture(scope="module")
def array():
    """A report of an array that no engine can be around: few units."""
    return report_preset(dataclasses.replace(get_preset("tiny"), interleave=2), target="generic")


@pytest.fixture(scope="module")
def engine_units():
    text = cached_verilog(get_engine("tiny"), "engine")
    return split_units(text, "engine", open_top=True)


def test_every_unit_of_an_engine_has_a_kind(engine_units):
    names = [unit.name for unit in engine_units]
    assert {"engine.core.loader.gearbox", "engine.core.feed_slot", "dot"} <= set(names)
    assert [name for name in names if kind_of(name).name == "other"] == []


def test_every_kind_is_used(engine_units):
    names = [unit.name for unit in engine_units]
    own = {kind_of(name).name for name in names}
    ruled = {rule.part for name in names for rule in rules_of(name)}
    assert own | ruled | {"other"} == {kind.name for kind in KINDS}


def test_kinds_add_up(array):
    total = array.units[-1]
    assert array.top == "array"
    assert sum(kind.ge for kind in array.kinds) == pytest.approx(total.ge, rel=1e-9)
    assert sum(kind.share for kind in array.kinds) == pytest.approx(1)
    assert array.group("array").ge == pytest.approx(total.ge, rel=1e-9)
    assert {"multipliers", "trees and join", "accumulate", "drain"} < {k.name for k in array.kinds}
    assert total.ge_per_mac == total.ge / 64


def test_multipliers_are_what_a_dot_multiplies_with(array):
    kinds = {kind.name: kind for kind in array.kinds}
    dot = next(unit for unit in array.units if unit.name == "dot")
    assert kinds["multipliers"].units == ["dot"]
    assert 0.2 < kinds["multipliers"].ge / (dot.ge * dot.instances) < 0.7


def test_every_number_has_a_log(array):
    for unit in array.units[:-1]:
        assert Path(unit.log).is_file()
        assert Path(unit.log).with_name("stat.json").is_file()
