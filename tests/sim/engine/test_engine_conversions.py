"""Conversions from memory to memory: operands bit for bit, counters to the cycle."""

import numpy as np
import pytest
from conversion_cases import check_conversions, random_conversion_case
from engine_configs import LOCKSTEP, SQUARE, TINY, needs_icarus

from mixdit_sim.engine.rtl import MEMORY_WORDS
from mixdit_sw.engine.compiler import compile_gemms
from mixdit_sw.engine.convert import LayerConvert
from mixdit_sw.engine.gemm import LayerGemm
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import MX6, MX9
from mixdit_sw.mixed import quantize_mixed


def conversions(config, count, seed, **limits):
    """Programs that fit the smallest memory, which all tests share."""
    rng = np.random.default_rng(seed)
    cases = [random_conversion_case(rng, config, **limits) for _ in range(count)]
    assert all(case.program.image.size <= MEMORY_WORDS * config.bus_bytes for case, _ in cases)
    return cases


def test_random_conversions():
    check_conversions(TINY, conversions(TINY, 40, seed=7), simulator="verilator")


@needs_icarus
@pytest.mark.parametrize("config", [LOCKSTEP, SQUARE], ids=["lockstep", "square"])
def test_conversions_of_other_engines(config):
    cases = conversions(config, 8, seed=8, largest=(9, 70))
    check_conversions(config, cases, simulator="icarus")


@pytest.mark.heavy
@pytest.mark.parametrize("config", [TINY, SQUARE], ids=["tiny", "square"])
def test_many_random_conversions(config):
    check_conversions(config, conversions(config, 200, seed=9), simulator="verilator")


X = np.zeros((4, 32), np.float32)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([LayerConvert(formats=(MX6, MX9))], "either numbers or the number of a GEMM"),
        ([LayerConvert(formats=(MX6,), x=X)], "has 2 K-blocks, not 1"),
        (
            [LayerConvert(formats=(MX6, MX9), x=X, order=tuple(range(32)))],
            "Only the rows of a transposed source",
        ),
        (
            [LayerConvert(formats=(MX6,), x=X, transposed=True, order=(0, 1, 1, 3))],
            "order must be a permutation of 4 channels",
        ),
        ([LayerConvert(formats=(MX6, MX9), source=0, shape=(4, 32))], "cannot read"),
        (
            [
                LayerConvert(formats=(MX6, MX9), x=X),
                LayerConvert(formats=(MX6, MX9), source=0, shape=(4, 32)),
            ],
            "is not what GEMM 0 stores",
        ),
        ([LayerConvert(formats=(MX6,) * 40, x=np.zeros((4, 640), np.float32))], "in parts"),
    ],
)
def test_what_cannot_be_converted(layers, message):
    with pytest.raises(MixditError, match=message):
        compile_gemms(layers, TINY.shape)


def test_operand_b_of_an_engine_that_is_not_square():
    a = quantize_mixed(X, [(MX6, MX9)]).operands[0]
    layers = [
        LayerConvert(formats=(MX6, MX9), x=X),
        LayerGemm(a=a, b=a, b_source=0),
    ]
    with pytest.raises(MixditError, match="not square"):
        compile_gemms(layers, LOCKSTEP.shape)
