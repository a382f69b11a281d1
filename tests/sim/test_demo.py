"""The demo on a corner of its workload: the shipped model's operands, a 2 x 2 array."""

import json
import shutil

import numpy as np
import pytest
from matplotlib import image

from mixdit_cli import main
from mixdit_hw.engine.config import get_engine
from mixdit_sim.demo import picture, run, workload
from mixdit_sim.demo.report import DemoReport, LayerReport
from mixdit_sim.demo.workload import Layer, Part, capture_layers, quantize_all_mx6
from mixdit_sw.formats import MX6, MX9
from mixdit_sw.models.load import WeightsError
from mixdit_sw.operand import quantize_pair, select_high_channels

NAMES = ["qkv", "qk", "av", "proj", "fc1", "fc2"]
GEMM_KEYS = {"name", "shape", "formats", "macs", "cycles", "utilization", "qsnr_db", "mismatches"}

needs_icarus = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="Icarus (Debian's iverilog) is not installed"
)


def corner(layer, parts):
    """A few rows, columns and channels of a layer's first products."""
    few = []
    for part in layer.parts[:parts]:
        a, b = part.a[:3, :40].copy(), part.b[:4, :40].copy()
        formats = part.quantized[0].formats[-1], part.quantized[1].formats[-1]
        high = None if layer.name in ("qk", "av") else select_high_channels(a, 16)
        few.append(Part(a, b, quantize_pair(a, b, *formats, high)))
    return Layer(layer.name, layer.formats, few)


@pytest.fixture(scope="module")
def layers():
    return capture_layers()


@pytest.fixture
def few(layers, monkeypatch):
    """The demo's workload is a corner of itself."""
    chosen = [corner(layer, 2) for layer in layers]
    monkeypatch.setattr(run, "capture_layers", lambda: chosen)
    # Areas have tests of their own; generic gates are there without a cell library.
    monkeypatch.setattr(run, "_library", lambda: "generic")
    return chosen


def test_workload_is_a_block_of_the_model(layers):
    assert [layer.name for layer in layers] == NAMES
    shapes = {layer.name: layer.shape for layer in layers}
    count, tokens, _, head = shapes["qk"]
    width = shapes["proj"][3]
    assert shapes["av"] == (count, tokens, head, tokens)
    assert shapes["qkv"] == (1, shapes["proj"][1], 3 * width, width)
    assert shapes["fc1"] == shapes["fc2"][:2] + shapes["fc2"][:1:-1]
    assert count * head == 4 * width


def test_formats_are_mixed_as_told(layers):
    for layer in layers:
        first = [part.quantized[0].formats for part in layer.parts]
        if layer.name in ("qk", "av"):
            high = [formats[0] is MX9 for formats in first]
            heads = len(high) // 4
            # One head of each of four samples.
            assert np.reshape(high, (4, heads)).sum(axis=1).tolist() == [1] * 4
            assert all(len(set(formats)) == 1 for formats in first)
        else:
            assert [fmt.name for fmt in first[0]].count("mx9") == 1
            assert set(layer.parts[0].quantized[1].formats) == {MX6}
    part = layers[0].parts[0]
    assert set(quantize_all_mx6(part)[0].formats) == {MX6}


def test_high_channels_are_the_largest(layers):
    a, quantized = layers[0].parts[0].a, layers[0].parts[0].quantized[0]
    largest = np.abs(a).max(axis=0)
    assert largest[quantized.order[:16]].min() >= largest[quantized.order[16:]].max()


def test_high_heads_have_the_largest_scores(layers):
    parts = next(layer.parts for layer in layers if layer.name == "qk")
    for sample in np.array(range(len(parts))).reshape(4, -1):
        scores = [np.abs(parts[i].a @ parts[i].b.T).max() for i in sample]
        high = [parts[i].quantized[0].formats[0] is MX9 for i in sample]
        assert int(np.argmax(scores)) == high.index(True)


@needs_icarus
def test_report_json_and_picture(few, tmp_path):
    told = []
    report = run.run_demo(
        get_engine("tiny"), tmp_path / "out", simulator="icarus", progress=told.append
    )
    files = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert files == ["demo.json", "demo.png", "engine.v", "manifest.json"]
    assert report.passed
    assert [gemm.name for gemm in report.gemms] == NAMES
    assert all(gemm.cycles == gemm.predicted_cycles for gemm in report.gemms)
    assert [gemm.shape for gemm in report.gemms] == [layer.shape for layer in few]
    assert all(0 < gemm.utilization <= 1 for gemm in report.gemms)
    assert all(gemm.macs == np.prod(gemm.shape) for gemm in report.gemms)
    qkv = report.gemms[0]
    assert qkv.qsnr_db > qkv.qsnr_mx6_db
    saved = json.loads((tmp_path / "out" / "demo.json").read_text())
    assert saved == json.loads(json.dumps(report.to_dict()))
    assert set(saved["gemms"][0]) >= GEMM_KEYS
    assert saved["area"]["units"][-1]["name"] == "total"
    pixels = image.imread(tmp_path / "out" / "demo.png")
    assert pixels.shape[0] > 500 and pixels.std() > 0.1
    assert any("RTL" in line for line in told)


def outcome(name="fc1", **changes):
    """A layer's report without a fault."""
    values = {
        "shape": (1, 3, 4, 40),
        "formats": "",
        "macs": 480,
        "cycles": 30,
        "predicted_cycles": 30,
        "utilization": 0.5,
        "stalls": {},
        "qsnr_db": 30.0,
        "qsnr_mx6_db": 28.0,
        "mismatches": 0,
    }
    return LayerReport(name=name, **{**values, **changes})


@pytest.mark.parametrize(
    ("fault", "status"), [({}, 0), ({"mismatches": 1}, 1), ({"cycles": 31}, 1)]
)
def test_any_fault_fails_the_demo(fault, status, monkeypatch, capsys, tmp_path):
    area = run.report_area(get_engine("tiny").array, top="to_fp32")
    report = DemoReport(gemms=[outcome(), outcome(**fault)], area=area)
    monkeypatch.setattr(run, "run_demo", lambda *_, **__: report)
    monkeypatch.setattr(main.sys, "argv", ["mixdit", "demo", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code == status
    assert ("error: RTL and golden model" in capsys.readouterr().err) == bool(status)


@needs_icarus
def test_flipped_bit_is_a_mismatch(few, tmp_path, monkeypatch):
    real = run.run_layers

    def wrong(*arguments, **options):
        results = real(*arguments, **options)
        results[-1].c[-1].view(np.uint32)[0, 0] ^= 1
        return results

    monkeypatch.setattr(run, "run_layers", wrong)
    report = run.run_demo(get_engine("tiny"), tmp_path, simulator="icarus")
    assert [gemm.mismatches for gemm in report.gemms] == [0, 0, 0, 0, 0, 1]
    assert not report.passed


@pytest.mark.parametrize("heights", [range(6, 0, -1), range(1, 7), [6] * 6])
def test_legends_do_not_cover_bars(heights, monkeypatch, tmp_path, layers):
    figures = []
    gemms = [
        outcome(name, cycles=1000 * h, qsnr_db=10.0 * h, qsnr_mx6_db=9.0 * h)
        for name, h in zip(NAMES, heights, strict=True)
    ]
    with monkeypatch.context() as patch:
        patch.setattr(picture.plt, "close", figures.append)
        picture.draw_demo(layers, DemoReport(gemms=gemms, area=None), tmp_path / "demo.png")
    with_legend = [axes for axes in figures[0].axes if axes.get_legend()]
    assert len(with_legend) == 2
    for axes in with_legend:
        legend = axes.get_legend().get_window_extent()
        assert not any(legend.overlaps(x.get_window_extent()) for x in axes.patches + axes.texts)
    picture.plt.close(figures[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "paper"], "the limit is 256 PEs"),
        (["--simulator", "vcs"], "Simulator must be one of"),
        (["--preset", "huge"], "Preset must be one of"),
    ],
)
def test_bad_option_is_refused_before_any_work(arguments, message, monkeypatch, capsys, tmp_path):
    out = tmp_path / "out"
    monkeypatch.setattr(main.sys, "argv", ["mixdit", "demo", "--out", str(out), *arguments])
    with pytest.raises(SystemExit) as end:
        main.main()
    error = capsys.readouterr().err
    assert end.value.code == 2
    assert error.startswith("error: ") and error.count("\n") == 1
    assert message in error
    assert not out.exists()


def test_missing_weights(monkeypatch, tmp_path):
    def missing():
        raise WeightsError("weight file x does not exist")

    monkeypatch.setattr(workload, "load_dit", missing)
    with pytest.raises(WeightsError, match="does not exist"):
        capture_layers()
