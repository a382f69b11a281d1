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

    Raises
    ------
    MixditError
        When something reads what comes after it, or `split_k` refuses it.
    """
    found: list[Step] = []
    origins: list[int] = []
    for number, step in enumerate(steps):
        step = _renumbered(step, number, origins)
        parts: list[Any] = [step]
        if isinstance(step, GemmSize | LayerGemm):
            parts = split_k(step, shape, len(found))
        found += parts
        origins += [number] * len(parts)
    for step in reversed(found):
        _widen_residual(step, found, shape)
    return found, origins


def _widen_residual(step: Any, found: list[Any], shape: EngineShape) -> None:
    """Have the columns computed that a step reads beside its residual's: a group may end there."""
    source = getattr(step, "residual_source", None)
    if source is None:
        return
    needed = _size(step).tiles(shape)[1]
    if _size(found[source]).tiles(shape)[1] < needed:
        found[source] = replace(found[source], col_tiles=needed)


def _size(gemm: GemmSize | LayerGemm) -> GemmSize:
    return gemm if isinstance(gemm, GemmSize) else gemm.size


def _renumbered(step: Step, number: int, origins: list[int]) -> Step:
    """Return a step that names commands where it named steps."""
    commands: dict[str, Any] = {}
    for name in SOURCES:
        source = getattr(step, name, None)
        if source is None:
            continue
        if not 0 <= source < number:
            raise MixditError(f"Command {number} cannot read what command {source} stores")
        commands[name] = last_part(origins, source)
    return replace(step, **commands) if commands else step


def last_part(origins: list[int], number: int) -> int:
    """Return the command that stores the result of step `number`."""
    return len(origins) - 1 - origins[::-1].index(number)


def split_k(gemm: Gemm, shape: EngineShape, first: int = 0) -> list[Gemm]:
    """Return a GEMM in as few parts of K as fit the buffers, about equally long.

    Parameters
    ----------
    gemm : GemmSize or LayerGemm
        The GEMM.
    shape : EngineShape
        The engine.
    first : int
        Number of the first part's command; the others follow it.

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
    return [_link(part, i, i == count - 1, first) for i, part in enumerate(parts)]


def _fits(size: GemmSize, shape: EngineShape) -> bool:
    """Whether a streamed tile fits its buffer, and the fewest stationary ones theirs."""
    group = 1 if size.as_operand is None else shape.group_tiles
    return size.words(False) <= shape.words(False) and group * size.words(True) <= shape.words(True)


def _link(part: Gemm, number: int, is_last: bool, first: int) -> Gemm:
    if not is_last:
        part = replace(part, bf16=False, as_operand=None)
    if number == 0:
        return part
    source = first + number - 1
    if isinstance(part, LayerGemm):
        return replace(part, bias=None, residual=None, residual_source=source)
    return replace(part, steps=_later(part.steps), residual_source=source)


def _later(steps: tuple[str, ...]) -> tuple[str, ...]:
    return (*(step for step in steps if step in ("row_scale", "col_scale")), "residual")
