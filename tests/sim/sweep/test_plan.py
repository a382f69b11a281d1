"""Sweeps as they are asked for: grids, settings, and what is refused."""

import pytest

from mixdit_hw.config import ArrayConfig
from mixdit_hw.engine.config import EngineConfig, get_engine
from mixdit_sim.sweep.plan import AUTO_TARGETS, read_sweep
from mixdit_sim.sweep.results import labels
from mixdit_sim.sweep.space import build, converters
from mixdit_sw.errors import MixditError


@pytest.fixture
def sweep_of(tmp_path):
    def read(text, options=None, vary=()):
        file = tmp_path / "sweep.toml"
        file.write_text(text)
        return read_sweep(file, options, vary)

    return read


def test_points_of_two_grids(sweep_of):
    sweep = sweep_of(
        """
        target = "generic"
        [[grid]]
        rows = [4, 8]
        accumulator = ["aligned40", "fp32"]
        [[grid]]
        rows = 8
        formats = [["mx9", "mx6", "mx4"], ["mx6"]]
        """
    )
    found = [(x.machine.rows, x.machine.accumulator, x.machine.formats) for x in sweep.candidates()]
    every = ("mx9", "mx6", "mx4")
    # The second grid's first point is one of the first grid's.
    assert found == [
        (4, "aligned40", every),
        (4, "fp32", every),
        (8, "aligned40", every),
        (8, "fp32", every),
        (8, "aligned40", ("mx6",)),
    ]
    assert labels(sweep.candidates())[1] == "rows=4 accumulator=fp32"
    assert labels(sweep.candidates())[-1] == "rows=8 formats=mx6"


def test_default_sweep():
    sweep = read_sweep()
    assert sweep.settings.target in AUTO_TARGETS
    kinds = {x.machine.accumulator for x in sweep.candidates()}
    assert {"aligned40", "fp32"} < kinds
    assert all(x.refusal is None for x in sweep.candidates())


def test_command_line_replaces_the_file(sweep_of):
    text = 'target = "generic"\n[[grid]]\nrows = [4]\ncols = [2]\n[[grid]]\nrows = [2]\n'
    sweep = sweep_of(text, {"recipe": "speed", "scope": None}, ["cols=4,8", "dot_register=true"])
    assert (sweep.settings.recipe, sweep.settings.scope) == ("speed", "array")
    found = [(x.machine.rows, x.machine.cols) for x in sweep.candidates()]
    assert found == [(4, 4), (4, 8), (2, 4), (2, 8)]
    assert all(x.machine.dot_register for x in sweep.candidates())


def test_without_a_file_the_options_are_the_sweep():
    sweep = read_sweep(None, {"target": "generic"}, ["formats=mx6,mx9+mx6"])
    assert [x.machine.formats for x in sweep.candidates()] == [("mx6",), ("mx9", "mx6")]


def test_combination_that_cannot_be_built_is_a_point_with_its_reason(sweep_of):
    sweep = sweep_of('[[grid]]\naccumulator = ["aligned40", "fp32"]\nloop_latency = [1, 2]\n'
                     'interleave = 2\n')  # fmt: skip
    found = sweep.candidates()
    refused = [x for x in found if x.refusal]
    assert len(found) == 4 and len(refused) == 1
    assert refused[0].values["loop_latency"] == 2 and refused[0].machine is None
    assert refused[0].refusal == "Loop latency of aligned40 must be 1..1, not 2"


def test_clusters_are_as_large_as_the_array():
    array = build({"rows": 2, "cols": 16}, "array")
    assert array == ArrayConfig(rows=2, cols=16, cluster_rows=2, cluster_cols=8)
    assert converters(array) == (16, None)
    assert converters(build({"rows": 16, "cols": 8}, "array")) == (16, None)


def test_engine_of_a_preset_and_changed_ones():
    assert build({}, "engine") == get_engine("small")
    changed = build({"buffer_bytes": 4096, "port_bytes": 64, "rows": 16}, "engine")
    assert isinstance(changed, EngineConfig)
    assert (changed.buffer_bytes, changed.port_bytes) == (4096, 64)
    assert converters(get_engine("small")) == (8, 1)
    assert converters(changed) == (16, 2)
    assert converters(get_engine("paper")) == (64 * 8, 4 * 4)


GENERIC = 'target = "generic"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rows = [", "it is not TOML"),
        ("rows = [8]\n", "Unknown setting 'rows'; known are scope, "),
        ("grid = 3\n", "grids are tables"),
        ("[[grid]]\nrows = []\n", "Dimension rows has no values"),
        ("[[grid]]\ncolumns = 8\n", "Unknown dimension 'columns'; known are rows, cols, "),
        ("[[grid]]\nlanes = [16, 32]\n", "lanes must be 16, not 32: a digit packet holds"),
        ("[[grid]]\ndigit_bits = 2\n", "digit_bits must be 4, not 2: a digit packet holds"),
        ("[[grid]]\nconverters = [1, 2]\n", "converters cannot be varied: their number follows"),
        ("[[grid]]\nbuffer_bytes = 4096\n", 'it needs scope = "engine"'),
        ("[[grid]]\nrows = [8, 0]\n", "Grid 1 has no point with rows = 0: rows must be a positive"),
        ("[[grid]]\nrows = 12\n", "rows must be a multiple of cluster_rows = 8, not 12"),
        ("[[grid]]\n[[grid]]\naccumulator = ['fp32', 'fp31']\n", "Grid 2 has no point with accum"),
        ("[[grid]]\nformats = ['mx6']\n", "formats must be a list of names, not 'mx6'"),
        ("[[grid]]\nformats = [['mx9']]\n", "dit-s-2-256 needs mx6, which the array is not built"),
        ("scope = 'engine'\n[[grid]]\ninterleave = 2\n", "needs an array with interleave = 1"),
        ("scope = 'chip'\n", "Scope must be one of array, engine, not 'chip'"),
        ("scope = 3\n", "scope must be text, not 3"),
        ("target = 'gf180'\n", "'gf180' is none of generic"),
        ("target = 'ecp5'\n", "A sweep needs gate equivalents, which ecp5 has not"),
        ("recipe = 'best'\n", "Recipe must be one of"),
        ("workload = 'flux'\n", "Model must be one of"),
        ("memory_ge_per_bit = -1\n", "memory_ge_per_bit must be 0..1000, not -1"),
        ("quality = 'yes'\n", "quality must be true or false, not 'yes'"),
    ],
)
def test_bad_file(sweep_of, text, message):
    with pytest.raises(MixditError) as error:
        sweep_of(text if "target" in text else GENERIC + text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["rows", "rows=", "=4", ""])
def test_bad_dimension_on_the_command_line(text):
    with pytest.raises(MixditError, match="A dimension is given as name=value,value, not"):
        read_sweep(None, {"target": "generic"}, [text])


def test_packet_sizes_may_be_said():
    sweep = read_sweep(None, {"target": "generic"}, ["lanes=16", "digit_bits=4", "rows=2,4"])
    assert [x.machine.rows for x in sweep.candidates()] == [2, 4]


def test_missing_file(tmp_path):
    with pytest.raises(MixditError, match="Cannot read .*none.toml: No such file"):
        read_sweep(tmp_path / "none.toml")
