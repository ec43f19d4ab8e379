"""Work shared among processes: every task is done, an error is told, and no process stays behind."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pacsifier.deidentify.crew import InWorkerError, shared
from pacsifier.errors import PacsifierError


class Counting:
    """A worker that tells its process, and how many tasks it has done."""

    def __init__(self) -> None:
        self.done = 0

    def __call__(self, task: int) -> tuple[int, int, int]:
        self.done += 1
        return task, os.getpid(), self.done


@pytest.mark.parametrize(
    ("tasks", "workers", "most"), [(0, 3, 0), (1, 3, 1), (2, 3, 2), (500, 1, 1), (500, 3, 3)]
)
def test_every_task_is_done_once_and_each_process_makes_one_worker(tasks, workers, most):
    outcomes = list(shared(Counting, range(tasks), workers))
    assert sorted(task for task, _, _ in outcomes) == list(range(tasks))
    by_process: dict[int, list[int]] = {}
    for _, process, number in outcomes:
        by_process.setdefault(process, []).append(number)
    assert len(by_process) <= most
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in by_process.values())
    assert (os.getpid() in by_process) == (most == 1)


def test_what_a_process_needs_is_not_pickled():
    secret = 40
    assert sorted(shared(lambda: lambda task: task() + secret, [lambda: 1, lambda: 2], 2)) == [41, 42]


def full(task: int) -> int:
    if task == 7:
        raise OSError(errno.ENOSPC, "No space left on device", "a file")
    return task


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_in_a_worker_ends_the_run_as_it_was_raised(workers):
    with pytest.raises(OSError, match="No space left") as raised:
        list(shared(lambda: full, range(20), workers))
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, "a file")
    if workers > 1:
        assert isinstance(raised.value.__cause__, InWorkerError)
        assert "in full" in str(raised.value.__cause__)
    assert multiprocessing.active_children() == []


class OddError(Exception):
    """Takes more than its text, so that it cannot be made again from that."""

    def __init__(self, text: str, number: int) -> None:
        super().__init__(text)
        self.number = number


def odd(_: int) -> int:
    raise OddError("odd", 1)


@pytest.mark.parametrize(
    ("work", "said"), [(odd, "OddError: odd"), (lambda _: lambda: 1, "pickle")], ids=["error", "outcome"]
)
def test_what_cannot_be_sent_is_told_and_does_not_count_as_killed(work, said):
    with pytest.raises(Exception, match=said) as raised:
        list(shared(lambda: work, range(20), 2))
    assert not isinstance(raised.value, PacsifierError)


def no_worker() -> Callable[[int], int]:
    raise ValueError("no worker can be made")


def test_a_worker_that_cannot_be_made_is_told():
    with pytest.raises(ValueError, match="no worker can be made"):
        list(shared(no_worker, range(20), 2))
    assert multiprocessing.active_children() == []


def killed(task: int) -> int:
    if task == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def test_a_worker_that_is_killed_ends_the_run_and_says_how_to_go_on():
    with pytest.raises(PacsifierError, match="--resume goes on from here"):
        list(shared(lambda: killed, range(20), 2))
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("size", [1, 1 << 20], ids=["small outcomes", "outcomes longer than a pipe"])
def test_a_run_that_ends_early_leaves_no_process_and_does_not_wait_for_all(size, tmp_path):
    tasks = range(400)

    def work(task: int) -> bytes:
        (tmp_path / str(task)).touch()
        return bytes(size)

    outcomes = shared(lambda: work, tasks, 3)
    next(outcomes)
    outcomes.close()
    assert multiprocessing.active_children() == []
    assert len(list(tmp_path.iterdir())) < len(tasks)


class Holding:
    """A worker that leaves a mark when it is closed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, task: int) -> int:
        return full(task)

    def close(self) -> None:
        (self.folder / str(os.getpid())).touch()


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("tasks", [3, 8], ids=["all done", "an error"])
def test_what_a_worker_holds_is_given_back_on_every_way_out(tasks, workers, tmp_path):
    with pytest.raises(OSError, match="No space left") if tasks == 8 else contextlib.nullcontext():
        list(shared(lambda: Holding(tmp_path), range(tasks), workers))
    closed = [int(each.name) for each in tmp_path.iterdir()]
    assert len(closed) == workers and (os.getpid() in closed) == (workers == 1)


def ignored_signals(_: int) -> Sequence[bool]:
    signals = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
    return [signal.getsignal(each) is signal.SIG_IGN for each in signals]


def test_workers_leave_signals_from_the_terminal_to_the_run():
    assert list(shared(lambda: ignored_signals, range(2), 2)) == [[True, True, False]] * 2
