"""What the self-test runs: a few GEMMs that use every unit of an engine."""

from dataclasses import dataclass

import numpy as np

from mixdit_hw.engine.config import EngineConfig
from mixdit_sw.engine.compiler import Program, compile_gemms
from mixdit_sw.engine.convert import LayerConvert
from mixdit_sw.engine.gemm import LayerGemm
from mixdit_sw.engine.layout import pack_matrix, pack_operand
from mixdit_sw.engine.shape import EngineShape
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import LANES, MX4, MX6, MX9, Format
from mixdit_sw.gemm.epilogue import apply_epilogue, to_bf16
from mixdit_sw.gemm.kinds import parse_kind
from mixdit_sw.gemm.reference import golden_gemm
from mixdit_sw.mixed import quantize_mixed
from mixdit_sw.operand import QuantizedOperand

SEED = 0


@dataclass(frozen=True)
class SelfTestProgram:
    """Memory before and after a run.

    Attributes
    ----------
    before, after
        Bus words as integers, least byte first; their number is a power of two.
    list_address
        Of the command list, in bytes.
    """

    before: list[int]
    after: list[int]
    list_address: int


def selftest_program(config: EngineConfig) -> SelfTestProgram:
    """Return GEMMs of mixed formats, one with all built steps, and a conversion.

    The second GEMM computes with the first one's result. What memory must hold afterwards is the
    golden model's. Results are whole tiles, so that every byte is defined.

    Raises
    ------
    MixditError
        When the engine has more than one port, which the self-test's memory has not.
    """
    if config.ports != 1:
        raise MixditError(f"The self-test needs an engine with one port, not {config.ports}")
    shape, rng = config.shape, np.random.default_rng(SEED)
    m, n = 2 * max(shape.rows, shape.cols), LANES * max(1, shape.cols // LANES)
    kind = parse_kind(config.array.accumulator)

    def numbers(*size: int) -> np.ndarray:
        return rng.normal(size=size).astype(np.float32)

    sizes = {"row_scale": (m,), "col_scale": (n,), "bias": (n,), "residual": (m, n)}
    steps = {step: numbers(*sizes[step]) for step in shape.steps}
    first = LayerGemm(
        a=_quantize(numbers(m, 3 * LANES), (MX9, MX6, MX4)),
        b=_quantize(numbers(n, 3 * LANES), (MX6, MX9, MX6)),
        as_operand=(MX9,) * (n // LANES),
        **steps,
    )
    stored = _quantize(_result(first, golden_gemm(first.a, first.b, kind)), first.as_operand)
    second = LayerGemm(a=stored, a_source=0, b=_quantize(numbers(m, n), (MX9,) * (n // LANES)))
    third = LayerGemm(a=first.b, b=first.a, bf16=True)
    source = numbers(n, m) if config.transposes else numbers(m, n)
    converted = LayerConvert(
        x=source, formats=(MX6,) * (source.size // m // LANES), transposed=config.transposes
    )
    gemms = [first, second, third]
    program = compile_gemms([*gemms, converted], shape)
    memory = program.image.bytes()
    after = memory.copy()
    operand = pack_operand(converted.operand(source), shape, is_b=False).reshape(-1)
    address = program.commands[-2].tags_address
    after[address : address + operand.size] = operand
    for index, gemm in enumerate(gemms):
        c = _result(gemm, golden_gemm(gemm.a, gemm.b, kind))
        address, content = _stored(gemm, c, program, index, shape)
        after[address : address + content.size] = content
    bus = shape.bus_bytes
    return SelfTestProgram(_words(memory, bus), _words(after, bus), program.list_address)


def _quantize(x: np.ndarray, formats: tuple[Format, ...] | None) -> QuantizedOperand:
    assert formats is not None
    return quantize_mixed(x, [formats]).operands[0]


def _result(gemm: LayerGemm, product: np.ndarray) -> np.ndarray:
    steps = {name: getattr(gemm, name) for name in gemm.size.steps}
    return apply_epilogue(product, **steps)


def _stored(
    gemm: LayerGemm, c: np.ndarray, program: Program, index: int, shape: EngineShape
) -> tuple[int, np.ndarray]:
    """Return the address of a C and its bytes."""
    command = program.commands[index]
    if gemm.as_operand is not None:
        content = pack_operand(_quantize(c, gemm.as_operand), shape, is_b=False)
        return command.tags_address, content.reshape(-1)
    tiles = pack_matrix(c, shape, gemm.size.tiles(shape)).reshape(-1).view(np.float32)
    content = to_bf16(tiles) if gemm.bf16 else tiles
    return command.c_address, content.view(np.uint8)


def _words(memory: np.ndarray, bus_bytes: int) -> list[int]:
    """Return bus words, completed with zeros to a power of two of them."""
    words = [int.from_bytes(row.tobytes(), "little") for row in memory.reshape(-1, bus_bytes)]
    return words + [0] * ((1 << (len(words) - 1).bit_length()) - len(words))
