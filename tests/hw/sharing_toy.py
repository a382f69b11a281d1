"""A design with everything that sharing must get right, nested twice."""

from amaranth.hdl import Fragment, Module, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.sharing import Shared

PAIR = data.StructLayout({"x": signed(5), "none": 0, "y": 3})
WIDE = data.ArrayLayout(signed(8), 4)


class Product(wiring.Component):
    """Combinational: no clock, no reset."""

    a: In(signed(5))
    b: In(signed(5))
    o: Out(signed(8))

    def __init__(self, shift):
        self._shift = shift
        super().__init__()

    @property
    def module_name(self):
        return f"product_s{self._shift}"

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.o.eq((self.a * self.b) >> self._shift)
        return m


class Stage(wiring.Component):
    """Layout ports, an array of streams, constant ready and valid, ports of no use or no bits."""

    pair: In(PAIR)
    inputs: In(stream.Signature(signed(5), always_ready=True)).array(2)
    outputs: Out(stream.Signature(signed(8), always_valid=True)).array(2)
    nothing: In(0)
    spare: Out(4)

    module_name = "stage"

    def elaborate(self, platform):
        m = Module()
        with m.Switch(self.pair.y):
            with m.Case(0, 5):
                m.d.comb += self.spare.eq(self.pair.x == 0)
            with m.Case(1):
                m.d.comb += self.spare.eq(3)
        for i in range(2):
            m.submodules[f"product_{i}"] = product = Shared(Product(i))
            m.d.comb += [product.a.eq(self.inputs[i].payload), product.b.eq(self.pair.x)]
            with m.If(self.inputs[i].valid & self.outputs[i].ready):
                m.d.sync += self.outputs[i].payload.eq(
                    self.outputs[i].payload + product.o + self.pair.y
                )
        return m


class Toy(wiring.Component):
    """Two stages and a product."""

    pairs: In(data.ArrayLayout(PAIR, 2))
    values: In(data.ArrayLayout(signed(5), 2))
    valid: In(2)
    ready: In(2)
    sums: Out(WIDE)
    product: Out(signed(8))

    def elaborate(self, platform):
        m = Module()
        m.submodules.product = product = Shared(Product(0))
        stages = [Shared(Stage()) for _ in range(2)]
        m.d.comb += [
            product.a.eq(self.values[0]),
            product.b.eq(self.values[1]),
            self.product.eq(product.o + (stages[0].spare ^ stages[1].spare)),
        ]
        for s, stage in enumerate(stages):
            m.submodules[f"stage_{s}"] = stage
            m.d.comb += stage.pair.eq(self.pairs[s])
            for i in range(2):
                m.d.comb += [
                    stage.inputs[i].payload.eq(self.values[i]),
                    stage.inputs[i].valid.eq(self.valid[i]),
                    stage.outputs[i].ready.eq(self.ready[i]),
                    self.sums[2 * s + i].eq(stage.outputs[i].payload),
                ]
        return m


def used(component):
    """Elaborate a component that is not emitted, which otherwise is a warning."""
    Fragment.get(component, None)
    return component
