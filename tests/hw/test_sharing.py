import gc
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from amaranth.back import verilog
from amaranth.hdl import Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from sharing_toy import Product, Stage, Toy, used

from mixdit_hw.emit import emit_verilog
from mixdit_hw.sharing import Shared, component_ports
from mixdit_sim.simulator import run
from mixdit_sw.errors import MixditError

OUTPUTS = ("sums", "product")
BENCH = Path(__file__).with_name("sharing_bench.py")


def stimuli(count):
    """Words for every input; each lasts one clock edge, then valid and ready fall."""
    rng = np.random.default_rng(7)
    widths = {
        name: len(value)
        for name, (value, _) in component_ports(used(Toy())).items()
        if name not in OUTPUTS
    }
    return [{n: int(rng.integers(1 << w)) for n, w in widths.items()} for _ in range(count)]


def amaranth_trace(words):
    """Outputs after each word in Amaranth's own simulator."""
    toy = Toy()
    seen = []

    async def bench(ctx):
        for word in words:
            for name, value in word.items():
                ctx.set(Value.cast(getattr(toy, name)), value)
            await ctx.tick()
            seen.append({n: unsigned(ctx, getattr(toy, n)) for n in OUTPUTS})
            ctx.set(toy.valid, 0)
            ctx.set(toy.ready, 0)

    def unsigned(ctx, port):
        value = Value.cast(port)
        return ctx.get(value) % (1 << len(value))

    simulator = Simulator(toy)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


def plain_verilog(component, name):
    """Every instance a module of its own, as Amaranth does it."""
    return verilog.convert(component, name=name, ports=component_ports(component), emit_src=False)


@pytest.mark.parametrize("shared", [False, True])
def test_verilog_agrees_with_amaranth_simulator(shared, tmp_path, monkeypatch):
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus (Debian's iverilog) is not installed")
    monkeypatch.setenv("AMARANTH_USE_YOSYS", "builtin")
    words = stimuli(200)
    text = (emit_verilog if shared else plain_verilog)(Toy(), "toy")
    (tmp_path / "toy.v").write_text(text)
    job = {"stimuli": words, "outputs": OUTPUTS}
    run("icarus", tmp_path / "toy.v", "toy", BENCH, job, folder=tmp_path / "run")
    expected = amaranth_trace(words)
    assert json.loads((tmp_path / "run/seen.json").read_text()) == expected
    assert len({tuple(word.values()) for word in expected}) > 150


def test_each_module_appears_once():
    text = emit_verilog(Toy(), "toy")
    modules = sorted(line.split("(")[0] for line in text.splitlines() if line[:7] == "module ")
    assert modules == [f"module {name}" for name in ("product_s0", "product_s1", "stage", "toy")]
    assert text.count("  stage stage_") == 2


def test_unused_twins_raise_no_warning():
    emit_verilog(Toy(), "toy")
    gc.collect()  # pytest turns the warning of an unused component into an error


def test_combinational_module_has_no_clock():
    module = emit_verilog(Toy(), "toy").split("module product_s0(")[1].split(")")[0]
    assert sorted(module.split(", ")) == ["a", "b", "o"]


def test_constant_and_empty_ports_are_left_out():
    names = set(component_ports(used(Stage())))
    assert "inputs__0__valid" in names
    assert not {"inputs__0__ready", "outputs__0__valid", "nothing"} & names


class Wires(wiring.Component):
    """No cells at all."""

    i: In(4)
    o: Out(4)

    module_name = "wires"

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.o.eq(self.i)
        return m


class Pair(wiring.Component):
    """Two components that a test wants side by side."""

    i: In(4)
    o: Out(4)

    def __init__(self, first, second):
        self._parts = first, second
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules += [Shared(part) for part in self._parts]
        return m


def test_component_without_cells():
    text = emit_verilog(Pair(Wires(), Wires()), "pair")
    assert text.count("module wires(") == 1


def test_two_components_of_one_name_are_refused():
    class Impostor(Wires):
        pass

    with pytest.raises(MixditError, match="Two different components are named 'wires'"):
        emit_verilog(Pair(Wires(), Impostor()), "pair")


def test_inner_is_what_was_given():
    product = Product(3)
    assert used(Shared(product)).inner is product
