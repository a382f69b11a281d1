"""Pareto fronts, rates, the picture."""

from PIL import Image

from mixdit_sim.sweep import picture
from mixdit_sim.sweep.picture import draw_sweep
from mixdit_sim.sweep.plan import Settings
from mixdit_sim.sweep.point import Figures
from mixdit_sim.sweep.results import Place, PointResult, SweepResult, pareto
from mixdit_sw.errors import MixditError

PAIRS = {"mx6xmx6": 64, "mx9xmx6": 32, "mx9xmx9": 16}


def point(name, ge, loss=0.0, mhz=100.0, **changes):
    values = {
        "peak_macs_per_cycle": PAIRS,
        "fp32_converters": 2,
        "mx_converters": None,
        "cycles": 10,
        "utilization": 0.5,
        "ge": ge,
        "memory_bits": 1000,
        "fmax_mhz": mhz,
        "qsnr_db": {"mx6xmx6": 28.0, "mx9xmx6": 32.0, "mx9xmx9": 46.0},
        "loss_db": loss,
        **changes,
    }
    return PointResult(name=name, parameters={}, figures=Figures(**values))


def sweep_result(*points, **settings):
    return SweepResult(settings=Settings(target="generic", **settings), points=list(points))


def place(name, rate, db):
    return Place(name=name, pair="mx6xmx6", rate=rate, db=db)


def test_front():
    best, quality = place("best", 10.0, 20.0), place("quality", 5.0, 30.0)
    beaten = [place("slower", 9.0, 20.0), place("worse", 4.0, 25.0), place("equal", 10.0, 20.0)]
    hardly = place("hardly", 6.0, 20.01)  # closer than what counts as a difference
    assert pareto([beaten[0], hardly, best, *beaten[1:], quality]) == [best, quality]
    assert pareto([]) == []


def test_rates_and_fronts():
    small, large = point("small", 1000.0, loss=0.5), point("large", 2000.0, loss=-0.2)
    result = sweep_result(large, small)
    assert result.unit == "MMAC/s per kGE"
    assert result.rates(small) == {"mx6xmx6": 3200.0, "mx9xmx6": 1600.0, "mx9xmx9": 800.0}
    assert [(x.name, x.db) for x in result.loss_front] == [("small", -0.5), ("large", 0.0)]
    assert [(x.name, x.pair) for x in result.quality_front] == [("small", pair) for pair in PAIRS]
    assert result.to_dict()["pareto"][0] == {
        "name": "small", "pair": "mx6xmx6", "rate": 3200.0, "db": 28.0,
    }  # fmt: skip


def test_losses_are_compared_among_machines_of_the_same_formats():
    only_mx6 = point("mx6", 900.0, peak_macs_per_cycle={**PAIRS, "mx9xmx6": None, "mx9xmx9": None})
    result = sweep_result(point("all", 1000.0), only_mx6, point("slower", 1100.0))
    assert [(x.name, x.pair) for x in result.loss_front] == [("all", "mx9xmx9"), ("mx6", "mx6xmx6")]


def test_memory_counts_as_told():
    assert sweep_result(point("x", 1000.0), memory_ge_per_bit=1.0).points[0].rates(1.0, True) == {
        "mx6xmx6": 1600.0, "mx9xmx6": 800.0, "mx9xmx9": 400.0,
    }  # fmt: skip


def test_rates_without_a_clock():
    result = sweep_result(point("x", 1000.0, mhz=None))
    assert result.unit == "MACs/cycle per MGE"
    assert result.rates(result.points[0])["mx6xmx6"] == 32_000.0
    mixed = sweep_result(point("x", 1000.0, mhz=None), point("y", 1000.0))
    assert mixed.rates(mixed.points[0]) == {}


def test_no_area_no_rate():
    result = sweep_result(point("x", None, memory_bits=None))
    assert result.rates(result.points[0]) == {} and result.by_loss == [] and result.by_quality == []


def test_picture(tmp_path):
    file = tmp_path / "sweep.png"
    result = sweep_result(point("small", 1000.0, loss=0.5), point("large", 2000.0))
    assert draw_sweep(result, file) is None
    with Image.open(file) as image:
        assert image.size[0] > 1000 and len(image.convert("RGB").getcolors(1 << 24)) > 10
    first = file.read_bytes()
    draw_sweep(result, file)
    assert file.read_bytes() == first


def test_nothing_to_draw(tmp_path):
    failed = PointResult(name="x", parameters={}, figures=None, failed="why")
    reason = draw_sweep(sweep_result(failed), tmp_path / "x.png")
    assert reason == "no point has both a rate per area and a QSNR"
    assert list(tmp_path.iterdir()) == []


def test_no_matplotlib(tmp_path, monkeypatch):
    def missing(name):
        raise MixditError(f"Python package {name} is not installed")

    monkeypatch.setattr(picture, "require_package", missing)
    reason = draw_sweep(sweep_result(point("x", 1000.0)), tmp_path / "x.png")
    assert reason == "Python package matplotlib is not installed"
