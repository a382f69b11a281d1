"""GEMMs whose K is too long for the buffers, in parts of K.

Each part is a GEMM with the whole one's scales. The first has its bias and residual too; the others
add the sum so far, an FP32 number, as their residual. The last stores as the whole one would.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from mixdit_sw.engine.convert import ConvertSize, LayerConvert
from mixdit_sw.engine.gemm import GemmSize, LayerGemm
from mixdit_sw.engine.shape import EngineShape
from mixdit_sw.errors import MixditError

Gemm = TypeVar("Gemm", GemmSize, LayerGemm)
Step = TypeVar("Step", bound=GemmSize | ConvertSize | LayerGemm | LayerConvert)

SOURCES = ("a_source", "b_source", "residual_source", "source")


def in_parts(steps: Sequence[Step], shape: EngineShape) -> tuple[list[Step], list[int]]:
    """Return a list with what K is too long for in parts, and whose part each is.

    Among steps that do not read each other first parts come first, then all second ones: the engine
    waits once for each round, not once for each part.

    Raises
    ------
    MixditError
        When something reads what comes after it, or `split_k` refuses it.
    """
    found: list[Any] = []
    origins: list[int] = []
    rounds: dict[int, list[Any]] = {}
    for number, step in enumerate(steps):
        sources = _sources(step, number)
        if any(source in rounds for source in sources.values()):
            _flush(rounds, found, origins)
        commands: dict[str, Any] = {n: _last_part(origins, x) for n, x in sources.items()}
        named = replace(step, **commands) if commands else step
        is_gemm = isinstance(named, GemmSize | LayerGemm)
        rounds[number] = split_k(named, shape) if is_gemm else [named]
    _flush(rounds, found, origins)
    for step in reversed(found):
        _widen_residual(step, found, shape)
    return found, origins


def _sources(step: Any, number: int) -> dict[str, int]:
    """Return the steps that step `number` reads, by the name under which it has them."""
    named = {name: getattr(step, name, None) for name in SOURCES}
    sources = {name: source for name, source in named.items() if source is not None}
    for source in sources.values():
        if not 0 <= source < number:
            raise MixditError(f"Command {number} cannot read what command {source} stores")
    return sources


def _flush(rounds: dict[int, list[Any]], found: list[Any], origins: list[int]) -> None:
    """Move parts to the list, round by round, each with the one before as its residual."""
    for number in range(max(map(len, rounds.values()), default=0)):
        for origin, parts in rounds.items():
            if number < len(parts):
                part = parts[number]
                if number:
                    part = replace(part, residual_source=_last_part(origins, origin))
                found.append(part)
                origins.append(origin)
    rounds.clear()


def outputs_of(origins: list[int]) -> list[int]:
    """Return the command that stores the result of each step, from whose part each command is."""
    return [_last_part(origins, number) for number in range(max(origins, default=-1) + 1)]


def _last_part(origins: list[int], number: int) -> int:
    return len(origins) - 1 - origins[::-1].index(number)


def _widen_residual(step: Any, found: list[Any], shape: EngineShape) -> None:
    """Have the columns computed that a step reads beside its residual's: a group may end there."""
    source = getattr(step, "residual_source", None)
    if source is None or not isinstance(found[source], GemmSize | LayerGemm):
        return
    needed = _size(step).tiles(shape)[1]
    if _size(found[source]).tiles(shape)[1] < needed:
        found[source] = replace(found[source], col_tiles=needed)


def _size(gemm: GemmSize | LayerGemm) -> GemmSize:
    return gemm if isinstance(gemm, GemmSize) else gemm.size


def split_k(gemm: Gemm, shape: EngineShape) -> list[Gemm]:
    """Return a GEMM in as few parts of K as fit the buffers, about equally long.

    Each but the first still needs the one before as its residual.

    Raises
    ------
    MixditError
        When it needs parts that this engine cannot add up, or another command stores an operand.
    """
    size = _size(gemm)
    blocks = len(size.a_formats)
    for count in range(1, blocks + 1):
        cuts = [i * blocks // count for i in range(count + 1)]
        k_blocks = [slice(*cut) for cut in zip(cuts[:-1], cuts[1:], strict=True)]
        if all(_fits(size.part(part), shape) for part in k_blocks):
            break
    else:
        return [gemm]
    if count == 1:
        return [gemm]
    if (gemm.a_source, gemm.b_source) != (None, None):
        raise MixditError(
            f"K = {size.k} takes {count} parts, and an operand that another command stores cannot "
            "be taken apart"
        )
    if "residual" not in shape.steps:
        raise MixditError(
            f"K = {size.k} takes {count} parts, whose sum needs an engine with the step residual"
        )
    parts = [gemm.part(part) for part in k_blocks]
    return [_piece(part, i == 0, i == count - 1) for i, part in enumerate(parts)]


def _fits(size: GemmSize, shape: EngineShape) -> bool:
    """Whether a streamed tile fits its buffer, and the fewest stationary ones theirs."""
    group = 1 if size.as_operand is None else shape.group_tiles
    return size.words(False) <= shape.words(False) and group * size.words(True) <= shape.words(True)


def _piece(part: Gemm, is_first: bool, is_last: bool) -> Gemm:
    """Leave to the last part how C is stored, to the first one bias and residual."""
    if not is_last:
        part = replace(part, bf16=False, as_operand=None)
    if is_first:
        return part
    if isinstance(part, LayerGemm):
        return replace(part, bias=None, residual=None, residual_source=None)
    return replace(part, steps=_later(part.steps), residual_source=None)


def _later(steps: tuple[str, ...]) -> tuple[str, ...]:
    return (*(step for step in steps if step in ("row_scale", "col_scale")), "residual")
