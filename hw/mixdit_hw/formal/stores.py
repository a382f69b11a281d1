"""The store walker says of each tile where it goes, how it is stored, and what its tags are."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring

from mixdit_hw.config import ArrayConfig
from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.source import Origin
from mixdit_hw.engine.store import StoreWalker
from mixdit_hw.formal.axi import check_stays
from mixdit_hw.formal.inside import find, open_unit, surround
from mixdit_hw.formal.loads import assume_tiles, follow
from mixdit_hw.formal.properties import assume, check, cover, implies
from mixdit_hw.formal.tiles import TileOrder
from mixdit_sw.engine.commands import Output
from mixdit_sw.engine.shape import TAG_BITS

BITS = 3
"""Of the number of tiles of either operand, here."""


def half_groups() -> EngineConfig:
    """Return an engine with two tiles in a group."""
    return EngineConfig(
        array=ArrayConfig(rows=2, cols=8, cluster_rows=2, cluster_cols=8),
        port_bytes=32,
        buffer_bytes=2048,
        address_bits=20,
        steps=(),
    )


class StoresProof(wiring.Component):
    """A store walker with free commands of up to 7 x 7 tiles, free tags and a free taker."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._dut = StoreWalker(config)
        super().__init__(self._dut.signature)

    def elaborate(self, platform: object) -> Module:
        """Walk beside it."""
        m = Module()
        dut = self._dut
        self._inside = inside = surround(m, self, dut)
        assume_tiles(m, self.command, BITS)
        self._assume_groups(m)
        loop = inside.submodules.loop
        open_unit(loop)
        taken = self.command.valid & self.command.ready
        has_command = dut._begun | dut._active
        events = taken, has_command, dut._start
        kept, order = follow(m, self.command.payload, loop, events, BITS)
        check(m, "command", implies(has_command, dut._command == kept))
        check(m, "active", order.active == dut._active)
        check(m, "one_at_a_time", ~(dut._begun & dut._active))
        check(m, "takes_when_idle", self.command.ready == ~has_command)
        tags = self._check_start(m, kept)
        self._check_tile(m, kept, order, tags)
        offered = [Value.cast(self.tile.payload)]
        check_stays(m, "tile", self.tile.valid, self.tile.ready, offered)
        cover(m, "second_panel", order.active & order.last & (order.first == 2) & (order.s == 1))
        cover(m, "bad", self.bad_format & (order.t == 2))
        return m

    def _assume_groups(self, m: Module) -> None:
        """Assume that tiles that are stored as an operand come in groups, as the checks demand."""
        command = self.command.payload
        is_operand = command.output == Output.OPERAND
        assume(m, command.output != 3)
        assume(m, implies(self.command.valid & is_operand, self._grouped(command)))

    def _check_start(self, m: Module, kept: Value) -> Signal:
        """Check that tags are taken once for each operand, before its first tile; return them."""
        dut = self._dut
        tags = Signal.like(self.tags.payload)
        taken = self.tags.valid & self.tags.ready
        with m.If(taken):
            m.d.sync += tags.eq(self.tags.payload)
        is_operand = kept.output == Output.OPERAND
        begins = dut._begun & (self.tags.valid | ~is_operand)
        check(m, "begins", dut._start == begins)
        check(m, "takes_tags", taken == (begins & is_operand))
        check(m, "tags", implies(dut._active & is_operand, dut._tags == tags))
        is_good = (kept.output != 3) & implies(is_operand, self._grouped(kept))
        check(m, "groups", implies(dut._begun | dut._active, is_good))
        return tags

    def _grouped(self, kept: Value) -> Value:
        """Return whether tiles that are stored as an operand come in groups."""
        tiles = self._config.shape.group_tiles
        whole = (kept.panel % tiles == 0) & (kept.col_tiles % tiles == 0)
        return kept.stationary_b & whole

    def _check_tile(self, m: Module, kept: Value, order: TileOrder, tags: Value) -> None:
        """Compare the present tile with what the command says of it."""
        dut, shape, tile = self._dut, self._config.shape, self.tile.payload
        is_operand = kept.output == Output.OPERAND
        group, in_group = order.t // shape.group_tiles, order.t % shape.group_tiles
        completes = in_group == shape.group_tiles - 1
        tag = tags.word_select(group, TAG_BITS)
        unknown = is_operand & (tag >= len(shape.formats))
        from_memory = Mux(kept.transposed, Origin.TURNED, Origin.MEMORY)
        origin = Mux(kept.is_convert, from_memory, Origin.ARRAY)
        fp32 = shape.tile_beats
        beats = Mux(kept.output == Output.BF16, fp32 // 2, fp32)
        for name, condition in {
            "bad_format": self.bad_format == unknown,
            "offered": self.tile.valid == ~unknown,
            "steps": tile.steps == kept.steps,
            "output": tile.output == kept.output,
            "origin": tile.origin == origin,
            "source": tile.write.source == is_operand,
            "stored": tile.stored == (~is_operand | completes),
            "beats": implies(
                ~unknown, tile.write.beats == Mux(is_operand, self._beats(tag), beats)
            ),
            "tag": implies(is_operand, tile.group.tags == tag),
            "completes": implies(is_operand, tile.group.completes == completes),
            "tags_address": self.tags_address == kept.tags_address,
            "whole_groups": implies(is_operand, order.first % shape.group_tiles == 0),
            "column": implies(is_operand, dut._column == group),
            "in_group": implies(is_operand, dut._in_group == in_group),
            "panel_column": implies(
                is_operand, dut._panel_column == order.first // shape.group_tiles
            ),
        }.items():
            check(m, name, implies(order.active, condition))
        check(m, "quiet", implies(~order.active, ~self.tile.valid & ~self.bad_format))
        self._check_address(m, kept, order, tags)

    def _beats(self, tag: Value) -> Value:
        """Return the bus words of a group, of one K-block, by its tag."""
        shape = self._config.shape
        sizes = [shape.group_beats((fmt,), False) for fmt in shape.block_formats]
        found: Value = Const(0, 8)
        for number, size in enumerate(sizes):
            found = Mux(tag == number, size, found)
        return found

    def _check_address(self, m: Module, kept: Value, order: TileOrder, tags: Value) -> None:
        """Check addresses: of tiles by distances, of groups by all before them in their row."""
        unit = self._inside.submodules.c_address.inner
        panel_start = find(open_unit(unit), "panel_start")
        is_operand = kept.output == Output.OPERAND
        b, width = kept.stationary_b, len(unit.address)
        stationary_step = Mux(b, kept.c_col_beats, kept.c_row_beats)
        streamed_step = Mux(b, kept.c_row_beats, kept.c_col_beats)
        across, before = Signal(width, name="across"), []
        m.d.comb += across.eq(kept.c_address + order.s * streamed_step)
        total: Value = Const(0, 1)
        for group in range((1 << BITS) // self._config.shape.group_tiles):
            before.append(total)
            total = total + self._beats(tags.word_select(group, TAG_BITS))
        known = ~Cat(
            tags.word_select(group, TAG_BITS) >= len(self._config.shape.formats)
            for group in range(len(before))
        ).any()
        for name, value, t in (
            ("address", unit.address, order.t),
            ("panel_start", panel_start, order.first),
        ):
            by_group = Signal(width, name=f"{name}_of_group")
            with m.Switch(t // self._config.shape.group_tiles):
                for group, beats in enumerate(before):
                    with m.Case(group):
                        m.d.comb += by_group.eq(across + beats)
            plain = Signal(width, name=f"{name}_of_tile")
            m.d.comb += plain.eq(across + t * stationary_step)
            right = value == Mux(is_operand, by_group, plain)
            check(m, f"c_{name}", implies(order.active & (known | ~is_operand), right))
