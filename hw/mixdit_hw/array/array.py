"""The array: a grid of clusters behind one sequencer."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.array.cluster import Cluster, result_layout
from mixdit_hw.array.sequencer import TAG, Sequencer
from mixdit_hw.config import ArrayConfig
from mixdit_hw.packet import PACKET
from mixdit_hw.sharing import Shared


def beat_layout(config: ArrayConfig) -> data.StructLayout:
    """Layout of an operand beat: a packet for each row and column, precision tag, end of tile."""
    return data.StructLayout(
        {
            "a": data.ArrayLayout(PACKET, config.rows),
            "b": data.ArrayLayout(PACKET, config.cols),
            "tag": TAG,
            "last": 1,
        }
    )


class MatrixArray(wiring.Component):
    """Output-stationary array of PEs: C = A @ B.T, one output tile after the other.

    Beats of a tile: for each K-block, for each interleaved output, the digit passes of the
    block's precision (`mixdit_sw.codec.packets.passes`). One beat a cycle; tiles follow each other
    without a bubble as long as each has at least `drain_cycles` beats. Clusters are skewed by a
    cycle for each step to the right or down, and so are their results.

    Members
    -------
    i : stream of beat_layout
        Operand beats.
    drain_ready : 1
        The sink can take a whole tile without pause; a tile's last beat waits for it.
    o_<r>_<c> : stream of result_layout
        Results of each cluster, always ready, `ArrayConfig.result_latency` cycles after a tile's
        last beat plus the cluster's skew; bottom row of the cluster first.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self._config = config
        rows, cols = config.cluster_grid
        result = stream.Signature(result_layout(config), always_ready=True)
        super().__init__(
            {
                "i": In(stream.Signature(beat_layout(config))),
                "drain_ready": In(1),
                **{f"o_{r}_{c}": Out(result) for r in range(rows) for c in range(cols)},
            }
        )

    @property
    def config(self) -> ArrayConfig:
        """Configuration of the array."""
        return self._config

    def elaborate(self, platform: object) -> Module:
        """Wire sequencer, skew registers and clusters."""
        m = Module()
        config = self._config
        rows, cols = config.cluster_grid
        m.submodules.sequencer = sequencer = Sequencer(config)
        m.d.comb += [
            sequencer.tag.eq(self.i.payload.tag),
            sequencer.last.eq(self.i.payload.last),
            sequencer.valid.eq(self.i.valid),
            sequencer.drain_ready.eq(self.drain_ready),
            self.i.ready.eq(sequencer.ready),
        ]
        clusters = {}
        for r in range(rows):
            for c in range(cols):
                clusters[r, c] = cluster = Shared(Cluster(config))
                m.submodules[f"cluster_{r}_{c}"] = cluster
                out = getattr(self, f"o_{r}_{c}")
                m.d.comb += [out.valid.eq(cluster.o.valid), out.payload.eq(cluster.o.payload)]
        accept = self.i.valid & self.i.ready
        for r in range(rows):
            m.submodules[f"gate_{r}"] = gate = Shared(Gate(config))
            height = config.cluster_rows
            m.d.comb += [
                gate.i.eq(_join(self.i.payload.a, r * height, height)),
                gate.accept.eq(accept),
            ]
            edge = _delay(m, Cat(gate.o, sequencer.control), r, f"skew_a_{r}")
            m.d.comb += Cat(clusters[r, 0].a, clusters[r, 0].control).eq(edge)
            for c in range(1, cols):
                left, right = clusters[r, c - 1], clusters[r, c]
                m.d.comb += [right.a.eq(left.a_out), right.control.eq(left.control_out)]
        for c in range(cols):
            packets = _join(self.i.payload.b, c * config.cluster_cols, config.cluster_cols)
            m.d.comb += clusters[0, c].b.eq(_delay(m, packets, c, f"skew_b_{c}"))
            for r in range(1, rows):
                m.d.comb += clusters[r, c].b.eq(clusters[r - 1, c].b_out)
        return m


class Gate(wiring.Component):
    """Makes the magnitudes of a cluster row's A packets zero unless the beat is accepted.

    A pass of zeros leaves the join register as it is, so PEs need no enable. Combinational.

    Members
    -------
    i, o : PACKET for each row
        Packets.
    accept : 1
        Let them pass.
    """

    def __init__(self, config: ArrayConfig) -> None:
        packets = data.ArrayLayout(PACKET, config.cluster_rows)
        self.module_name = f"gate_{config.cluster_rows}"
        super().__init__({"i": In(packets), "accept": In(1), "o": Out(packets)})

    def elaborate(self, platform: object) -> Module:
        """Mask."""
        m = Module()
        parts = []
        for packet in self.i:
            mag = packet.lanes.mag.as_value()
            parts += [Mux(self.accept, mag, 0), packet.as_value()[len(mag) :]]
        m.d.comb += self.o.eq(Cat(parts))
        return m


def _join(packets: data.View, start: int, count: int) -> Value:
    """Return `count` packets from `start` on as one word."""
    width = PACKET.size
    return packets.as_value()[start * width : (start + count) * width]


def _delay(m: Module, x: Value, cycles: int, name: str) -> Value:
    for i in range(cycles):
        later = Signal(len(x), name=f"{name}_{i}")
        m.d.sync += later.eq(x)
        x = later
    return x
