"""GEMMs in parts of K: as few as fit, nothing lost, and what cannot be taken apart is refused."""

from dataclasses import replace

import numpy as np
import pytest

from mixdit_sw.engine.commands import STEPS
from mixdit_sw.engine.compiler import compile_gemms, compile_sizes
from mixdit_sw.engine.convert import ConvertSize
from mixdit_sw.engine.gemm import GemmSize, LayerGemm
from mixdit_sw.engine.golden import golden_layer
from mixdit_sw.engine.parts import in_parts, split_k
from mixdit_sw.engine.shape import EngineShape
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import MX4, MX6, MX9
from mixdit_sw.gemm.epilogue import apply_epilogue
from mixdit_sw.gemm.fast import golden_gemm
from mixdit_sw.gemm.kinds import parse_kind
from mixdit_sw.mixed import quantize_mixed

SHAPE = EngineShape(rows=2, cols=4, bus_bytes=16, a_words=20, b_words=30, steps=STEPS)
KIND = parse_kind("aligned40")


def size(a, b, **more):
    return GemmSize(**{"m": 3, "n": 9, "k": 16 * len(a), "a_formats": a, "b_formats": b, **more})


def fits(part):
    return part.words(False) <= SHAPE.a_words and part.words(True) <= SHAPE.b_words


def test_as_few_as_fit_and_nothing_lost():
    rng = np.random.default_rng(0)
    for _ in range(50):
        blocks = int(rng.integers(1, 80))
        a, b = (tuple((MX9, MX6, MX4)[i] for i in rng.integers(3, size=blocks)) for _ in "ab")
        gemm = size(a, b, k=16 * blocks - int(rng.integers(16)), steps=STEPS, bf16=True)
        parts = split_k(gemm, SHAPE)
        assert all(map(fits, parts))
        assert sum((part.a_formats for part in parts), ()) == a
        assert sum((part.b_formats for part in parts), ()) == b
        assert sum(part.k for part in parts) == gemm.k
        linked, _ = in_parts([gemm], SHAPE)
        assert [part.residual_source for part in linked] == [None, *range(len(parts) - 1)]
        assert [part.bf16 for part in parts] == [False] * (len(parts) - 1) + [True]
        later = ("row_scale", "col_scale", "residual")
        assert [part.steps for part in parts] == [STEPS] + [later] * (len(parts) - 1)
        lengths = [len(part.a_formats) for part in parts]
        assert max(lengths) - min(lengths) <= 1
        fewer = len(parts) - 1
        if fewer:
            cuts = [i * blocks // fewer for i in range(fewer + 1)]
            whole = [gemm.part(slice(*cut)) for cut in zip(cuts[:-1], cuts[1:], strict=True)]
            assert not all(map(fits, whole))


def test_groups_of_stationary_tiles_fit_too():
    """Storing an operand takes the four tiles of a K-block of C at once."""
    gemm = size((MX4,) * 12, (MX4,) * 12, as_operand=(MX6,))
    assert [part.k for part in split_k(gemm, SHAPE)] == [96, 96]
    assert split_k(replace(gemm, as_operand=None), SHAPE) == [replace(gemm, as_operand=None)]


def test_sources_are_renumbered():
    long, short = size((MX6,) * 50, (MX6,) * 50, n=16), size((MX6,), (MX6,), m=3, n=9)
    steps = [
        replace(long, as_operand=(MX6,)),
        ConvertSize(m=3, n=16, as_operand=(MX6,)),
        replace(short, k=16, a_source=0),
        replace(short, a_source=1),
        replace(short, steps=("residual",), residual_source=2),
    ]
    found, origins = in_parts(steps, SHAPE)
    parts = origins.count(0)
    assert parts > 2
    # The conversion reads nothing, so it comes in the first round.
    assert origins == [0, 1] + [0] * (parts - 1) + [2, 3, 4]
    assert [part.residual_source for part in found[2 : parts + 1]] == [0, *range(2, parts)]
    assert found[-3].a_source == parts
    assert found[-2].a_source == 1
    assert found[-1].residual_source == parts + 1
    program = compile_sizes(steps, SHAPE)
    assert program.outputs == [parts, 1, parts + 1, parts + 2, parts + 3]
    # A wait serves all that the commands before it store.
    waits = [command.wait for command in program.commands]
    assert waits == [0, 0] + [1] * (parts - 1) + [1, 0, 1, 0]


@pytest.mark.parametrize("source", [-1, 1, 2])
def test_only_what_comes_before_can_be_read(source):
    gemm = size((MX6,), (MX6,))
    with pytest.raises(MixditError, match=f"Command 1 cannot read what command {source} stores"):
        compile_sizes([gemm, replace(gemm, steps=("residual",), residual_source=source)], SHAPE)


@pytest.mark.parametrize(
    ("change", "shape", "message"),
    [
        ({"a_source": 0}, SHAPE, "an operand that another command stores cannot be taken apart"),
        ({}, replace(SHAPE, steps=("bias",)), "K = 800 takes 3 parts.*with the step residual"),
    ],
)
def test_refused(change, shape, message):
    with pytest.raises(MixditError, match=message):
        split_k(replace(size((MX6,) * 50, (MX6,) * 50), **change), shape)


@pytest.mark.parametrize("change", [{"bf16": True}, {"n": 8}, {"as_operand": (MX6,)}])
def test_residual_of_another_kind(change):
    first, second = size((MX6,), (MX6,)), size((MX6,), (MX6,), steps=("residual",))
    with pytest.raises(MixditError, match="The residual is not what command 0 stores"):
        compile_sizes([replace(first, **change), replace(second, residual_source=0)], SHAPE)


def layer(rng, k):
    formats = [tuple((MX9, MX6)[i] for i in rng.integers(2, size=-(-k // 16))) for _ in "ab"]
    a, b = (
        quantize_mixed(rng.normal(size=(rows, k)).astype(np.float32), [maps]).operands[0]
        for rows, maps in zip((3, 5), formats, strict=True)
    )
    shapes = {"row_scale": (3,), "col_scale": (5,), "bias": (5,), "residual": (3, 5)}
    steps = {name: rng.normal(size=shapes[name]).astype(np.float32) for name in STEPS}
    return LayerGemm(a=a, b=b, **steps)


def test_residuals_have_the_columns_of_what_reads_them():
    """A stored operand has whole groups of columns, zeros behind C; a residual must too."""
    first, second = size((MX6,), (MX6,)), size((MX6,), (MX6,), steps=("residual",))
    second = replace(second, as_operand=(MX6,), residual_source=0)
    found, _ = in_parts([first, second], SHAPE)
    assert first.tiles(SHAPE) == (2, 3)
    assert found[0].tiles(SHAPE) == found[1].tiles(SHAPE) == (2, 4)
    assert found[1] == second


def test_a_round_waits_once():
    """Of GEMMs that do not read each other all first parts come first."""
    long, longer, short = (size((MX6,) * n, (MX6,) * n) for n in (30, 50, 1))
    found, origins = in_parts([long, short, longer], SHAPE)
    assert origins == [0, 1, 2, 0, 2, 2]
    assert [part.residual_source for part in found] == [None, None, None, 0, 2, 4]
    program = compile_sizes([long, short, longer], SHAPE)
    assert [command.wait for command in program.commands] == [0, 0, 0, 1, 0, 1, 0]
    assert program.outputs == [3, 1, 5]


def test_a_residual_that_is_none():
    first = ConvertSize(m=3, n=9, as_operand=(MX6,))
    with pytest.raises(MixditError, match="The residual is not what command 0 stores"):
        compile_sizes([first, size((MX6,), (MX6,), steps=("residual",), residual_source=0)], SHAPE)
    with pytest.raises(MixditError, match="needs the step residual"):
        size((MX6,), (MX6,), residual_source=0)
    gemm = layer(np.random.default_rng(3), 32)
    with pytest.raises(MixditError, match="needs the numbers of a residual"):
        golden_layer(replace(gemm, residual=None, residual_source=0), KIND, SHAPE)


def test_golden_rounds_between_parts():
    gemm = layer(np.random.default_rng(1), 700)
    steps = {name: getattr(gemm, name) for name in STEPS}
    whole = apply_epilogue(golden_gemm(gemm.a, gemm.b, KIND), **steps)
    large = replace(SHAPE, a_words=200, b_words=200)
    assert np.array_equal(golden_layer(gemm, KIND, large), whole)
    found = golden_layer(gemm, KIND, SHAPE)
    assert not np.array_equal(found, whole)
    exact = gemm.a.values().astype(np.float64) @ gemm.b.values().T
    exact = exact * gemm.row_scale[:, None] * gemm.col_scale + gemm.bias + gemm.residual
    assert np.abs(found - exact).max() < 1e-4


def test_memory_holds_each_part_once():
    """A's blocks lie in memory as often as they are multiplied: once."""
    gemm = layer(np.random.default_rng(2), 700)
    program = compile_gemms([gemm], SHAPE)
    commands = program.commands[:-1]
    assert sum(command.k_blocks for command in commands) == 44
    assert program.outputs == [len(commands) - 1]
    for earlier, later in zip(commands[:-1], commands[1:], strict=True):
        assert later.residual_address == earlier.c_address
        assert later.wait == 1
