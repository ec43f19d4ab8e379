"""How many associations there may be and when the next may start: ramp-up, hours, rate, waits after refusals."""

from __future__ import annotations

import logging
import time
from datetime import datetime

from pacsifier.transfer.options import Observer, Options
from pacsifier.transfer.retry import Retry

log = logging.getLogger(__name__)

_POLL_S = 0.2


class Traffic:
    """The politeness of one run towards the PACS; it lives as long as the run, over all batches and rounds."""

    def __init__(self, options: Options, observer: Observer) -> None:
        self._hours = options.hours
        self._rate = options.rate
        self._observer = observer
        self.retry = Retry(options.timeouts.retry_wait_s)
        self._most = min(options.associations, options.capabilities.associations or options.associations)
        self._allowed = 1
        self._ready = 0.0
        self._lost_in_a_row = 0
        self._told_closed = False

    @property
    def most(self) -> int:
        """How many associations there may ever be at a time."""
        return self._most

    def may_start(self, running: int) -> bool:
        """Whether one more association may be opened beside those that run."""
        return running < self._allowed and time.monotonic() >= self._ready and self._is_open()

    def wait_until_open(self) -> None:
        """Returns when the hours allow work."""
        while not self._is_open():
            time.sleep(_POLL_S)

    def answered(self, running: int) -> None:
        """All associations that run have been answered: one more may be tried."""
        self._lost_in_a_row = 0
        self._allowed = min(self._most, max(self._allowed, running + 1))

    def rejected(self, running: int) -> None:
        """The PACS admits no more than those that run."""
        self._most = self._allowed = max(1, running)
        self._observer.say(f"the PACS admits {self._most} association(s) at a time: no more will be tried")

    def lost(self) -> bool:
        """There was no association: nothing starts for a growing while; whether it is worth another try."""
        if self._lost_in_a_row and time.monotonic() < self._ready:
            # Several that ran at a time are refused at a time: that is one loss.
            return True
        wait_s = self.retry.wait_s(self._lost_in_a_row)
        if wait_s is None:
            return False
        self._allowed = 1
        self._lost_in_a_row += 1
        self._ready = time.monotonic() + wait_s
        log.warning("no association: the next try is in %.1f s", wait_s)
        return True

    def brought(self, instances: int, size: int, since: float) -> None:
        """Makes the next start wait until work that began at `since` has taken as long as so much must take."""
        if self._rate is not None:
            self._ready = max(self._ready, since) + self._rate.pause_s(instances, size)

    @property
    def one_request_each(self) -> bool:
        """Whether each request needs an association of its own, so that a pause can come between."""
        return self._rate is not None

    def _is_open(self) -> bool:
        if self._hours is None or self._hours.open_at(datetime.now()):
            self._told_closed = False
            return True
        if not self._told_closed:
            self._observer.say(f"outside --hours {self._hours}: nothing starts until {self._hours.start}")
        self._told_closed = True
        return False
