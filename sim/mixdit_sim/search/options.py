"""A search from the words of a command line."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from mixdit_sim.search.explore import Budget
from mixdit_sim.search.judge import Bounds
from mixdit_sim.search.measure import Task
from mixdit_sim.search.report import REPORT as REPORT
from mixdit_sim.search.run import SearchConfig
from mixdit_sim.search.run import run_search as run_search
from mixdit_sim.search.space import Choices
from mixdit_sw.errors import MixditError
from mixdit_sw.quality.sampling import StudyConfig

T = TypeVar("T")
_KINDS: dict[str, Callable[[str], Any]] = {
    "shares": float,
    "heads": int,
    "weights": str,
    "weight_blocks": int,
}


def search_config(
    *,
    model: str,
    per: str,
    lists: Mapping[str, str],
    budget: Mapping[str, Any],
    bounds: Mapping[str, Any],
    study: Mapping[str, int],
    device: str,
    **rest: Any,
) -> SearchConfig:
    """Return a search.

    Parameters
    ----------
    model, per : str
        As in `Task` and `Choices`.
    lists : mapping
        Values of `Choices`, with commas between them.
    budget, bounds : mapping
        Arguments of `Budget` and `Bounds`.
    study : mapping
        "images", "steps", and "seeds": how many.
    device : str
        "cpu" or "cuda".
    **rest
        Arguments of `SearchConfig`.

    Raises
    ------
    MixditError
        When a value is out of range.
    """
    if study["seeds"] < 1:
        raise MixditError(f"Seeds must be at least 1, not {study['seeds']}")
    samples = StudyConfig(
        seeds=tuple(range(study["seeds"])), images=study["images"], steps=study["steps"]
    )
    values = {name: _values(name, text, _KINDS[name]) for name, text in lists.items()}
    return SearchConfig(
        task=Task(model=model, study=samples, device=device),
        choices=Choices(per=per, **values),
        budget=Budget(**budget),
        bounds=Bounds(**bounds),
        **rest,
    )


def _values(name: str, text: str, kind: Callable[[str], T]) -> tuple[T, ...]:
    try:
        return tuple(kind(word.strip()) for word in text.split(","))
    except ValueError:
        option = name.replace("_", "-")
        raise MixditError(f"--{option} must be numbers with commas, not {text!r}") from None
