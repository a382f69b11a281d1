"""A block of PEs that share operand registers, and drain by themselves."""

from collections.abc import Iterable
from itertools import pairwise

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.config import ArrayConfig
from mixdit_hw.packet import PACKET
from mixdit_hw.pe.fp32 import STATE as FP32
from mixdit_hw.pe.pe import PE, control_layout, pe_name
from mixdit_hw.pe.to_fp32 import ToFp32
from mixdit_hw.sharing import Shared


def result_layout(config: ArrayConfig) -> data.ArrayLayout:
    """Layout of a result beat: one FP32 word for each column of a cluster."""
    return data.ArrayLayout(FP32, config.cluster_cols)


def row_name(config: ArrayConfig) -> str:
    """Return the name of a row's module, which encodes all its parameters."""
    pe = pe_name(config.pe_accumulator, dot_register=config.dot_register, fabric=config.fabric)
    return f"row_{config.cluster_cols}_{pe}"


class Row(wiring.Component):
    """The PEs of one row of a cluster behind one operand register for A and control.

    Members
    -------
    a, control : PACKET, control_layout
        What arrives at the row.
    a_out, control_out : PACKET, control_layout
        The same one cycle later, for the cluster to the right.
    b : PACKET for each column
        Operand registers of the cluster's columns.
    drain_in, drain_out : state_layout for each column
        Drain chains, from the row above and to the row below.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self._config = config
        accumulator = config.pe_accumulator
        states = data.ArrayLayout(accumulator.state_layout, config.cluster_cols)
        super().__init__(
            {
                "a": In(PACKET),
                "control": In(control_layout(accumulator)),
                "a_out": Out(PACKET),
                "control_out": Out(control_layout(accumulator)),
                "b": In(data.ArrayLayout(PACKET, config.cluster_cols)),
                "drain_in": In(states),
                "drain_out": Out(states),
            }
        )

    @property
    def module_name(self) -> str:
        """Name that encodes all parameters."""
        return row_name(self._config)

    def elaborate(self, platform: object) -> Module:
        """Register the operand; wire the PEs."""
        m = Module()
        config = self._config
        m.d.sync += [self.a_out.eq(self.a), self.control_out.eq(self.control)]
        pes = []
        for col in range(config.cluster_cols):
            pe = Shared(
                PE(config.pe_accumulator, dot_register=config.dot_register, fabric=config.fabric)
            )
            m.submodules[f"pe_{col}"] = pe
            pes.append(pe)
            m.d.comb += [
                pe.a.eq(self.a_out),
                pe.control.eq(self.control_out),
                pe.b.eq(self.b[col]),
                pe.drain_in.eq(self.drain_in[col]),
            ]
        m.d.comb += self.drain_out.eq(_join(pe.drain_out for pe in pes))
        return m


class Cluster(wiring.Component):
    """Rows of PEs, operand registers for B, and a converter to FP32 at the foot of each column.

    A tile leaves bottom row first; of each row, the interleaved outputs in turn. The sink is always
    ready: the sequencer has asked it beforehand.

    Members
    -------
    a, a_out : PACKET for each row
        Operands from the left, and one cycle later to the right.
    b, b_out : PACKET for each column
        Operands from above, and one cycle later downwards.
    control, control_out : control_layout
        Travels with A.
    o : stream of result_layout
        Results.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self._config = config
        rows = data.ArrayLayout(PACKET, config.cluster_rows)
        cols = data.ArrayLayout(PACKET, config.cluster_cols)
        control = control_layout(config.pe_accumulator)
        super().__init__(
            {
                "a": In(rows),
                "a_out": Out(rows),
                "b": In(cols),
                "b_out": Out(cols),
                "control": In(control),
                "control_out": Out(control),
                "o": Out(stream.Signature(result_layout(config), always_ready=True)),
            }
        )

    @property
    def module_name(self) -> str:
        """Name that encodes all parameters."""
        return f"cluster_{self._config.cluster_rows}_{row_name(self._config)}"

    def elaborate(self, platform: object) -> Module:
        """Wire rows, drain chains and converters; time the drain."""
        m = Module()
        config = self._config
        m.d.sync += self.b_out.eq(self.b)
        rows = [Shared(Row(config)) for _ in range(config.cluster_rows)]
        for i, row in enumerate(rows):
            m.submodules[f"row_{i}"] = row
            m.d.comb += [
                row.a.eq(self.a[i]),
                row.control.eq(self.control),
                row.b.eq(self.b_out),
            ]
        m.d.comb += [
            self.a_out.eq(_join(row.a_out for row in rows)),
            self.control_out.eq(rows[0].control_out),
        ]
        chain = _drain_chain(rows)
        for above, below in pairwise(chain):
            m.d.comb += below.drain_in.eq(above.drain_out)
        converters = []
        for col in range(config.cluster_cols):
            converter = Shared(ToFp32(config.pe_accumulator))
            m.submodules[f"to_fp32_{col}"] = converter
            m.d.comb += converter.i.eq(chain[-1].drain_out[col])
            converters.append(converter)
        m.d.comb += self.o.payload.eq(_join(converter.o for converter in converters))
        m.submodules.timer = timer = DrainTimer(config)
        m.d.comb += [timer.last.eq(rows[0].control_out.last), self.o.valid.eq(timer.valid)]
        return m


def _drain_chain(rows: list[Shared]) -> list[Shared]:
    """Return rows in the order of the drain chain, the one that leaves first at the end."""
    return rows


class DrainTimer(wiring.Component):
    """Says when results leave a cluster.

    Members
    -------
    last : 1
        A tile's last beat is in the operand registers.
    valid : 1
        A result is at the converters' outputs: for `drain_cycles` cycles, the first of them
        `drain_latency` + `ToFp32.LATENCY` cycles after `last`.
    """

    last: In(1)
    valid: Out(1)

    def __init__(self, config: ArrayConfig) -> None:
        self._config = config
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        """Delay the start; count down."""
        m = Module()
        config = self._config
        delay = Signal(config.drain_latency + ToFp32.LATENCY - 1)
        left = Signal(range(config.drain_cycles))
        m.d.sync += delay.eq(delay << 1 | self.last)
        with m.If(delay[-1]):
            m.d.sync += [self.valid.eq(1), left.eq(config.drain_cycles - 1)]
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        with m.Else():
            m.d.sync += self.valid.eq(0)
        return m


def _join(parts: Iterable[data.View]) -> Value:
    """Return the parts as one word: assigned slice by slice, they are emitted at length."""
    return Cat(part.as_value() for part in parts)
