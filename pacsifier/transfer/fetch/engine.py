"""Runs chunks of C-MOVE or C-GET requests over a few associations while what they bring is placed."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pacsifier.dcmtk.movescu import Move
from pacsifier.dcmtk.pacs import Pacs
from pacsifier.dcmtk.storescp import Receiver
from pacsifier.dcmtk.transcript import MoveState
from pacsifier.transfer.fetch.arrivals import Arrivals
from pacsifier.transfer.fetch.traffic import Traffic
from pacsifier.transfer.fetch.verdict import (
    is_clean,
    is_complete,
    left_behind,
    refused_for_good,
    took_only_some,
)
from pacsifier.transfer.fetch.work import beginning, one_chunk, simpler, study_by_study
from pacsifier.transfer.model import Chunk, Part
from pacsifier.transfer.record.journal import Journal
from pacsifier.transfer.retry import is_temporary

if TYPE_CHECKING:
    from pacsifier.transfer.retrieve import Retrieval


log = logging.getLogger(__name__)

_POLL_S = 0.01
_IDLE_S = 0.05
_FIRST_INSTANCES = 100
# What a request brought waits so long at most for the end of its association, and for the start of the next.
_RELEASE_S = 0.1


@dataclass(frozen=True)
class _Task:
    """A chunk that is to be asked for, not before a moment, after so many repeats."""

    chunk: Chunk
    repeats: int = 0
    not_before: float = 0.0


@dataclass
class _Running:
    task: _Task
    move: Move
    since: float = field(default_factory=time.monotonic)
    silent: bool = False


class Engine:
    """Runs the chunks of a batch over a few associations, and places what arrives. Starts processes: main thread."""

    def __init__(
        self,
        retrieval: Retrieval,
        pacs: Pacs,
        traffic: Traffic,
        journal: Journal,
        receiving: tuple[Receiver | None, Arrivals] | None = None,
    ) -> None:
        self._retrieval = retrieval
        self._pacs = pacs
        self._traffic = traffic
        self._journal = journal
        self._receiver = receiving[0] if receiving else None
        self._arrivals = receiving[1] if receiving else None
        # What comes without a receiver comes by C-GET.
        self._gets = receiving is not None and self._receiver is None
        self._running: list[_Running] = []
        self._tasks: deque[_Task] = deque()
        # Good ends of the last requests of associations: the next association comes first, then the placing.
        self._ends: deque[tuple[_Running, MoveState, float]] = deque()
        self._served = False

    def run(self, work: Sequence[Chunk]) -> None:
        """Works until every chunk has ended, or the run is stopped.

        Raises:
            AssociationError: the PACS never admitted an association.
        """
        self._tasks.extend(_Task(chunk) for chunk in work)
        try:
            while self._running or self._ends or (self._tasks and not self._retrieval.stopped):
                self._retrieval.check_place()
                while task := self._next_task():
                    self._running.append(_Running(task, self._start(task.chunk)))
                self._step()
        finally:
            for running in self._running:
                running.move.close()
            self._running.clear()
            self._tasks.clear()

    def _start(self, chunk: Chunk) -> Move:
        if not self._gets or self._arrivals is None:
            return self._pacs.move(chunk.requests, self._retrieval.destination)
        ((request, states),) = chunk.parts
        return self._pacs.get(request, self._arrivals.folder, self._retrieval.syntaxes.of(states))

    def _next_task(self) -> _Task | None:
        """Takes the first task whose time has come, in requests that the PACS is known to take."""
        if not self._tasks or self._retrieval.stopped or not self._traffic.may_start(len(self._running)):
            return None
        now = time.monotonic()
        task = next((each for each in self._tasks if each.not_before <= now), None)
        if task is None:
            return None
        self._tasks.remove(task)
        task = replace(task, chunk=self._understood(task.chunk))
        first, others = beginning(task.chunk, self._most_at_once(task.chunk))
        if others:
            self._tasks.appendleft(replace(task, chunk=one_chunk(others)))
        return replace(task, chunk=first)

    def _understood(self, chunk: Chunk) -> Chunk:
        """The same work without the lists that the PACS is known not to take."""
        can = self._retrieval.capabilities
        parts = chunk.parts
        if not (can.study_lists and can.uid_lists):
            parts = tuple(single for part in parts for single in study_by_study(part))
        if not can.uid_lists:
            parts = tuple(single for part in parts for single in _one_by_one(part) or [part])
        return chunk if parts == chunk.parts else one_chunk(parts)

    def _most_at_once(self, chunk: Chunk) -> int:
        """Instances to ask for; until something has come, a little shows whether the PACS reaches the destination."""
        if self._gets:
            return 1
        if self._retrieval.reached():
            return chunk.size
        # Whether it understands lists of UIDs is learned from one.
        listed = any(
            len(request.series_uids) > 1 or len(request.study_uids) > 1 or request.instance_uids
            for request in chunk.requests
        )
        return 1 if listed else _FIRST_INSTANCES

    def _step(self) -> None:
        self._take_ends()
        before = len(self._running)
        fresh = self._arrivals.scan() if self._arrivals else 0
        for running in list(self._running):
            if fresh:
                running.move.heard = time.monotonic()
            self._check_silence(running)
            self._hear(running)
        if self._receiver is not None:
            self._receiver.check()
        if self._retrieval.stopped:
            for running in self._running:
                running.move.process.end()
        self._retrieval.report_progress()
        self._journal.tick()
        if len(self._running) == before:
            time.sleep(_POLL_S if self._running else _IDLE_S)

    def _hear(self, running: _Running) -> None:
        """Takes what a movescu or getscu has to say since the last step."""
        ends = running.move.poll()
        self._retrieval.associated |= running.move.admitted
        if running.move.associated and all(each.move.associated for each in self._running):
            self._traffic.answered(len(self._running))
        for end in ends:
            if self._can_wait(running, end):
                self._ends.append((running, end, time.monotonic()))
            elif end.status is not None:
                self._request_ended(running, end)
        if not running.move.ended:
            return
        self._running.remove(running)
        unanswered = [end for end in ends if end.status is None]
        if not running.move.admitted:
            self._not_admitted(running)
        elif unanswered:
            self._cut_off(running, unanswered)
        running.move.close()

    # -- what an end means

    def _can_wait(self, running: _Running, end: MoveState) -> bool:
        """Whether nothing that follows depends on this end: it is good, and not the first; with a rate all wait."""
        last = end.request == len(running.task.chunk.parts) - 1
        return (
            last and is_clean(end) and self._served and not self._gets and not self._traffic.one_request_each
        )

    def _take_ends(self) -> None:
        for _ in range(len(self._ends)):
            running, end, since = self._ends.popleft()
            if running.move.ended or time.monotonic() - since > _RELEASE_S:
                self._request_ended(running, end)
            else:
                self._ends.append((running, end, since))

    def _request_ended(self, running: _Running, end: MoveState) -> None:
        self._served = True
        self._retrieval.check_place(now=True)
        part = running.task.chunk.parts[end.request]
        _, states = part
        came, size = self._place(part)
        self._traffic.brought(max(came, end.completed or 0), size, running.since)
        if self._gets and (others := self._retrieval.syntaxes.others(part, end, came)):
            self._other_syntaxes(running, end, others)
            return
        again = self._again(running.task, part, end, came)
        if again:
            self._retrieval.request_failed(states, end)
            self._tasks.extend(again)
        else:
            now = time.monotonic()
            self._retrieval.request_ended(states, end, now - running.since)
        running.since = time.monotonic()

    def _other_syntaxes(self, running: _Running, end: MoveState, others: Sequence[Part]) -> None:
        """Asks next for the series that the PACS could not send in the syntax proposed; the others are settled."""
        open_states = [state for _, states in others for state in states]
        self._retrieval.request_failed(open_states, end, counts=False)
        _, states = running.task.chunk.parts[end.request]
        if done := [state for state in states if state not in open_states]:
            self._retrieval.request_ended(done, end, time.monotonic() - running.since)
        self._tasks.extendleft(_Task(one_chunk([each])) for each in others)

    def _again(self, task: _Task, part: Part, end: MoveState, came: int) -> list[_Task]:
        """The tasks that take the place of a request that failed for now, or that the PACS did not understand."""
        _, states = part
        if is_temporary(end) and not all(is_complete(state) for state in states):
            wait_s = self._traffic.retry.wait_s(task.repeats)
            if wait_s is None:
                return []
            log.warning("%s was temporarily refused: asking again in %.1f s", self._retrieval.verb, wait_s)
            return [_Task(one_chunk(_open_studies(part)), task.repeats + 1, time.monotonic() + wait_s)]
        if self._arrivals is None:
            return []
        misunderstood = refused_for_good(end) or took_only_some(part, end, came)
        left = {state.series.key for state in left_behind(part)}
        parts = [each for each in simpler(part) if any(state.series.key in left for state in each[1])]
        if misunderstood and parts:
            self._retrieval.learn(part)
        return [_Task(one_chunk([each])) for each in parts] if misunderstood else []

    def _not_admitted(self, running: _Running) -> None:
        """There was no association: the chunk waits, unless there never was one, or too many tries were in vain."""
        # On a full disk its log could not be written: nothing is known of the association.
        self._retrieval.check_place(now=True)
        if self._retrieval.stopped:
            return
        error = self._pacs.no_association(running.move.process)
        if self._running and running.move.rejected:
            self._traffic.rejected(len(self._running))
        elif not self._retrieval.associated and not error.temporary:
            running.move.close()
            raise error
        elif not self._traffic.lost():
            if not self._retrieval.associated:
                running.move.close()
                raise error
            self._retrieval.stop(str(error))
        self._tasks.appendleft(running.task)

    def _cut_off(self, running: _Running, unanswered: Sequence[MoveState]) -> None:
        """The association ended before its last requests were answered; all but the first were never begun."""
        parts = [running.task.chunk.parts[end.request] for end in unanswered]
        for part in parts:
            self._place(part)
        task = running.task
        wait_s = None if running.silent else self._traffic.retry.wait_s(task.repeats)
        _, states = parts[0]
        if wait_s is None or self._retrieval.stopped:
            end = replace(unanswered[0], words=self._retrieval.silence) if running.silent else unanswered[0]
            self._retrieval.request_ended(
                states, end, time.monotonic() - running.since, silent=running.silent
            )
        else:
            self._retrieval.request_failed(states, unanswered[0])
            log.warning("the association was cut off: going on in %.1f s", wait_s)
            open_parts = _open_studies(parts[0])
            self._tasks.append(_Task(one_chunk(open_parts), task.repeats + 1, time.monotonic() + wait_s))
        if len(parts) > 1:
            self._tasks.appendleft(
                _Task(one_chunk(parts[1:]), task.repeats, time.monotonic() + (wait_s or 0))
            )

    def _place(self, part: Part) -> tuple[int, int]:
        """Places what has arrived for a request; the instances and bytes that are new."""
        if self._arrivals is None:
            return 0, 0
        _, states = part
        before = _amount(part)
        self._arrivals.scan()
        for state in states:
            self._retrieval.place(state, self._arrivals)
        after = _amount(part)
        return after[0] - before[0], after[1] - before[1]

    def _check_silence(self, running: _Running) -> None:
        limit = self._retrieval.options.timeouts.silence_timeout_s
        if not running.move.ended and time.monotonic() - running.move.heard > limit:
            log.warning("%s: the association is ended", self._retrieval.silence)
            running.silent = True
            running.move.process.end()


def _one_by_one(part: Part) -> list[Part]:
    """A request with a list of series as one request a series."""
    request, _ = part
    return simpler(part) if len(request.series_uids) > 1 else []


def _open_studies(part: Part) -> list[Part]:
    """A request for several studies as one for each that is not complete; it may be one of them that fails."""
    studies = study_by_study(part)
    return [each for each in studies if not all(is_complete(state) for state in each[1])] or [part]


def _amount(part: Part) -> tuple[int, int]:
    _, states = part
    sizes: Iterable[int] = [size for state in states for size in state.found.values()]
    return sum(len(state.found) for state in states), sum(sizes)
