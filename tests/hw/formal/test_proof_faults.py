"""Proofs can fail: each fault that is put into a unit is rejected by the proof of its property."""

import sys
from dataclasses import replace

import pytest
from amaranth.hdl import Const, Module, Mux
from amaranth.lib import wiring

from mixdit_hw.array import sequencer
from mixdit_hw.blocks import converter
from mixdit_hw.blocks.transpose import Transpose
from mixdit_hw.config import PRESETS
from mixdit_hw.engine.fifo import Slot
from mixdit_hw.formal import sequencer as sequencer_proof
from mixdit_hw.formal.aligned import AlignedProof
from mixdit_hw.formal.converter import ConverterProof
from mixdit_hw.formal.fp32 import Case, PrepareProof, StepProof
from mixdit_hw.formal.join import JoinProof
from mixdit_hw.formal.proofs import FORMATS
from mixdit_hw.formal.runner import PropertyError, prove
from mixdit_hw.formal.streams import StreamProof
from mixdit_hw.pe import aligned, fp32
from mixdit_sw.codec.packets import Pass, passes
from mixdit_sw.gemm.kinds import Aligned

pytestmark = pytest.mark.skipif(
    sys.platform == "darwin", reason="bitwuzla has no package for macOS"
)
WIDTHS = 21, 10
TINY = PRESETS["tiny"]


def rejected(harness, *, mode="bmc", depth=1, cut=()):
    """Return the first line of what the proof says."""
    with pytest.raises(PropertyError) as caught:
        prove(harness, "fault", mode=mode, depth=depth, cut=cut)
    return str(caught.value).splitlines()[0].split(";")[0]


def test_fp32_truncates(monkeypatch):
    monkeypatch.setattr(fp32, "round_to_even", lambda x: x[len(x) - fp32.SIG_BITS :])
    assert rejected(StepProof(*WIDTHS, Case(5, 5))) == "fault: equal fails"


def test_fp32_forgets_what_is_cut_off(monkeypatch):
    shift = fp32.shift_right_sticky
    monkeypatch.setattr(
        fp32, "shift_right_sticky", lambda m, x, n: (shift(m, x, n)[0], Const(0, 1))
    )
    assert rejected(StepProof(*WIDTHS, Case(-25, -25))) == "fault: equal fails"


@pytest.mark.heavy
def test_fp32_far_block_is_taken_for_a_near_one(monkeypatch):
    monkeypatch.setattr(fp32.Fp32Step, "GUARD", 1)
    assert rejected(StepProof(*WIDTHS, Case(26, 2048))) == "fault: equal fails"


@pytest.mark.heavy
def test_fp32_prepares_a_wrong_exponent(monkeypatch):
    monkeypatch.setattr(fp32, "FRACTION_BIAS", fp32.FRACTION_BIAS + 1)
    assert rejected(PrepareProof(*WIDTHS)) == "fault: value fails"


def test_aligned_does_not_round(monkeypatch):
    select = aligned._select
    monkeypatch.setattr(aligned, "_select", lambda *args: select(*args) & ~Const(1, 60))
    assert "significand" in rejected(AlignedProof(Aligned(40), *WIDTHS))


@pytest.mark.heavy
def test_aligned_lifts_small_blocks_only(monkeypatch):
    monkeypatch.setattr(aligned, "GUARDED_BITS", aligned.GUARDED_BITS - 1)
    assert "significand" in rejected(AlignedProof(Aligned(40), *WIDTHS))


@pytest.mark.heavy
def test_aligned_overflows(monkeypatch):
    """A bit less of room: what was proved to be free of overflow is not equal any more."""
    monkeypatch.setattr(aligned, "_all_alike", lambda bits: bits[1:].all() | ~bits[1:].any())
    assert "significand" in rejected(AlignedProof(Aligned(40), *WIDTHS))


def test_join_never_shifts(monkeypatch):
    monkeypatch.setattr(
        sequencer,
        "passes",
        lambda p, q: tuple(Pass(s.a_digit, s.b_digit, False) for s in passes(p, q)),
    )
    harness = JoinProof(TINY)
    assert rejected(harness, depth=8, cut=JoinProof.CUT) == "fault: on_the_way fails"


def test_converter_truncates(monkeypatch):
    monkeypatch.setattr(
        converter, "_round_to", lambda kept, sticky, bits: kept[converter.KEPT_BITS - bits :]
    )
    assert rejected(ConverterProof(FORMATS, [0]), depth=4) in (
        "fault: mx9_0 fails",
        "fault: mx6_0 fails",
        "fault: mx4_0 fails",
    )


@pytest.mark.heavy
def test_converter_does_not_saturate(monkeypatch):
    def wraps(kept, sticky, bits):
        below = converter.KEPT_BITS - bits
        code, half = kept[below:], kept[below - 1]
        return (code + (half & (sticky | kept[: below - 1].any() | code[0])))[:bits]

    monkeypatch.setattr(converter, "_round_to", wraps)
    assert "_0" in rejected(ConverterProof(FORMATS, [0]), depth=4)


@pytest.mark.heavy
def test_converter_takes_another_exponent(monkeypatch):
    monkeypatch.setattr(converter, "_largest", lambda values: Mux(values[0] > 7, values[0], 7))
    assert "exponent" in rejected(ConverterProof(FORMATS, []), depth=4)


class Impatient(wiring.Component):
    """A unit whose output does not wait for the sink."""

    def __init__(self, unit):
        self._unit = unit
        super().__init__(unit.signature)

    def elaborate(self, platform):
        m = Module()
        m.submodules.unit = unit = self._unit
        for name, member in unit.signature.members.items():
            outer, inner = getattr(self, name), getattr(unit, name)
            if name != "o" and member.is_signature:
                wiring.connect(m, wiring.flipped(outer), inner)
            elif name != "o":
                m.d.comb += inner.eq(outer)
        m.d.comb += [
            unit.o.ready.eq(1),
            self.o.valid.eq(unit.o.valid),
            self.o.payload.eq(unit.o.payload),
        ]
        return m


@pytest.mark.parametrize(
    "unit",
    [
        lambda: Slot(8),
        pytest.param(lambda: converter.MxConverter(FORMATS), marks=pytest.mark.heavy),
        lambda: Transpose(width=1),
    ],
    ids=["slot", "converter", "transpose"],
)
def test_stream_that_does_not_wait(unit):
    assert "stays" in rejected(StreamProof(Impatient(unit()), 2), mode="prove", depth=2)


def test_sequencer_ends_tiles_too_close(monkeypatch):
    hasty = replace(TINY, rows=1, cluster_rows=1)
    monkeypatch.setattr(sequencer_proof, "Sequencer", lambda config: sequencer.Sequencer(hasty))
    harness = sequencer_proof.SequencerProof(TINY)
    assert rejected(harness, depth=8) == "fault: distance fails"


def test_sequencer_never_ends(monkeypatch):
    steps = (*passes(2, 2), *passes(3, 3), *passes(3, 3))
    monkeypatch.setattr(sequencer, "passes", lambda p, q: steps)
    harness = sequencer_proof.SequencerProof(TINY)
    depth = sequencer_proof.bound(TINY) + 2
    assert rejected(harness, depth=depth) == "fault: tile_ends fails"


def test_sequencer_controls_without_a_beat(monkeypatch):
    class Restless(sequencer.Sequencer):
        def elaborate(self, platform):
            m = super().elaborate(platform)
            m.d.comb += self.control.shift.eq(1)
            return m

    monkeypatch.setattr(sequencer_proof, "Sequencer", Restless)
    harness = sequencer_proof.SequencerProof(TINY)
    assert rejected(harness, depth=2) == "fault: control_zero fails"
