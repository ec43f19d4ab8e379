"""C-FIND that repeats what was lost or temporarily refused."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from pacsifier.dcmtk.findscu import FindResult
from pacsifier.dcmtk.identifiers import Keys
from pacsifier.dcmtk.pacs import Pacs
from pacsifier.errors import AssociationError
from pacsifier.transfer.retry import Retry

log = logging.getLogger(__name__)
_FINDS_AN_ASSOCIATION = 8
# So many are asked before a second association is opened, where there are many.
_FIRST = 8
_MANY = 64


class CarefulFinds:
    """C-FIND that repeats what was lost or temporarily refused; `ready` is called before each association.

    It stands in for `Pacs` where only `find` is needed. Many identifiers are spread over up to `associations`, once the
    first few were answered over a single one, and until an answer is lost.
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
        first = _FIRST if self._tries_first(len(requests)) else 0
        results = self._found(level, requests[:first]) if first else []
        if endless := _endless(results):
            failure = _not_asked(endless)
            results += [FindResult((), None, failure)] * (len(requests) - first)
        else:
            results += self._found(level, requests[first:])
        longest = max((len(result.answers) for result in results), default=0)
        longest = self._longest[level] = max(longest, self._longest.get(level, 0))
        return [replace(result, outdone=len(result.answers) < longest) for result in results]

    def _tries_first(self, number: int) -> bool:
        """Whether the first few of so many are asked alone, so that the others may be spread."""
        return not self._associated and self._associations > 1 and number >= _MANY

    def _found(self, level: str, requests: Sequence[Keys]) -> list[FindResult]:
        results = [FindResult.of_lost("not asked: there was no association any more")] * len(requests)
        fruitless = 0
        while todo := [number for number, result in enumerate(results) if result.lost]:
            # One that kills the association each time must not keep the others from being asked.
            todo = todo[fruitless:] + todo[:fruitless]
            error = self._ask(level, requests, todo, results)
            if endless := _endless(results):
                failure = _not_asked(endless)
                results = [
                    replace(each, lost=False, failure=failure) if each.lost else each for each in results
                ]
                break
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
        return results

    def _ask(
        self, level: str, requests: Sequence[Keys], todo: Sequence[int], results: list[FindResult]
    ) -> AssociationError | None:
        """Asks once and enters the results; returns the error where there was no association."""
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


def _endless(results: Sequence[FindResult]) -> FindResult | None:
    return next((result for result in results if result.endless), None)


def _not_asked(endless: FindResult) -> str:
    """Why nothing is asked behind an answer without an end: each question would take as long."""
    return f"not asked, since the PACS went on answering another question: {endless.failure}"
