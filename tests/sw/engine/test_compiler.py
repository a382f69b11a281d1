"""The compiler: schedules that fit, traffic as a plain simulation counts it, images."""

from dataclasses import replace

import numpy as np
import pytest

from mixdit_sw.engine.commands import COMMAND_WORDS, STEPS, Command, Opcode, command_bytes
from mixdit_sw.engine.compiler import compile_gemms, compile_sizes
from mixdit_sw.engine.gemm import GemmSize, LayerGemm
from mixdit_sw.engine.layout import pack_matrix, pack_operand, pack_vector
from mixdit_sw.engine.schedule import Schedule, choose_schedule, result_bytes, schedules, traffic
from mixdit_sw.engine.shape import EngineShape
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import MX4, MX6, MX9
from mixdit_sw.mixed import quantize_mixed

SHAPE = EngineShape(rows=2, cols=4, bus_bytes=16, a_words=20, b_words=30, steps=STEPS)


def sizes(count, seed=0, shape=SHAPE):
    """Random GEMMs that fit."""
    rng = np.random.default_rng(seed)
    found = []
    while len(found) < count:
        blocks = int(rng.integers(1, 15))
        formats = [tuple((MX9, MX6, MX4)[i] for i in rng.integers(3, size=blocks)) for _ in "ab"]
        gemm = GemmSize(
            m=int(rng.integers(1, 40)),
            n=int(rng.integers(1, 40)),
            k=16 * blocks,
            a_formats=formats[0],
            b_formats=formats[1],
            steps=tuple(step for step in STEPS if rng.random() < 0.4),
            bf16=bool(rng.random() < 0.5),
        )
        if gemm.words(False) <= shape.a_words and gemm.words(True) <= shape.b_words:
            found.append(gemm)
    return found


def loaded(gemm, shape, schedule):
    """Bus words that a plain walk through the tiles loads, and the tiles of C that it gives."""
    b = schedule.stationary_b
    tiles = -(-gemm.m // shape.rows), -(-gemm.n // shape.cols)
    beats = [gemm.beats(shape, is_b) for is_b in (False, True)]
    words, shown, done = 0, None, []
    for number, first in enumerate(range(0, tiles[b], schedule.panel)):
        panel = range(tiles[b])[first : first + schedule.panel]
        words += len(panel) * beats[b]
        order = range(tiles[not b])
        for streamed in reversed(order) if number % 2 else order:
            words += 0 if streamed == shown else beats[not b]
            shown = streamed
            done += [(streamed, held) if b else (held, streamed) for held in panel]
    assert sorted(done) == [(r, c) for r in range(tiles[0]) for c in range(tiles[1])]
    return words


def test_traffic():
    for gemm in sizes(25):
        found = schedules(gemm, SHAPE)
        assert len(set(found)) == len(found)
        for schedule in found:
            assert traffic(gemm, SHAPE, schedule) == loaded(gemm, SHAPE, schedule)


def test_schedules_fit_and_none_is_missing():
    for gemm in sizes(40, seed=1):
        found = schedules(gemm, SHAPE)
        for b in (False, True):
            tiles = gemm.tiles(SHAPE)[b]
            words, depth = gemm.words(b), SHAPE.words(b)
            fit = {p for p in range(1, tiles + 1) if p * words <= depth}
            assert {s.panel for s in found if s.stationary_b == b} == fit
        assert choose_schedule(gemm, SHAPE) in found


def test_the_choice_loads_least_when_loading_is_all():
    """One K-block each: everything fits twice, so nothing is waited for but a slow memory."""
    gemm = GemmSize(m=8, n=16, k=16, a_formats=(MX4,), b_formats=(MX4,))
    slow = choose_schedule(gemm, replace(SHAPE, memory_words=0.5))
    least = min(traffic(gemm, SHAPE, schedule) for schedule in schedules(gemm, SHAPE))
    assert traffic(gemm, SHAPE, slow) == least
    # With two words a cycle it takes the shortest first panel that loads no longer than C takes.
    fast = choose_schedule(gemm, SHAPE)
    assert fast.panel < slow.panel
    assert least < traffic(gemm, SHAPE, fast) <= result_bytes(gemm, SHAPE) // SHAPE.bus_bytes


def test_only_a_list_waits_for_its_first_panel():
    """Later commands load while the one before is computed, so they may take the least traffic."""
    gemm = GemmSize(m=8, n=16, k=16, a_formats=(MX4,), b_formats=(MX4,))
    plans = [
        Schedule(bool(c.stationary_b), c.panel) for c in compile_sizes([gemm] * 3, SHAPE).commands
    ]
    assert plans[0] == choose_schedule(gemm, SHAPE)
    assert plans[1] == plans[2] == choose_schedule(gemm, SHAPE, overlaps=True)
    assert traffic(gemm, SHAPE, plans[1]) < traffic(gemm, SHAPE, plans[0])
    waiting = replace(gemm, steps=("residual",), residual_source=0)
    again = compile_sizes([gemm, waiting], SHAPE).commands[1]
    assert Schedule(bool(again.stationary_b), again.panel) == plans[0]


@pytest.mark.parametrize(("formats", "name"), [((MX9, MX4), "A"), ((MX4, MX9), "B")])
def test_k_too_large(formats, name):
    gemm = GemmSize(m=1, n=1, k=320, a_formats=formats[:1] * 20, b_formats=formats[1:] * 20)
    with pytest.raises(MixditError, match=f"A tile of {name} takes 40 words.*K is too large"):
        schedules(gemm, SHAPE)


def regions(command, gemm, shape):
    """Address and size of everything that a command reads or writes."""
    rows, cols = gemm.tiles(shape)
    bus = shape.bus_bytes
    columns = len({"col_scale", "bias"} & set(gemm.steps))
    found = {
        "a_address": rows * command.a_beats * bus,
        "b_address": cols * command.b_beats * bus,
        "c_address": result_bytes(gemm, shape),
        "residual_address": rows * cols * shape.rows * shape.cols * 4,
        "row_vector_address": rows * shape.row_vector_beats * bus,
        "col_vector_address": cols * columns * bus,
    }
    for step, name in (("residual", "residual_address"), ("row_scale", "row_vector_address")):
        if step not in gemm.steps:
            found[name] = 0
    return [(getattr(command, name), size) for name, size in found.items() if size]


def test_commands():
    gemms = sizes(12, seed=2)
    program = compile_sizes(gemms, SHAPE)
    *commands, end = program.commands
    taken = []
    for gemm, command in zip(gemms, commands, strict=True):
        rows, cols = -(-gemm.m // SHAPE.rows), -(-gemm.n // SHAPE.cols)
        assert (command.row_tiles, command.col_tiles) == (rows, cols)
        assert command.opcode == Opcode.GEMM and command.output == gemm.bf16
        assert command.step_names == gemm.steps
        assert command.k_blocks == len(gemm.a_formats)
        assert command.a_words == sum(f.digits for f in gemm.a_formats)
        assert command.b_words == sum(f.digits for f in gemm.b_formats)
        beats = SHAPE.rows * SHAPE.cols * 4 // SHAPE.bus_bytes // (2 if gemm.bf16 else 1)
        assert (command.c_row_beats, command.c_col_beats) == (beats * cols, beats)
        stationary = command.b_words if command.stationary_b else command.a_words
        assert stationary * command.panel <= SHAPE.words(bool(command.stationary_b))
        taken += regions(command, gemm, SHAPE)
    assert end == Command(opcode=Opcode.END)
    taken.append((program.list_address, len(program.commands) * command_bytes(SHAPE.bus_bytes)))
    taken.sort()
    for (address, size), (following, _) in zip(
        taken, [*taken[1:], (program.image.size, 0)], strict=True
    ):
        assert address % SHAPE.bus_bytes == 0 and address + size <= following


def test_list_in_the_image():
    program = compile_sizes(sizes(3, seed=3), SHAPE)
    memory = program.image.bytes()
    assert memory.dtype == np.uint8 and memory.size == program.image.size
    step = command_bytes(SHAPE.bus_bytes)
    for n, command in enumerate(program.commands):
        at = program.list_address + n * step
        words = memory[at : at + 4 * COMMAND_WORDS].view(np.uint32)
        assert Command.unpack(words) == command


def test_plans_are_followed():
    (gemm,) = sizes(1, seed=4)
    for plan in schedules(gemm, SHAPE):
        command = compile_sizes([gemm], SHAPE, plans=[plan]).commands[0]
        assert (bool(command.stationary_b), command.panel) == (plan.stationary_b, plan.panel)


def layer(seed=0, **changes):
    rng = np.random.default_rng(seed)
    x, y = (rng.normal(size=(rows, 40)).astype(np.float32) for rows in (5, 9))
    formats = [(MX9, MX6, MX4), (MX6, MX6, MX9)]
    return LayerGemm(
        **{
            "a": quantize_mixed(x, [formats[0]]).operands[0],
            "b": quantize_mixed(y, [formats[1]]).operands[0],
            "row_scale": rng.normal(size=5).astype(np.float32),
            "col_scale": rng.normal(size=9).astype(np.float32),
            "bias": rng.normal(size=9).astype(np.float32),
            "residual": rng.normal(size=(5, 9)).astype(np.float32),
            **changes,
        },
    )


def test_operands_in_the_image():
    gemms = [layer(), layer(1, col_scale=None, row_scale=None, bf16=True)]
    program = compile_gemms(gemms, SHAPE)
    memory = program.image.bytes()
    for gemm, command in zip(gemms, program.commands, strict=False):
        columns = [part for part in (gemm.col_scale, gemm.bias) if part is not None]
        rows = [] if gemm.row_scale is None else [gemm.row_scale]
        for address, content in (
            (command.a_address, pack_operand(gemm.a, SHAPE, is_b=False)),
            (command.b_address, pack_operand(gemm.b, SHAPE, is_b=True)),
            (command.residual_address, pack_matrix(gemm.residual, SHAPE)),
            (command.col_vector_address, pack_vector(columns, SHAPE.cols, SHAPE)),
            (command.row_vector_address, pack_vector(rows, SHAPE.rows, SHAPE)),
        ):
            flat = content.reshape(-1)
            assert np.array_equal(memory[address : address + flat.size], flat)


def test_result_is_read_from_its_place():
    program = compile_gemms([layer(), layer(1)], SHAPE)
    memory = program.image.bytes()
    c = np.random.default_rng(5).normal(size=(5, 9)).astype(np.float32)
    flat = pack_matrix(c, SHAPE).reshape(-1)
    at = program.commands[1].c_address
    memory[at : at + flat.size] = flat
    assert np.array_equal(program.result(memory, 1), c)
    assert not program.result(memory, 0).any()


def test_step_that_is_not_built():
    shape = EngineShape(rows=2, cols=4, bus_bytes=16, a_words=20, b_words=30, steps=("bias",))
    with pytest.raises(MixditError, match="The engine is built without row_scale"):
        compile_gemms([layer()], shape)


def test_operands_must_match():
    other = quantize_mixed(np.ones((9, 64), np.float32), [(MX6,) * 4]).operands[0]
    with pytest.raises(MixditError):
        compile_gemms([layer(b=other)], SHAPE)
