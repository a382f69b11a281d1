"""Where the measurements of a search run: also in this process."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import Any

from mixdit_sim.executors import dask_cluster, local_processes
from mixdit_sw.errors import MixditError


@contextmanager
def workers(count: int, address: str | None = None) -> Iterator[Executor]:
    """Give an executor; at the end, or when interrupted, its work is stopped.

    Parameters
    ----------
    count : int
        Processes on this machine; 0 runs everything in this one.
    address : str, optional
        Of a Dask scheduler, instead of processes. Its workers must have mixdit installed.

    Raises
    ------
    MixditError
        When `count` is negative, the scheduler cannot be reached or has no workers, or a process
        died.
    """
    if count < 0:
        raise MixditError(f"Workers must be at least 0, not {count}")
    if address is not None:
        with dask_cluster(address) as executor:
            yield executor
    elif count == 0:
        yield Inline()
    else:
        with local_processes(count, _one_thread) as executor:
            yield executor


class Inline(Executor):
    """Runs what is submitted at once."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a function; what it raises is raised by the future."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
