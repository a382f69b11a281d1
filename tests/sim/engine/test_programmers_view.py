"""What docs/programming.md promises beyond a well-formed program, on RTL."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from engine_cases import expected, numbers, operand, random_timing

from mixdit_hw.engine.config import ENGINES
from mixdit_sim.engine.rtl import Job, program_job, run_jobs
from mixdit_sw.engine.commands import Command, Error, command_bytes
from mixdit_sw.engine.compiler import Program, compile_gemms
from mixdit_sw.engine.gemm import LayerGemm
from mixdit_sw.engine.registers import Status
from mixdit_sw.engine.schedule import schedules
from mixdit_sw.gemm.kinds import parse_kind

ENGINE = ENGINES["tiny"]
KIND = parse_kind(ENGINE.array.accumulator)
PAGE = (Path(__file__).parents[3] / "docs" / "programming.md").read_text()
LIST = 256
GOOD = Command(
    opcode=2,
    row_tiles=1,
    col_tiles=1,
    panel=1,
    k_blocks=1,
    a_words=1,
    b_words=1,
    a_beats=3,
    b_beats=3,
)


def with_commands(program: Program, commands: list[Command]) -> Program:
    """Return a program whose list is another one of the same length."""
    words = np.zeros((len(commands), command_bytes(program.shape.bus_bytes) // 4), np.uint32)
    for row, command in zip(words, commands, strict=True):
        row[:32] = command.pack()
    program.image.parts.append((program.list_address, words.view(np.uint8).reshape(-1)))
    return replace(program, commands=commands)


def in_place(rng):
    """A GEMM whose C lies where its residual lay."""
    m, n, k = (int(v) for v in rng.integers(1, 14, 3))
    layer = LayerGemm(
        a=operand(rng, m, 8 * k), b=operand(rng, n, 8 * k), residual=numbers(rng, (m, n))
    )
    plans = schedules(layer.size, ENGINE.shape)
    program = compile_gemms([layer], ENGINE.shape, plans=[plans[rng.integers(len(plans))]])
    gemm, end = program.commands
    gemm = replace(
        gemm,
        c_address=gemm.residual_address,
        c_row_beats=gemm.residual_row_beats,
        c_col_beats=gemm.residual_col_beats,
    )
    return with_commands(program, [gemm, end]), [layer]


def writes_over(rng):
    """Two GEMMs; the second writes where the first reads, and does not wait."""
    layers = [LayerGemm(a=operand(rng, r, k), b=operand(rng, r, k)) for r, k in ((8, 96), (4, 16))]
    program = compile_gemms(layers, ENGINE.shape)
    first, second, end = program.commands
    second = replace(second, c_address=first.a_address)
    return with_commands(program, [first, second, end]), layers


def words(command: Command, **bits: int) -> np.ndarray:
    """Return a command's words, some of them (`word_<n>`) replaced."""
    found = command.pack()
    for name, value in bits.items():
        found[int(name.removeprefix("word_"))] = value
    return found


BAD = {
    "opcode before field": (words(replace(GOOD, opcode=7, output=3)), Error.OPCODE),
    "field before size": (words(replace(GOOD, output=3, panel=0)), Error.FIELD),
    "unused bit": (words(GOOD, word_25=1), Error.FIELD),
    "size before alignment": (words(replace(GOOD, panel=0, a_address=1)), Error.SIZE),
    "alignment before range": (words(replace(GOOD, a_address=1 << 50 | 1)), Error.ALIGNMENT),
    "alignment, unused": (words(replace(GOOD, col_vector_address=4)), Error.ALIGNMENT),
    "range before capacity": (words(replace(GOOD, b_address=1 << 40, a_words=84)), Error.RANGE),
    "capacity of a panel": (words(replace(GOOD, a_words=2, panel=42)), Error.CAPACITY),
    "capacity of the streamed": (words(replace(GOOD, b_words=84)), Error.CAPACITY),
}
LISTS = {LIST + 1 | 1 << 45: Error.ALIGNMENT, LIST | 1 << 45: Error.RANGE}


def list_of(raw: np.ndarray) -> Job:
    """Return the job of a list of one command."""
    image = np.full(2 * LIST, 0xFF, np.uint8)
    image[LIST : LIST + 128] = raw.view(np.uint8)
    return Job(image, LIST)


def build():
    """Return programs with their layers, and jobs by name."""
    rng = np.random.default_rng(0)
    programs = [in_place(rng) for _ in range(12)] + [writes_over(rng) for _ in range(8)]
    example = {}
    exec(PAGE.split("## Example")[1].split("```python\n")[1].split("```")[0], example)
    memory = np.frombuffer(example["memory"], np.uint8)
    jobs = {
        "example": Job(memory, 0xF0, (0, memory.size)),
        **{i: program_job(program, random_timing(rng)) for i, (program, _) in enumerate(programs)},
        **{name: list_of(raw) for name, (raw, _) in BAD.items()},
        **{address: Job(np.zeros(2 * LIST, np.uint8), address) for address in LISTS},
        "end": list_of(np.array([0xFFFF_FF01] + [0xFFFF_FFFF] * 31, np.uint32)),
    }
    return programs, example["after"], jobs


@pytest.fixture(scope="module")
def ran():
    """Everything, run on one engine without a reset in between."""
    programs, after, jobs = build()
    results = run_jobs(ENGINE, list(jobs.values()), simulator="icarus")
    return programs, after, dict(zip(jobs, results, strict=True))


def test_example(ran):
    _, after, results = ran
    assert results["example"].outcome.error == Error.NONE
    assert results["example"].memory.tobytes() == after.tobytes()


@pytest.mark.parametrize("number", range(20))
def test_what_may_overlap(ran, number):
    """The first 12 are in place, the others write over what was read."""
    programs, _, results = ran
    program, layers = programs[number]
    result = results[number]
    assert result.outcome.error == Error.NONE
    for index, layer in enumerate(layers):
        c = program.result(result.memory, index).view(np.uint32)
        assert (c == expected(layer, KIND, program.shape).view(np.uint32)).all()


@pytest.mark.parametrize("name", BAD)
def test_lowest_code_is_reported(ran, name):
    result = ran[2][name]
    assert (result.outcome.error, result.outcome.error_address) == (BAD[name][1], LIST)
    assert result.status == Status.ERROR


@pytest.mark.parametrize("address", LISTS)
def test_bad_list_address(ran, address):
    outcome = ran[2][address].outcome
    assert (outcome.error, outcome.error_address) == (LISTS[address], LIST)


def test_only_the_opcode_of_an_end_counts(ran):
    assert ran[2]["end"].outcome.error == Error.NONE
    assert ran[2]["end"].status == Status.DONE
