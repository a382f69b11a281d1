"""The array against the golden model: every configuration, format pair and kind of pressure."""

import numpy as np
import pytest
from hw_driver import PAIRS, count_different, operands, run_array, tiny

from mixdit_hw.config import get_preset
from mixdit_sim.array.cycles import predict_cycles
from mixdit_sw.formats import MX6, MX9, get_format
from mixdit_sw.gemm.kinds import parse_kind
from mixdit_sw.gemm.reference import golden_gemm
from mixdit_sw.operand import quantize_pair

CONFIGS = {
    "default": {},
    "clusters": {"rows": 4, "cols": 6},
    "fp32": {"accumulator": "fp32"},
    "fp32-two-cycle-loop": {
        "accumulator": "fp32",
        "loop_latency": 2,
        "interleave": 3,
        "prepare_register": True,
    },
    "interleaved": {"interleave": 2},
    "all-registers": {"dot_register": True, "prepare_register": True},
    "aligned40x4": {"accumulator": "aligned40x4"},
    "fpga": {"fabric": "fpga"},
    "fpga-all-registers": {"fabric": "fpga", "dot_register": True, "prepare_register": True},
}


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_bits_and_cycles(config, pair):
    config = tiny(**config)
    a, b = operands(pair)
    run = run_array(config, a, b)
    assert count_different(run.c, golden_gemm(a, b, parse_kind(config.accumulator))) == 0
    assert run.cycles == predict_cycles(run.gemm)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_bits_do_not_depend_on_pressure(config, seed):
    config = tiny(**config)
    a, b = operands("mx6xmx6-mixed", seed=seed)
    run = run_array(config, a, b, valid=0.6, ready=0.3, seed=seed)
    assert count_different(run.c, golden_gemm(a, b, parse_kind(config.accumulator))) == 0
    assert run.cycles > predict_cycles(run.gemm)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 16, 1), (2, 17, 3), (9, 5, 1)])
def test_shapes_shorter_than_a_drain(shape):
    m, k, n = shape
    rng = np.random.default_rng(m)
    a = rng.normal(size=(m, k)).astype(np.float32)
    b = rng.normal(size=(n, k)).astype(np.float32)
    config = tiny(rows=4, cols=4, cluster_rows=4, cluster_cols=2)
    pair = quantize_pair(a, b, MX6, MX6)
    run = run_array(config, *pair)
    assert count_different(run.c, golden_gemm(*pair, parse_kind(config.accumulator))) == 0
    assert run.cycles == predict_cycles(run.gemm)


def test_digit_passes_do_not_change_results():
    """Values that MX6 holds exactly give the same bits however many digits they are sent in."""
    rng = np.random.default_rng(5)
    a = rng.integers(-15, 16, (4, 64)).astype(np.float32)
    b = rng.integers(-15, 16, (4, 64)).astype(np.float32)
    a[:, ::16] = 8
    b[:, ::16] = 8
    config = tiny()
    six = run_array(config, *quantize_pair(a, b, MX6, MX6)).c
    nine = run_array(config, *quantize_pair(a, b, MX9, MX9)).c
    assert np.array_equal(six, nine)
    assert np.array_equal(six, a @ b.T)


WIDE = [
    ("mxfp6_e3m2", "mxfp6_e3m2"),
    ("mxint8", "mxfp4"),
    ("mx9", "mxfp6_e3m2"),
    ("mxfp6_e2m3", "mx6"),
]


@pytest.mark.parametrize("accumulator", ["aligned40", "fp32"])
@pytest.mark.parametrize("names", WIDE, ids="-".join)
def test_formats_of_up_to_three_digits(names, accumulator):
    """The array of preset `wide`, whose formats have one, two or three digits."""
    config = tiny(formats=get_preset("wide").formats, accumulator=accumulator)
    rng = np.random.default_rng(3)
    x, y = (
        (rng.normal(size=(rows, 70)) * np.exp2(rng.integers(-9, 9, (rows, 70)))).astype(np.float32)
        for rows in (5, 4)
    )
    x[2, 40], x[4] = np.nan, 0
    pair = quantize_pair(x, y, *map(get_format, names), np.array([3]))
    run = run_array(config, *pair)
    assert count_different(run.c, golden_gemm(*pair, parse_kind(accumulator))) == 0
    assert run.cycles == predict_cycles(run.gemm)
