"""Where measurements run: in processes here, or on a Dask cluster."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process, resource_tracker
from typing import Any

from mixdit_hw.tools import require_package
from mixdit_sw.errors import MixditError

CONNECT_SECONDS = 10


class LocalExecutor(Executor):
    """Runs calls in so many processes, each in a slot of its own.

    A process that dies (of too little memory, say) takes only its own call with it.

    Parameters
    ----------
    jobs : int
        Processes.
    begin : callable, optional
        Prepares each of them.
    """

    def __init__(self, jobs: int, begin: Callable[[], None] | None = None) -> None:
        self._begin = begin
        self._threads = ThreadPoolExecutor(jobs)
        self._slot = threading.local()
        self._pools: list[ProcessPoolExecutor] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future:
        """Run a call in the next free process."""
        return self._threads.submit(self._run, fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Forget calls that have not begun, if asked to, and end the processes."""
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)
        for pool in self._pools:
            pool.shutdown(wait=wait)

    def _run(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        pool = getattr(self._slot, "pool", None)
        if pool is None:
            # A process begins with this thread's mask: it hears of Ctrl-C in `_begin`, not before.
            # The tracker comes first, since beginning it unblocks the signal.
            resource_tracker.ensure_running()
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            # Not forked: threads of this process (progress, torch) would be left behind half done.
            pool = ProcessPoolExecutor(1, get_context("spawn"), _begin, (self._begin,))
            self._slot.pool = pool
            self._pools.append(pool)
        try:
            return pool.submit(fn, *args, **kwargs).result()
        except BrokenProcessPool:
            self._slot.pool = None
            raise MixditError(
                "The process that measured it ended: is there enough memory for so many?"
            ) from None


def _begin(begin: Callable[[], None] | None) -> None:
    """Let this process end with its parent, and without a traceback on a terminal's Ctrl-C.

    It ignores Ctrl-C if its parent does, as what a shell has put into the background.
    """
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if begin is not None:
        begin()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def local_processes(
    jobs: int | None = None, begin: Callable[[], None] | None = None
) -> Iterator[Executor]:
    """Run calls in processes on this machine, as many as it has cores unless told otherwise.

    `begin` prepares each process. When interrupted, the calls that run are ended.

    Raises
    ------
    MixditError
        When `jobs` is not positive.
    """
    if jobs is not None and jobs < 1:
        raise MixditError(f"Jobs must be a positive number, not {jobs}")
    executor = LocalExecutor(jobs or os.cpu_count() or 1, begin)
    before = set(active_children())
    try:
        yield executor
    except BaseException:
        for child in set(active_children()) - before:
            child.terminate()
        raise
    finally:
        executor.shutdown(cancel_futures=True)


@contextmanager
def dask_cluster(address: str) -> Iterator[Executor]:
    """Run calls on the workers of a Dask scheduler, such as "tcp://host:8786".

    Raises
    ------
    MixditError
        When Dask is not installed, or nothing answers, or there are no workers.
    """
    require_package("distributed")
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:  # TimeoutError is an OSError
        raise MixditError(f"No Dask scheduler answers at {address} ({error})") from error
    with client:
        if not client.nthreads():
            raise MixditError(f"The Dask scheduler at {address} has no workers")
        executor = client.get_executor(pure=False)
        try:
            yield executor
        finally:
            executor.shutdown(wait=False)
