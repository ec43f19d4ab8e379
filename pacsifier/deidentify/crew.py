"""Work shared among processes; nothing of it outlives the run, whatever ends the run.

Tasks are not sent: a process that is forked has them all. Its workers take numbers of tasks from one pipe, which needs
no lock that a killed one would hold for ever; outcomes come back through a pipe of each worker's own.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing
import os
import pickle
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from pacsifier.errors import PacsifierError

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")

_PR_SET_PDEATHSIG = 1
_AHEAD = 3  # numbers of tasks that wait for each worker, so that it never waits for us
_NUMBER_BYTES = 4


class InWorkerError(Exception):
    """The cause of an error that a worker raised: its traceback there, as text."""


def available_cpus() -> int:
    """The CPUs that this job may use."""
    return len(os.sched_getaffinity(0))


def shared(
    make_worker: Callable[[], Callable[[Task], Outcome]], tasks: Sequence[Task], workers: int
) -> Iterator[Outcome]:
    """Yields the outcome of each task, in any order; each process makes one worker and calls it for each of its tasks.

    A worker that has a `close` is closed after its last task, or an error. With one worker or one task all is done
    here. Raises what a worker raises, and PacsifierError when a process is killed.
    """
    workers = min(workers, len(tasks))
    if workers <= 1:
        with _closed_at_the_end(make_worker()) as work:
            yield from map(work, tasks)
        return
    with _crew(make_worker, tasks, workers) as (numbers, ends):
        waiting = iter(range(len(tasks)))
        for _ in range(workers * _AHEAD):
            _offer_next(waiting, numbers)
        for _ in tasks:
            outcome = _heard(ends)
            _offer_next(waiting, numbers)
            yield outcome


@contextlib.contextmanager
def _closed_at_the_end(worker: Callable[[Task], Outcome]) -> Iterator[Callable[[Task], Outcome]]:
    try:
        yield worker
    finally:
        getattr(worker, "close", lambda: None)()


def _offer_next(waiting: Iterator[int], numbers: int) -> None:
    for number in waiting:
        os.write(numbers, number.to_bytes(_NUMBER_BYTES, "little"))
        return


def _heard(ends: Sequence[Connection]) -> Any:
    """Waits for one worker: the outcome of its task; raises what it raised."""
    ready = wait(ends)
    end = next(each for each in ends if each in ready)
    try:
        outcome, error, trace = end.recv()
    except EOFError:
        raise PacsifierError(
            "a worker process was killed (out of memory?); --resume goes on from here"
        ) from None
    if error is not None:
        raise error from InWorkerError(trace)
    return outcome


@contextlib.contextmanager
def _crew(
    make_worker: Callable[[], Callable[[Task], Outcome]], tasks: Sequence[Task], workers: int
) -> Iterator[tuple[int, list[Connection]]]:
    """Running workers: the pipe into which numbers of tasks are written, and the ends that outcomes come from.

    At the end what no worker has taken is dropped, and what was begun is finished.
    """
    context = multiprocessing.get_context("fork")
    taking, numbers = os.pipe()
    processes, ends = [], []
    try:
        for _ in range(workers):
            end, sending = context.Pipe(duplex=False)
            ends.append(end)
            # For the worker to close: a pipe whose other end it holds itself would never end for it.
            not_its_own = [numbers, *(each.fileno() for each in ends)]
            given = {"parent": os.getpid(), "not_its_own": not_its_own, "taking": taking, "sending": sending}
            process = context.Process(target=_serve, args=(make_worker, tasks), kwargs=given)
            process.start()
            processes.append(process)
            sending.close()
        yield numbers, ends
    finally:
        os.close(numbers)
        while os.read(taking, 1 << 16):
            pass
        os.close(taking)
        for end in ends:
            end.close()
        for process in processes:
            process.join()


def _serve(
    make_worker: Callable[[], Callable[[Task], Outcome]],
    tasks: Sequence[Task],
    *,
    parent: int,
    not_its_own: Sequence[int],
    taking: int,
    sending: Connection,
) -> None:
    """A worker, from its first step to its end."""
    _keep_to_the_run(parent)
    for descriptor in not_its_own:
        os.close(descriptor)
    # Nobody listens any more where the run has ended before its tasks.
    with contextlib.suppress(BrokenPipeError):
        try:
            with _closed_at_the_end(make_worker()) as work:
                while number := os.read(taking, _NUMBER_BYTES):
                    sending.send((work(tasks[int.from_bytes(number, "little")]), None, ""))
        except Exception as error:  # raised again by the run
            sending.send((None, _as_sent(error), traceback.format_exc()))


def _as_sent(error: Exception) -> Exception:
    """The error, or what can be said of it where it would not arrive as it is."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    except Exception:  # whatever its class does
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _keep_to_the_run(parent: int) -> None:
    """A new worker ends with its parent, and leaves signals from the terminal to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    # Little here makes cycles, and looking for them as often as usual costs a tenth.
    gc.freeze()
    gc.set_threshold(50_000)
