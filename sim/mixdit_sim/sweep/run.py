"""Runs a sweep: measures the points that have no result yet, keeps each as soon as it is there."""

import json
import traceback
from collections.abc import Callable
from concurrent.futures import Executor, Future, as_completed
from pathlib import Path

from mixdit_sim.sweep.plan import Candidate, Sweep
from mixdit_sim.sweep.point import Figures, Point, measure, own_sources
from mixdit_sim.sweep.results import PointResult, SweepResult, labels
from mixdit_sw.errors import MixditError
from mixdit_sw.files import check_writable, write_atomically

RESULT, PICTURE = "sweep.json", "sweep.png"

Progress = Callable[[int, int, str], None]
"""Told how many points are finished, of how many, and the last one."""


def run_sweep(
    sweep: Sweep,
    out: Path,
    executor: Executor,
    progress: Progress | None = None,
    measure_point: Callable[[Point], Figures] = measure,
) -> SweepResult:
    """Measure all points of a sweep.

    A point that failed is noted with its reason, and tried again by the next run; one that has a
    result in the folder is not measured again.

    Parameters
    ----------
    sweep : Sweep
        The points.
    out : Path
        Folder of the results: one file a point, and all of them in "sweep.json".
    executor : Executor
        Measures points.
    progress : callable, optional
        Told of every point that is finished.
    measure_point : callable
        Measures one.

    Raises
    ------
    MixditError
        When a result cannot be written.
    """
    candidates = sweep.candidates()
    names = labels(candidates)
    check_writable(out / RESULT)
    points = {
        i: Point(machine=x.machine, settings=sweep.settings, sources=own_sources())
        for i, x in enumerate(candidates)
        if x.machine is not None
    }
    figures: dict[int, Figures] = {}
    failures: dict[int, str] = {}

    def tell(number: int, what: str) -> None:
        if progress:
            progress(len(figures) + len(failures), len(points), f"{names[number]}: {what}")

    if progress:
        progress(0, len(points), "measuring")
    for i, point in points.items():
        kept = _read(_file(out, point))
        if kept is not None:
            figures[i] = kept
            tell(i, "there already")
    waiting: dict[Future[Figures], int] = {
        executor.submit(measure_point, point): i for i, point in points.items() if i not in figures
    }
    for future in as_completed(waiting):
        i = waiting[future]
        try:
            figures[i] = future.result()
        except Exception as error:  # whatever it is, the other points go on
            failures[i] = _reason(error, _file(out, points[i]).with_suffix(".traceback"))
            tell(i, f"failed: {failures[i]}")
            continue
        _write(_file(out, points[i]), figures[i])
        tell(i, "measured")
    results = [
        _result(x, names[i], figures.get(i), failures.get(i)) for i, x in enumerate(candidates)
    ]
    whole = SweepResult(settings=sweep.settings, points=results)
    text = json.dumps(whole.to_dict(), indent=2) + "\n"
    write_atomically(out / RESULT, lambda partial: partial.write_text(text))
    return whole


def _result(
    candidate: Candidate, name: str, figures: Figures | None, failure: str | None
) -> PointResult:
    machine = candidate.machine
    return PointResult(
        name=name,
        parameters=None if machine is None else machine.to_dict(),
        figures=figures,
        refused=candidate.refusal,
        failed=failure,
    )


def _file(out: Path, point: Point) -> Path:
    return out / "points" / f"{point.key}.json"


def _read(file: Path) -> Figures | None:
    """Return a point's figures; None when there are none, or the file is damaged."""
    try:
        return Figures(**json.loads(file.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        return None
    except OSError as error:
        raise MixditError(f"Cannot read {file}: {error.strerror}") from error


def _write(file: Path, figures: Figures) -> None:
    text = json.dumps(figures.to_dict(), indent=2) + "\n"
    write_atomically(file, lambda partial: partial.write_text(text))


def _reason(error: Exception, file: Path) -> str:
    """Return one line; what a defect leaves behind goes to a file."""
    text = " ".join(str(error).split())
    if isinstance(error, MixditError):
        return text
    lines = "".join(traceback.format_exception(error))
    write_atomically(file, lambda partial: partial.write_text(lines))
    return f"{type(error).__name__}: {text} ({file})"
