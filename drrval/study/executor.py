"""Running scans, one after another or in worker processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_all(
    function: Callable[[Item], Result], items: list[Item], jobs: int, on_death: Callable[[Item], Result]
) -> Iterator[tuple[Item, Result]]:
    """Apply a function to all items; yields (item, result) as they finish.

    Args:
        function: what to do; must not raise, and must be picklable when ``jobs`` > 1.
        items: what to do it to.
        jobs: worker processes; 1 runs in this process.
        on_death: the result of an item whose worker was killed (out of memory, a crash in native code).
    """
    if jobs == 1:
        for item in items:
            yield item, function(item)
        return
    unfinished = list(items)
    with _pool(jobs) as pool:
        futures = {pool.submit(function, item): item for item in items}
        try:
            for future in as_completed(futures):
                if isinstance(future.exception(), BrokenProcessPool):
                    continue
                unfinished.remove(futures[future])
                yield futures[future], future.result()
        except BaseException:  # an interrupt waits for the items under way, not for those that have not begun
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    # A dead worker takes the whole pool with it, so what is left runs one by one, each in a pool of its own.
    for item in unfinished:
        with _pool(1) as pool:
            alone: Future[Result] = pool.submit(function, item)
            died = isinstance(alone.exception(), BrokenProcessPool)
            yield item, on_death(item) if died else alone.result()


def _pool(jobs: int) -> ProcessPoolExecutor:
    threads = max(1, (os.cpu_count() or 1) // jobs)
    # Spawn, not fork: threads of the numerical libraries do not survive a fork.
    return ProcessPoolExecutor(
        jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=(threads,)
    )


def _start_worker(threads: int) -> None:
    _limit_openmp(threads)  # before Numba loads it

    import numba
    import SimpleITK as sitk

    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the parent decides
    numba.set_num_threads(min(threads, numba.get_num_threads()))
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def _limit_openmp(threads: int) -> None:
    """Give the threads of Numba and PyTorch their share of the cores, without importing PyTorch.

    Both use OpenMP, which takes its number of threads from the first that loads it: from ``NUMBA_NUM_THREADS`` where
    that is Numba, else from ``OMP_NUM_THREADS``. A smaller number that the user stated stays. Numba allows no other
    number once it runs.
    """
    for name in ("OMP_NUM_THREADS",) if "numba" in sys.modules else ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        stated = os.environ.get(name, "")
        share = min(threads, int(stated)) if stated.isdigit() and int(stated) > 0 else threads
        os.environ[name] = str(share)
    if "torch" in sys.modules:  # a script that imports PyTorch and then runs a study
        sys.modules["torch"].set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
