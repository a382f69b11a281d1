"""Estimates: how they are counted, and the figures that the paper engine must reach."""

from dataclasses import replace

import pytest

from mixdit_hw.engine.config import get_engine
from mixdit_sim.array.beats import Gemm
from mixdit_sim.array.cycles import predict_cycles, utilization
from mixdit_sim.engine.model.engine import predict
from mixdit_sim.engine.run import memory_timing
from mixdit_sim.estimate import AS_SIMULATED_MS, array_cycles, count, estimate, ideal_cycles
from mixdit_sim.programs import layer_program, sizes_program
from mixdit_sim.workloads import Matmul, Policy, Workload, get_workload, with_policy
from mixdit_sw.engine.gemm import GemmSize
from mixdit_sw.engine.parts import split_k
from mixdit_sw.engine.registers import Register
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import MX6, MX9

TOY = Workload("toy", 2, (), 0, Policy(0.05, 1))


def size(m, n, k, high=0):
    blocks = -(-k // 16)
    a = (MX9,) * high + (MX6,) * (blocks - high)
    return GemmSize(m=m, n=n, k=k, a_formats=a, b_formats=(MX6,) * blocks)


@pytest.mark.parametrize("shape", [(64, 64, 16), (100, 200, 72), (65, 1, 300)])
def test_array_cycles_of_one_gemm_are_those_of_the_formula(shape):
    config, gemm = get_engine("paper"), size(*shape, high=1)
    digits = ((2, 1), *[(1, 1)] * (len(gemm.a_formats) - 1))
    array = Gemm(config.array, gemm.m, gemm.n, digits)
    cycles = predict_cycles(array)
    assert array_cycles(config.array, [gemm]) == cycles
    assert ideal_cycles(config.array, gemm) / cycles == pytest.approx(
        utilization(array, gemm.k, cycles), rel=1e-12
    )


def test_array_cycles_of_several():
    config = get_engine("paper")
    tail = config.array.result_latency + config.array.skew + config.array.drain_cycles - 1
    # Tiles of 2 beats end 8 cycles apart, those of 20 follow without a gap.
    short, long = size(64, 128, 32), size(64, 64, 320)
    assert array_cycles(config.array, [short, long]) == 2 + 8 + 20 + tail
    assert array_cycles(config.array, [long, short]) == 20 + 8 + 8 + tail


@pytest.mark.parametrize("kind", ["linear", "qk", "av"])
def test_counts_are_those_of_the_plain_model(kind):
    config = get_engine("paper")
    matmul = Matmul("x", kind, 128, 192, 400, count=1 if kind == "linear" else 4, layers=3)
    found = count(config, TOY, matmul)
    program = layer_program(config, TOY, matmul)
    counters = predict(config, program, memory_timing(config))
    assert found.cycles == 3 * counters[Register.CYCLES]
    assert found.busy == 3 * counters[Register.BUSY]
    assert found.cycles == found.busy + sum(found.stalls.values())
    assert found.score_traffic == found.cycles - found.array_cycles >= 0
    assert (found.score_traffic == 0) == (kind == "linear")
    assert found.macs == matmul.macs
    if kind != "linear":
        assert found.array_cycles == 3 * array_cycles(config.array, program.gemms)


def test_heads_of_a_layer_are_one_program():
    matmul = Matmul("QK", "qk", 64, 64, 72, count=4)
    program = layer_program(get_engine("paper"), TOY, matmul)
    assert [gemm.a_formats[0] for gemm in program.gemms] == [MX9, MX9, MX6, MX6]
    assert [gemm.b_formats[0] for gemm in program.gemms] == [MX9, MX9, MX6, MX6]
    assert not any(command.wait for command in program.commands)


def test_long_k_is_run_in_parts():
    config = get_engine("paper")
    gemm = size(64, 64, 6130, high=4)
    parts = split_k(gemm, config.shape)
    assert [part.k for part in parts] == [3072, 3058]
    assert sum(ideal_cycles(config.array, part) for part in parts) == pytest.approx(
        ideal_cycles(config.array, gemm), rel=1e-12
    )
    program = layer_program(config, TOY, Matmul("fc2", "linear", 64, 64, 6144))
    assert [command.wait for command in program.commands] == [0, 1, 0]
    program = sizes_program(config, [(2, gemm), (1, size(64, 64, 64)), (1, size(64, 64, 12000))])
    assert [command.wait for command in program.commands] == [0, 0, 0, 0, 1, 0, 0, 1, 0]
    assert [x.residual_source for x in program.gemms] == [None] * 4 + [0, 1, 3, 6]


@pytest.mark.parametrize("clock", [0, -1, float("nan"), float("inf")])
def test_bad_clock(clock):
    with pytest.raises(MixditError, match="Clock must be a positive number of GHz"):
        estimate(TOY, clock_ghz=clock)


def test_dit_xl_2_256():
    found = estimate(get_workload("dit-xl-2-256"))
    assert found.speedup == 7.4 / (found.total.array_cycles / 1e6)
    assert found.speedup >= 1.85
    assert found.total.work <= found.total.array_cycles <= found.total.cycles
    half = replace(found, clock_ghz=0.5)
    assert half.ms(1000) == 0.002


def test_comparison_only_with_the_same_policy_and_engine():
    toy = replace(get_workload("dit-xl-2-256"), matmuls=(Matmul("x", "linear", 64, 64, 64),))
    assert estimate(toy).speedup is None
    assert estimate(with_policy(toy, None, 0)).speedup is None


@pytest.mark.heavy
def test_dit_xl_2_512():
    found = estimate(get_workload("dit-xl-2-512"))
    linear = [x for x in found.matmuls if x.name in ("qkv", "proj", "fc1", "fc2")]
    assert len(linear) == 4 and min(x.utilization for x in linear) >= 0.97
    assert found.total.array_utilization >= 0.88
    assert found.speedup >= 2


@pytest.mark.heavy
@pytest.mark.parametrize("name", [x for x in AS_SIMULATED_MS if not x.startswith("dit")])
def test_twice_as_fast_as_simulated(name):
    assert estimate(get_workload(name)).speedup >= 2
