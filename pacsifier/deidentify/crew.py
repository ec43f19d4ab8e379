"""Work shared among processes; nothing of it outlives the run, whatever ends the run."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from pacsifier.errors import PacsifierError

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")

_PR_SET_PDEATHSIG = 1
_AHEAD = 3  # tasks a worker that wait for it, so that it never waits for us


def available_cpus() -> int:
    """The CPUs that this job may use."""
    return len(os.sched_getaffinity(0))


def shared(
    work: Callable[[Task], Outcome],
    tasks: Iterable[Task],
    workers: int,
    begin: Callable[..., None],
    *given: object,
) -> Iterator[Outcome]:
    """The outcome of each task, in any order; `begin(*given)` runs first in every process.

    With one worker all is done here. Raises what `work` raises, and PacsifierError when a process is killed.
    """
    if workers == 1:
        begin(*given)
        yield from map(work, tasks)
        return
    context = multiprocessing.get_context("fork")
    executor = ProcessPoolExecutor(workers, context, _begin, (os.getpid(), begin, given))
    try:
        waiting = iter(tasks)
        running: set[Future[Outcome]] = {
            executor.submit(work, task) for task in islice(waiting, workers * _AHEAD)
        }
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                running |= {executor.submit(work, task) for task in islice(waiting, 1)}
                yield future.result()
    except BrokenProcessPool as error:
        raise PacsifierError(
            "a worker process was killed (out of memory?); --resume goes on from here"
        ) from error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _begin(parent: int, begin: Callable[..., None], given: tuple[object, ...]) -> None:
    """In a new worker: it ends with its parent, and leaves signals from the terminal to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    # Little here makes cycles, and looking for them as often as usual costs a tenth.
    gc.freeze()
    gc.set_threshold(50_000)
    begin(*given)
