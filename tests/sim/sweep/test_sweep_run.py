"""Running a sweep: what is kept, what is measured again, what happens to points that fail."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from mixdit_sim.sweep.plan import read_sweep
from mixdit_sim.sweep.point import Figures
from mixdit_sim.sweep.run import run_sweep
from mixdit_sw.errors import MixditError

VARY = ["rows=2,4,8", "cols=2"]


def figures(point):
    """Stand in for a measurement, by the array's size."""
    array = point.machine
    return Figures(
        peak_macs_per_cycle=array.peak_macs_per_cycle,
        fp32_converters=1,
        mx_converters=None,
        cycles=1000,
        utilization=0.5,
        ge=400.0 * 16 * array.rows * array.cols,
        memory_bits=0,
        fmax_mhz=100.0,
    )


class Bench:
    """Runs a sweep in threads; counts what it measures."""

    def __init__(self, out):
        self.out = out
        self.measured = []
        self.told = []

    def run(self, measure=figures, vary=VARY, **options):
        sweep = read_sweep(None, {"target": "generic", **options}, vary)
        self.measured.clear()

        def measure_point(point):
            self.measured.append(point.machine.rows)
            return measure(point)

        def progress(*what):
            self.told.append(what)

        with ThreadPoolExecutor(1) as executor:
            return run_sweep(sweep, self.out, executor, progress, measure_point)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path / "out")


def test_results_in_order_and_kept(bench):
    result = bench.run()
    assert [x.name for x in result.points] == ["rows=2", "rows=4", "rows=8"]
    assert sorted(bench.measured) == [2, 4, 8]
    assert bench.told[-1][:2] == (3, 3)
    # 64 MACs a cycle, at 100 MHz and half of the time, in 25.6 kGE.
    assert result.points[0].rates(0.0, True)["mx6xmx6"] == pytest.approx(64 * 0.5 * 100 / 25.6)
    text = (bench.out / "sweep.json").read_bytes()
    assert json.loads(text) == json.loads(json.dumps(result.to_dict()))
    again = bench.run()
    assert bench.measured == [] and again == result
    assert (bench.out / "sweep.json").read_bytes() == text


def test_interrupted_sweep_goes_on(bench):
    def interrupted(point):
        if point.machine.rows == 4:
            raise KeyboardInterrupt
        return figures(point)

    with pytest.raises(KeyboardInterrupt):
        bench.run(interrupted)
    assert len(list((bench.out / "points").glob("*.json"))) == 1
    assert not (bench.out / "sweep.json").exists()
    bench.run()
    assert 2 not in bench.measured and 4 in bench.measured


def test_only_new_points_are_measured(bench):
    bench.run()
    result = bench.run(vary=["rows=2,16", "cols=2"])
    assert bench.measured == [16]
    assert [x.parameters["rows"] for x in result.points] == [2, 16]


def test_other_settings_are_other_results(bench):
    bench.run()
    bench.run(recipe="reference")
    assert sorted(bench.measured) == [2, 4, 8]


def test_failed_point_does_not_stop_the_sweep_and_is_tried_again(bench):
    def fails(point):
        if point.machine.rows == 4:
            raise MixditError("Yosys failed")
        if point.machine.rows == 8:
            raise RuntimeError("two\nlines")
        return figures(point)

    result = bench.run(fails)
    assert [x.status for x in result.points] == ["measured", "failed", "failed"]
    (trace,) = bench.out.glob("points/*.traceback")
    assert "in fails" in trace.read_text() and "two\nlines" in trace.read_text()
    reasons = [None, "Yosys failed", f"RuntimeError: two lines ({trace})"]
    assert [x.failed for x in result.points] == reasons
    saved = json.loads((bench.out / "sweep.json").read_text())["points"]
    assert [x["reason"] for x in saved] == reasons
    assert {x.status for x in bench.run().points} == {"measured"}
    assert sorted(bench.measured) == [4, 8]


def test_refused_point_is_not_measured(bench):
    vary = ["accumulator=aligned40,fp32", "loop_latency=1,2", "interleave=2", "rows=2", "cols=2"]
    result = bench.run(vary=vary)
    assert [x.status for x in result.points].count("refused") == 1
    assert len(bench.measured) == 3
    refused = next(x for x in result.points if x.status == "refused")
    assert refused.refused == "Loop latency of aligned40 must be 1..1, not 2"


@pytest.mark.parametrize("damage", ["", "{", "[1, 2]", '{"cycles": 3}'])
def test_damaged_result_is_measured_again(bench, damage):
    bench.run()
    next((bench.out / "points").glob("*.json")).write_text(damage)
    bench.run()
    assert len(bench.measured) == 1


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MixditError, match="Cannot write .*sweep.json: .* is not a folder"):
        Bench(tmp_path / "file").run()
