"""Consoles, and progress on them."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

# Piped output is not cut to the 80 columns that rich assumes; brackets in names are no markup.
OUT = Console(soft_wrap=True, markup=False, width=None if sys.stdout.isatty() else 140)
ERR = Console(stderr=True, soft_wrap=True, markup=False)


@contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """Show that something goes on, and each line that the given function is told."""
    with ERR.status(Text(what)) as status:

        def tell(line: str) -> None:
            if not ERR.is_terminal:
                ERR.print(line, highlight=False)
            status.update(Text(line))

        yield tell


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int, str], None]]:
    """Show how much is done, and each line that the given function is told."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=ERR) as bar:
        task = bar.add_task(what, total=None)

        def tell(done: int, total: int, line: str) -> None:
            bar.console.print(f"{done} of {total}, {line}", highlight=False)
            bar.update(task, completed=done, total=total)

        yield tell
