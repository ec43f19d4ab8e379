"""Runs chunks of C-MOVE requests over a few associations while what they bring is placed."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pacsifier.dcmtk.pacs import Move, Pacs
from pacsifier.dcmtk.receiver import Receiver
from pacsifier.dcmtk.transcript import MoveState
from pacsifier.transfer.arrivals import Arrivals
from pacsifier.transfer.journal import Journal
from pacsifier.transfer.pace import Chunk

if TYPE_CHECKING:
    from pacsifier.transfer.retrieve import Retrieval

log = logging.getLogger(__name__)

_POLL_S = 0.01


@dataclass
class _Running:
    chunk: Chunk
    move: Move
    since: float


class Engine:
    """Runs the chunks of a batch over a few associations, and places what arrives. Starts processes: main thread."""

    def __init__(
        self,
        retrieval: Retrieval,
        pacs: Pacs,
        journal: Journal,
        arrivals: Arrivals | None,
        receiver: Receiver | None,
    ) -> None:
        self._retrieval = retrieval
        self._pacs = pacs
        self._journal = journal
        self._arrivals = arrivals
        self._receiver = receiver
        self._running: list[_Running] = []

    def run(self, work: Sequence[Chunk]) -> None:
        """Works until every chunk has ended.

        Raises:
            AssociationError: the PACS never admitted an association.
        """
        queue = deque(work)
        try:
            while (queue and not self._retrieval.stopped) or self._running:
                while (
                    queue
                    and len(self._running) < self._retrieval.options.associations
                    and not self._retrieval.stopped
                ):
                    chunk = queue.popleft()
                    move = self._pacs.move(chunk.requests, self._retrieval.destination)
                    self._running.append(_Running(chunk, move, time.monotonic()))
                self._step()
        finally:
            for running in self._running:
                running.move.close()
            self._running.clear()

    def _may_start(self, queue: deque[Chunk]) -> bool:
        free = len(self._running) < self._retrieval.options.associations
        return bool(queue) and free and not self._retrieval.stopped

    def _step(self) -> None:
        fresh = self._arrivals.scan() if self._arrivals else 0
        for running in list(self._running):
            for end in running.move.poll():
                self._request_ended(running, end)
            if fresh:
                running.move.heard = time.monotonic()
            self._check_silence(running)
            if running.move.ended:
                self._chunk_ended(running)
        if self._receiver is not None:
            self._receiver.check()
        self._retrieval.report_progress()
        self._journal.tick()
        time.sleep(_POLL_S)

    def _request_ended(self, running: _Running, end: MoveState) -> None:
        _, states = running.chunk.parts[end.request]
        if self._arrivals is not None:
            self._arrivals.scan()
            for state in states:
                self._retrieval.place(state, self._arrivals)
        now = time.monotonic()
        self._retrieval.request_ended(states, end, now - running.since)
        running.since = now

    def _chunk_ended(self, running: _Running) -> None:
        self._running.remove(running)
        if running.move.associated:
            self._retrieval.associated = True
        elif not self._retrieval.associated:
            raise self._pacs.no_association(running.move.process)
        running.move.close()

    def _check_silence(self, running: _Running) -> None:
        limit = self._retrieval.options.silence_timeout_s
        if not running.move.ended and time.monotonic() - running.move.heard > limit:
            log.warning("no response and no object for %g s: the association is ended", limit)
            running.move.process.end()
