"""What is asked again after a failure, how often and when: no other place decides it.

A temporary refusal is repeated a bounded number of times, with growing waits and jitter, so that many clients of one
PACS do not come back in step. What the PACS refuses for good is not repeated.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pacsifier.dcmtk.pacs import FindResult, Keys, Pacs
from pacsifier.dcmtk.transcript import REFUSED_MATCHES, REFUSED_SUBOPERATIONS, MoveState
from pacsifier.errors import AssociationError

log = logging.getLogger(__name__)

_LONGEST_WAIT_S = 120.0
_FINDS_AN_ASSOCIATION = 8
# PS3.4 C.4.2.1.5: out of resources, unable to calculate the matches or to perform sub-operations.
_TEMPORARY_MOVE = frozenset({REFUSED_MATCHES, REFUSED_SUBOPERATIONS})


@dataclass(frozen=True)
class Retry:
    """At most `repeats` repeats; the n-th comes after about `first_wait_s` * 2^n seconds, at most 120 s."""

    first_wait_s: float = 2.0
    repeats: int = 4

    def wait_s(self, earlier: int) -> float | None:
        """The wait before the next try after `earlier` repeats, half to one and a half of its mean; None: no more."""
        if earlier >= self.repeats:
            return None
        mean = min(self.first_wait_s * 2.0**earlier, _LONGEST_WAIT_S)
        return mean * random.uniform(0.5, 1.5)  # noqa: S311 - spreads load, keeps no secret


def is_temporary(end: MoveState) -> bool:
    """Whether a C-MOVE ended so that the same request may succeed later."""
    return end.status in _TEMPORARY_MOVE


class CarefulFinds:
    """C-FIND that repeats what was lost or temporarily refused; `ready` is called before each association.

    It stands in for `Pacs` where only `find` is needed. Many identifiers go over as many as `associations`, once the
    first find went well over one, and until the PACS does not admit so many.
    """

    def __init__(
        self, pacs: Pacs, retry: Retry, ready: Callable[[], None] = lambda: None, associations: int = 1
    ) -> None:
        self._pacs = pacs
        self._associations = associations
        self._retry = retry
        self._ready = ready
        self._associated = False
        self._longest: dict[str, int] = {}

    def find(self, level: str, requests: Sequence[Keys]) -> list[FindResult]:
        """Asks as `Pacs.find` does; identifiers whose answer was cut off by a lost association are asked again.

        Raises:
            AssociationError: there never was an association, for good or after all repeats.
        """
        results = [FindResult.of_lost("not asked: there was no association any more")] * len(requests)
        fruitless = 0
        while todo := [number for number, result in enumerate(results) if result.lost]:
            # One that kills the association each time must not keep the others from being asked.
            todo = todo[fruitless:] + todo[:fruitless]
            error = self._ask(level, requests, todo, results)
            lost = sum(result.lost for result in results)
            fruitless = fruitless + 1 if lost == len(todo) else 0
            wait_s = self._retry.wait_s(max(0, fruitless - 1))
            if error and not self._associated and (wait_s is None or not error.temporary):
                raise error
            if wait_s is None or not lost:
                break
            log.warning(
                "C-FIND at the %s level was refused or cut off: asking again in %.1f s", level, wait_s
            )
            time.sleep(wait_s)
        longest = max((len(result.answers) for result in results), default=0)
        longest = self._longest[level] = max(longest, self._longest.get(level, 0))
        return [replace(result, outdone=len(result.answers) < longest) for result in results]

    def _ask(
        self, level: str, requests: Sequence[Keys], todo: Sequence[int], results: list[FindResult]
    ) -> AssociationError | None:
        """Asks once over one association and enters the results; the error where there was none."""
        self._ready()
        try:
            most = self._associations if self._associated else 1
            associations = max(1, min(most, len(todo) // _FINDS_AN_ASSOCIATION))
            answers = self._pacs.find(level, [requests[number] for number in todo], associations=associations)
        except AssociationError as error:
            return error
        self._associated = True
        if any(answer.lost for answer in answers):
            self._associations = 1
        for number, answer in zip(todo, answers, strict=True):
            results[number] = answer
        return None
