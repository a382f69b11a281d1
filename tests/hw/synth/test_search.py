"""The search for a unit's best form, and the list of what is compared."""

from functools import partial

import pytest

from mixdit_hw.synth.baselines import IntMac, IntPipeline, search, variants


def test_forms_are_ordered_by_rate(timing_installed):
    forms = tuple((partial(IntMac, 4, IntPipeline(s)), s == 2) for s in (1, 2))
    candidate = variants.Candidate("INT4", {"": 1}, forms)
    said = []
    found = search.measure_forms(candidate, "osu018", "sized", progress=said.append)
    assert len(found) == 2 + 4  # flat or not; with two stages, Booth or not as well
    assert [f.booth for f in found if f.module == "int4_mac"] == [False, False]
    assert [f.rate() for f in found] == sorted((f.rate() for f in found), reverse=True)
    for form in found:
        assert form.rate() == pytest.approx(1000 * form.fmax_mhz / form.ge)
        assert form.netlist.is_file() and form.timing_log.is_file()
        assert all((folder / "yosys.log").is_file() for folder in form.folders)


def test_modes_scale_area():
    values = dict.fromkeys(("name", "module", "build", "booth", "flat", "start", "end"))
    values |= dict.fromkeys(("netlist", "folders", "timing_log"))
    unit = search.Measured(**values, ge=800.0, fmax_mhz=100.0, macs={"mx6": 16, "mx9": 4})
    assert (unit.ge_per_mac("mx6"), unit.ge_per_mac("mx9")) == (50, 200)
    assert (unit.rate("mx6"), unit.rate("mx9")) == (2000, 500)


def test_pipelines_cover_one_to_four_stages():
    assert {p.stages for p in variants.INT_PIPELINES} == {1, 2, 3, 4}
    assert {p.skew for p in variants.INT_PIPELINES} == {False, True}
    assert {p.stages for p in variants.LOOP_PIPELINES} == {1, 2, 3, 4}
    assert {p.interleave for p in variants.LOOP_PIPELINES} == {1, 2, 3, 4}


def test_what_is_compared():
    names = [candidate.name for candidate in variants.candidates()]
    assert len(set(names)) == len(names)
    assert {"INT8 MAC", "FP16 MAC", "2-bit-decomposed PE", "PE", variants.ARRAY} <= set(names)
    pe, array = variants.candidates()[-2:]
    assert pe.macs == {"mx6xmx6": 16, "mx9xmx6": 8, "mx9xmx9": 4}
    assert array.macs == {"mx6xmx6": 1024, "mx9xmx6": 512, "mx9xmx9": 256}
