"""Where measurements run: in this process, in processes of this machine, or on a Dask cluster."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from mixdit_sw.errors import MixditError

CONNECT_SECONDS = 10


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
        with _dask(address) as executor:
            yield executor
    elif count == 0:
        yield Inline()
    else:
        with _local(count) as executor:
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


@contextmanager
def _local(count: int) -> Iterator[Executor]:
    # Forked children would inherit torch's threads in whatever state they are.
    context = multiprocessing.get_context("spawn")
    before = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(count, mp_context=context, initializer=_begin)
    try:
        yield executor
    except BrokenProcessPool:
        raise MixditError("A worker process died: is there enough memory for so many?") from None
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()


def _begin() -> None:
    """Prepare a process: it leaves Ctrl-C to its parent, and takes one thread."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


@contextmanager
def _dask(address: str) -> Iterator[Executor]:
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        reason = " ".join(str(error).split()) or "no answer"
        raise MixditError(f"Cannot reach a Dask scheduler at {address}: {reason}") from None
    with client:
        if not client.nthreads():
            raise MixditError(f"The Dask scheduler at {address} has no workers")
        yield client.get_executor()
