"""The array tests can fail: each fault that is put into the hardware shows as wrong results."""

import pytest
from amaranth.hdl import Const
from hw_driver import mismatches, operands, tiny

from mixdit_hw.array import cluster, sequencer
from mixdit_hw.pe import accumulator, aligned, dot, fp32, to_fp32
from mixdit_sw.codec.packets import Pass, passes

FAULTS = {}


def fault(function):
    FAULTS[function.__name__] = function
    return function


@fault
def rounding_truncates_at_the_drain(patch):
    patch.setattr(to_fp32, "round_to_even", lambda x: x[len(x) - fp32.SIG_BITS :])


@fault
def rounding_truncates_in_fp32(patch):
    patch.setattr(fp32, "round_to_even", lambda x: x[len(x) - fp32.SIG_BITS :])


@fault
def pair_shift_ignores_tau_of_b(patch):
    shift = dot._shift
    patch.setattr(dot, "_shift", lambda x, fill, tau_a, tau_b: shift(x, fill, tau_a, tau_a))


@fault
def digit_join_never_shifts(patch):
    table = {
        (p, q): tuple(Pass(step.a_digit, step.b_digit, False) for step in passes(p, q))
        for p in (1, 2)
        for q in (1, 2)
    }
    patch.setattr(sequencer, "passes", lambda p, q: table[p, q])


@fault
def accumulate_does_not_round(patch):
    select = aligned._select
    patch.setattr(aligned, "_select", lambda *args: select(*args) & ~Const(1, 60))


@fault
def only_small_blocks_are_lifted(patch):
    patch.setattr(aligned, "GUARDED_BITS", aligned.GUARDED_BITS - 4)


@fault
def precision_tag_is_ignored(patch):
    patch.setattr(sequencer, "passes", lambda p, q: passes(1, 1))


@fault
def drain_order_is_reversed(patch):
    patch.setattr(cluster, "_drain_chain", lambda rows: rows[::-1])


@fault
def drain_copies_a_cycle_late(patch):
    delay = accumulator._delay
    patch.setattr(
        accumulator, "_delay", lambda m, x, n, name: delay(m, x, n + (name == "copied"), name)
    )


PAIRS = ("mx9xmx6", "mx6xmx6-mixed")


@pytest.mark.parametrize("kind", ["aligned40", "fp32"])
@pytest.mark.parametrize("pair", PAIRS)
def test_no_fault_no_mismatch(kind, pair):
    assert mismatches(tiny(accumulator=kind), *operands(pair)) == 0


@pytest.mark.parametrize("inject", FAULTS.values(), ids=FAULTS)
def test_fault_is_seen(inject, monkeypatch):
    inject(monkeypatch)
    kind = "fp32" if "fp32" in inject.__name__ else "aligned40"
    assert any(mismatches(tiny(accumulator=kind), *operands(pair)) for pair in PAIRS)
