"""One GEMM on every backend: the same bytes, and the cycles that were predicted."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from hw_driver import count_different, operands

from mixdit_hw.config import ArrayConfig, get_preset
from mixdit_sim.array.beats import Gemm
from mixdit_sim.array.cycles import predict_cycles
from mixdit_sim.array.exchange import load_operands, save_operands
from mixdit_sim.array.rtl import run_gemms
from mixdit_sim.gemm import GemmOptions, run_gemm
from mixdit_sw.errors import MixditError
from mixdit_sw.files import save_npy
from mixdit_sw.formats import MX6
from mixdit_sw.gemm.kinds import parse_kind
from mixdit_sw.gemm.reference import golden_gemm
from mixdit_sw.operand import quantize_pair

needs_icarus = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="Icarus (Debian's iverilog) is not installed"
)
simulators = pytest.mark.parametrize(
    "simulator", ["verilator", pytest.param("icarus", marks=needs_icarus)]
)
TINY = get_preset("tiny")
"""Always this array, so that each simulator builds it once."""


def matrices(m, n, k, seed=0):
    """Operands with outlier channels, a block of zeros and a NaN."""
    rng = np.random.default_rng(seed)
    a, b = (rng.normal(size=(rows, k)).astype(np.float32) for rows in (m, n))
    a[:, ::9] *= 50
    b[0, :16] = 0
    a[-1, -1] = np.nan
    return a, b


def output(path, a, b, **options):
    """Run a GEMM on the tiny array; return the bytes of its .npy file and the report."""
    mixed = GemmOptions(a_high="5", b_high="3", **options)
    c, report = run_gemm(a, b, TINY, mixed)
    save_npy(path, c)
    return path.read_bytes(), report


def golden(pair, config=TINY):
    return golden_gemm(*pair, parse_kind(config.accumulator))


@simulators
def test_rtl_and_golden_write_the_same_bytes(simulator, tmp_path):
    a, b = matrices(5, 7, 70)
    expected, by_model = output(tmp_path / "golden.npy", a, b)
    found, on_rtl = output(tmp_path / "rtl.npy", a, b, backend="rtl", simulator=simulator)
    assert found == expected
    assert on_rtl.bit_exact
    assert on_rtl.mismatches == 0
    assert (on_rtl.scope, by_model.scope) == ("engine", "array")
    assert on_rtl.cycles == on_rtl.predicted_cycles > by_model.predicted_cycles
    assert on_rtl.utilization < by_model.utilization
    assert on_rtl.nan_blocks == by_model.nan_blocks == 1
    assert on_rtl.padding == 10
    assert (by_model.cycles, by_model.bit_exact, by_model.mismatches) == (None, None, None)


def test_long_k_runs_through_the_engine_in_parts():
    a, b = matrices(3, 4, 1700)
    _, by_model = run_gemm(a, b, TINY, GemmOptions(a_high="5"))
    assert by_model.predicted_cycles > 2 * 83  # more than a buffer holds
    _, on_rtl = run_gemm(a, b, TINY, GemmOptions(a_high="5", backend="rtl"))
    assert (on_rtl.scope, on_rtl.mismatches) == ("engine", 0)
    assert on_rtl.cycles == on_rtl.predicted_cycles


def test_what_no_engine_can_run_runs_on_the_array_alone():
    a, b = matrices(3, 4, 40)
    told = []
    interleaved = replace(TINY, interleave=2)
    options = GemmOptions(backend="rtl", simulator="verilator")
    _, report = run_gemm(a, b, interleaved, options, told.append)
    assert (report.scope, report.mismatches) == ("array", 0)
    assert report.cycles == report.predicted_cycles
    assert any("No engine can run this" in line and "interleave = 1" in line for line in told)


@simulators
def test_bits_do_not_depend_on_pressure(simulator):
    pairs = [operands(name, m=3, k=50) for name in ("mx6xmx6-mixed", "mx9xmx9")]
    (calm, *_), (hard, other) = (
        run_gemms(TINY, pairs, simulator=simulator, valid=valid, ready=ready, seed=3)
        for valid, ready in ((1, 1), (0.5, 0.3))
    )
    assert calm.c.tobytes() == hard.c.tobytes() == golden(pairs[0]).tobytes()
    assert other.c.tobytes() == golden(pairs[1]).tobytes()
    assert hard.cycles > calm.cycles == predict_cycles(Gemm.of(TINY, *pairs[0]))


@simulators
def test_gemms_follow_each_other(simulator):
    """Nothing of a GEMM, its NaN included, is left for the next."""
    one = np.ones((1, 1), np.float32)
    pairs = [operands("mx9xmx9", k=49), quantize_pair(one, one, MX6, MX6), operands("mx6xmx6")]
    results = run_gemms(TINY, pairs, simulator=simulator)
    for pair, result in zip(pairs, results, strict=True):
        assert count_different(result.c, golden(pair)) == 0
        assert result.cycles == predict_cycles(Gemm.of(TINY, *pair))


@needs_icarus
def test_waves(tmp_path):
    waves = tmp_path / "new" / "waves.fst"
    pair = operands("mx6xmx6")
    (result,) = run_gemms(TINY, [pair], simulator="icarus", waves=waves)
    assert count_different(result.c, golden(pair)) == 0
    assert waves.stat().st_size > 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"simulator": "vcs"}, "Simulator must be one of verilator, icarus, not 'vcs'"),
        ({"config": get_preset("paper")}, "4096 PEs is too large to simulate; the limit is 256"),
    ],
)
def test_bad_argument(options, message):
    with pytest.raises(MixditError, match=message):
        run_gemms(**{"config": TINY, "gemms": [operands("mx6xmx6")], **options})


def test_waves_without_a_place(tmp_path):
    (tmp_path / "file").write_text("")
    for waves, message in (
        (tmp_path / "file" / "waves.fst", "File exists|Not a directory"),
        (tmp_path, "it is a folder"),
    ):
        with pytest.raises(MixditError, match=message):
            run_gemms(TINY, [operands("mx6xmx6")], waves=waves)


def test_largest_array_that_is_simulated(monkeypatch):
    """The limit itself is allowed: what fails then is the missing compiler."""
    monkeypatch.setenv("PATH", "")
    for cols, message in ((16, "is not installed"), (32, "512 PEs is too large")):
        with pytest.raises(MixditError, match=message):
            run_gemms(ArrayConfig(rows=16, cols=cols), [operands("mx6xmx6")])


def test_operands_reach_the_simulator_unchanged(tmp_path):
    pair = operands("mx4xmx6-mixed")
    save_operands(tmp_path / "gemm.npz", *pair)
    for sent, received in zip(pair, load_operands(tmp_path / "gemm.npz"), strict=True):
        assert sent.formats == received.formats
        for name in ("codes", "exponents", "micro_exponents", "order"):
            assert getattr(sent, name).dtype == getattr(received, name).dtype
            assert np.array_equal(getattr(sent, name), getattr(received, name))


@pytest.mark.heavy
def test_small_preset_on_rtl(tmp_path):
    a, b = matrices(70, 90, 200)
    small = get_preset("small")
    options = {"a_high": "20", "b_format": "mx9"}
    expected, _ = run_gemm(a, b, small, GemmOptions(**options))
    found, report = run_gemm(a, b, small, GemmOptions(backend="rtl", **options))
    assert found.tobytes() == expected.tobytes()
    assert report.bit_exact
    assert report.cycles == report.predicted_cycles
    assert report.utilization > 0.8
