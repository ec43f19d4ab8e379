"""Runs tasks over a few associations and says how each request ended; knows no series and gives no verdict.

    pool = Pool(start, explain, traffic, silence_timeout_s)
    pool.add(tasks)
    while pool.working or pool.waiting: start what is `due`; handle what `step` returns; `rest`

`step` returns frozen values: `Ended`, `CutOff`, `NotAdmitted`. `decide` and `health` say what they mean.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from pacsifier.dcmtk.movescu import Move
from pacsifier.dcmtk.process import Process
from pacsifier.dcmtk.transcript import MoveState
from pacsifier.errors import AssociationError
from pacsifier.transfer.fetch.work import Task
from pacsifier.transfer.model import Chunk, Part
from pacsifier.transfer.retry import is_clean

log = logging.getLogger(__name__)

_POLL_S = 0.01
_IDLE_S = 0.05
# What a request brought waits so long at most for the end of its association, and for the start of the next.
_RELEASE_S = 0.1


@dataclass(frozen=True)
class Ended:
    """A request was answered by a final status; it began at `since` (monotonic clock, seconds)."""

    task: Task
    end: MoveState
    since: float

    @property
    def part(self) -> Part:
        """The request and the series it was to bring."""
        return self.task.chunk.parts[self.end.request]


@dataclass(frozen=True)
class CutOff:
    """An association ended before these requests were answered; `silent`: since we ended it for its silence."""

    task: Task
    ends: tuple[MoveState, ...]
    since: float
    silent: bool

    @property
    def parts(self) -> tuple[Part, ...]:
        """The requests that were not answered; all but the first were never begun."""
        return tuple(self.task.chunk.parts[end.request] for end in self.ends)


@dataclass(frozen=True)
class NotAdmitted:
    """There was no association for a task; `beside`: how many others there were at that moment."""

    task: Task
    error: AssociationError
    rejected: bool
    beside: int


Event = Ended | CutOff | NotAdmitted


class _Traffic(Protocol):
    def may_start(self, running: int) -> bool: ...

    def answered(self, running: int) -> None: ...


@dataclass
class _Running:
    task: Task
    move: Move
    since: float
    silent: bool = False


class Pool:
    """The tasks that wait and the associations that run. Starts processes: main thread.

    `start` begins a chunk, `explain` says why a process got no association; `hold_last`: the good end of the last
    request of an association may wait a moment, so that the next association begins before what came is placed.
    """

    def __init__(
        self,
        start: Callable[[Chunk], Move],
        explain: Callable[[Process], AssociationError],
        traffic: _Traffic,
        silence_timeout_s: float,
        *,
        hold_last: bool,
    ) -> None:
        self._start = start
        self._explain = explain
        self._traffic = traffic
        self._silence_timeout_s = silence_timeout_s
        self._hold_last = hold_last
        self._waiting: deque[tuple[Task, float]] = deque()
        self._running: list[_Running] = []
        self._held: deque[tuple[_Running, MoveState, float]] = deque()
        self._served = False
        self._moved_on = False
        self.admitted = False

    @property
    def working(self) -> bool:
        """Whether something runs, or an end is still held."""
        return bool(self._running or self._held)

    @property
    def waiting(self) -> bool:
        """Whether tasks wait to be started."""
        return bool(self._waiting)

    def add(self, tasks: Iterable[Task]) -> None:
        """Takes tasks: each goes to the end, or before all others where it says so, after its own wait."""
        for task in tasks:
            entry = (task, time.monotonic() + task.wait_s)
            if task.first:
                self._waiting.appendleft(entry)
            else:
                self._waiting.append(entry)

    def due(self) -> Task | None:
        """Hands out the first task whose time has come, where one more association may be opened."""
        if not self._waiting or not self._traffic.may_start(len(self._running)):
            return None
        now = time.monotonic()
        entry = next((each for each in self._waiting if each[1] <= now), None)
        if entry is None:
            return None
        self._waiting.remove(entry)
        return entry[0]

    def start(self, task: Task) -> None:
        """Opens an association for a task."""
        self._running.append(_Running(task, self._start(task.chunk), time.monotonic()))

    def step(self, *, heard: bool) -> list[Event]:
        """What has happened since the last step; `heard`: objects have come, so that no association is silent."""
        events: list[Event] = list(self._released())
        before = len(self._running)
        for running in list(self._running):
            if heard:
                running.move.heard = time.monotonic()
            self._check_silence(running)
            events += self._hear(running)
        self._moved_on = len(self._running) != before
        return events

    def rest(self) -> None:
        """Sleeps a moment, unless the last step has ended an association: the next one can begin."""
        if not self._moved_on:
            time.sleep(_POLL_S if self._running else _IDLE_S)

    def end(self) -> None:
        """Ends what runs, without waiting for answers; `step` tells of it."""
        for running in self._running:
            running.move.process.end()

    def close(self) -> None:
        """Ends what runs and forgets what waits."""
        for running in self._running:
            running.move.close()
        self._running.clear()
        self._waiting.clear()

    def _hear(self, running: _Running) -> Iterable[Event]:
        """Takes what a movescu or getscu has to say since the last step."""
        move = running.move
        ends = move.poll()
        self.admitted |= move.admitted
        if move.associated and all(each.move.associated for each in self._running):
            self._traffic.answered(len(self._running))
        for end in ends:
            if self._can_wait(running, end):
                self._held.append((running, end, time.monotonic()))
            elif end.status is not None:
                yield self._ended(running, end)
        if not move.ended:
            return
        self._running.remove(running)
        unanswered = tuple(end for end in ends if end.status is None)
        if not move.admitted:
            error = self._explain(move.process)
            yield NotAdmitted(running.task, error, move.rejected, len(self._running))
        elif unanswered:
            yield CutOff(running.task, unanswered, running.since, running.silent)
        move.close()

    def _can_wait(self, running: _Running, end: MoveState) -> bool:
        """Whether nothing that follows depends on this end: good, the last of its association, and not the first."""
        last = end.request == len(running.task.chunk.parts) - 1
        return self._hold_last and last and is_clean(end) and self._served

    def _released(self) -> Iterable[Ended]:
        """The ends that have waited long enough, or whose association is over."""
        for _ in range(len(self._held)):
            running, end, since = self._held.popleft()
            if running.move.ended or time.monotonic() - since > _RELEASE_S:
                yield self._ended(running, end)
            else:
                self._held.append((running, end, since))

    def _ended(self, running: _Running, end: MoveState) -> Ended:
        self._served = True
        since, running.since = running.since, time.monotonic()
        return Ended(running.task, end, since)

    def _check_silence(self, running: _Running) -> None:
        if not running.move.ended and time.monotonic() - running.move.heard > self._silence_timeout_s:
            log.warning("%s: the association is ended", silence_words(self._silence_timeout_s))
            running.silent = True
            running.move.process.end()


def silence_words(silence_timeout_s: float) -> str:
    """How a silence that was too long is told."""
    return f"no response and no object for {silence_timeout_s:g} s (--silence_timeout)"
