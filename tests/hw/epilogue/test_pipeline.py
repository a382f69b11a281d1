"""The epilogue against the golden model, and each of its cycles against its docstring."""

import itertools

import numpy as np
import pytest
from amaranth.hdl import Const

from bench import make_tile, predict, run
from mixdit_hw.emit import write_verilog
from mixdit_hw.epilogue import epilogue, vectors
from mixdit_hw.epilogue.config import STEPS, EpilogueConfig
from mixdit_hw.epilogue.epilogue import Epilogue
from mixdit_hw.epilogue.lane import latency
from mixdit_hw.lint import lint
from mixdit_sw.errors import MixditError

SUBSETS = [s for n in range(5) for s in itertools.combinations(STEPS, n)]
TWO_ROWS = EpilogueConfig(4, 2, 4)
"""Two rows a beat, two beats a tile."""
LONG_COLUMN = EpilogueConfig(5, 2, 2)
"""Three beats of row scales, the last one not full."""


def check(shape, subsets, *, seed=0, **pauses):
    """Compare bits and, cycle by cycle, handshakes; return the run."""
    rng = np.random.default_rng(seed)
    tiles = [make_tile(shape, on, rng) for on in subsets]
    dut = Epilogue(shape)
    result = run(dut, tiles, seed=seed, **pauses)
    assert result.found == [beat for tile in tiles for beat in tile.o]
    stage = latency(shape.vectors, shape.fabric)
    inputs, answers = zip(*result.handshakes, strict=True)
    predicted = predict(shape, dut.latency, stage, tiles, inputs)
    for cycle, (found, expected) in enumerate(zip(answers, predicted, strict=True)):
        assert found == expected, f"cycle {cycle}"
    return result


@pytest.mark.parametrize("shape", [TWO_ROWS, LONG_COLUMN], ids=["two_rows", "long_column"])
def test_step_sets_change_from_tile_to_tile(shape):
    subsets = np.random.default_rng(1).permutation(np.array(SUBSETS, object))
    check(shape, [tuple(on) for on in subsets])


PAUSES = [
    {"valid": 0.5, "extra": 0.5, "ready": 0.5},
    {"extra": 0.3},
    {"valid": 0.7, "ready": 0.3},
]


@pytest.mark.parametrize("shape", [TWO_ROWS, LONG_COLUMN], ids=["two_rows", "long_column"])
@pytest.mark.parametrize("seed", range(3))
def test_pauses_on_all_streams(seed, shape):
    rng = np.random.default_rng(seed)
    subsets = [SUBSETS[k] for k in rng.integers(0, len(SUBSETS), 8)]
    check(shape, [*subsets, ("residual",), ("residual",)], seed=seed, **PAUSES[seed])


@pytest.mark.parametrize(
    "steps",
    [("residual",), ("bias",), ("col_scale", "residual"), ("row_scale", "bias")],
    ids="-".join,
)
def test_steps_that_are_not_built_are_ignored(steps):
    shape = EpilogueConfig(4, 2, 4, steps)
    check(shape, [STEPS, (), ("residual",), steps, STEPS], valid=0.8, extra=0.6, ready=0.7)


def test_multiplier_blocks_take_a_stage_more():
    shape = EpilogueConfig(4, 2, 4, fabric="fpga")
    assert latency(STEPS, "fpga") == latency(STEPS) + 2
    subsets = np.random.default_rng(1).permutation(np.array(SUBSETS, object))
    check(shape, [tuple(on) for on in subsets], valid=0.8, extra=0.6, ready=0.7)


def test_one_beat_a_cycle():
    shape = EpilogueConfig(16, 1, 1)
    result = check(shape, [("residual",)] * 2 + [()] * 2)
    taken = [cycle for cycle, (_, answers) in enumerate(result.handshakes) if answers[2]]
    entered = [cycle for cycle, (_, answers) in enumerate(result.handshakes) if answers[0]]
    assert taken == list(range(taken[0], taken[0] + 4 * 16))
    assert taken[0] - entered[0] == latency(STEPS) == 8


def test_a_tile_with_vectors_enters_after_the_one_before_has_left():
    shape = EpilogueConfig(4, 2, 4)
    result = check(shape, [STEPS, STEPS])
    entered = [cycle for cycle, (offer, a) in enumerate(result.handshakes) if offer[0] and a[0]]
    # Three beats of vectors; two beats enter; eight stages; three beats of vectors.
    assert entered == [3, 4, 4 + 8 + 1 + 3, 4 + 8 + 1 + 4]


def never_last(m, event, total, name, exact=vectors._count):
    count, last = exact(m, event, total, name)
    return count, Const(0, 1) if name == "beat" else last


FAULTS = {
    "vectors_are_kept": (vectors, "_count", never_last),
    "operands_one_stage_early": (
        epilogue,
        "starts",
        lambda *args, exact=epilogue.starts: {s: max(k - 1, 0) for s, k in exact(*args).items()},
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_seen(fault, monkeypatch):
    monkeypatch.setattr(*FAULTS[fault])
    with pytest.raises(AssertionError):
        check(TWO_ROWS, [STEPS, ("bias",), (), STEPS])


def test_loading_while_beats_are_inside_is_seen(monkeypatch):
    add_vectors = Epilogue._add_vectors
    monkeypatch.setattr(
        Epilogue,
        "_add_vectors",
        lambda self, m, missing, empty, *rest: add_vectors(self, m, missing, Const(1, 1), *rest),
    )
    with pytest.raises(AssertionError):
        check(TWO_ROWS, [STEPS, STEPS])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 2, 2), "Rows must be a positive integer, not 0"),
        ((2, "2", 2), "Cols must be a positive integer, not '2'"),
        ((4, 2, 3), "Lanes must be a multiple of cols, 2, and divide rows . cols, 8, not 3"),
        ((3, 2, 4), "divide rows . cols, 6, not 4"),
        ((2, 2, 2, ()), "Steps must be some of row_scale, .* in this order, not "),
        ((2, 2, 2, ("bias", "row_scale")), "in this order, not "),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(MixditError, match=message):
        EpilogueConfig(*arguments)


@pytest.mark.parametrize("steps", [STEPS, ("residual",), ("row_scale",)], ids="-".join)
def test_every_tool_reads_it(steps, tmp_path):
    write_verilog(Epilogue(EpilogueConfig(4, 2, 4, steps)), "epilogue", tmp_path, {})
    found = lint(tmp_path / "epilogue.v")
    assert {"verilator", "yosys"} <= set(found)
    assert not any(found.values()), found
