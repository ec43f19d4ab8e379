"""Lists of studies that the PACS cut: asked for again by halves of their dates, until each part is whole.

That a list is cut is told by its status, by a number that looks like a limit, or by a narrower question: what a part of
the dates brings, the whole must have brought.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from pacsifier.dcmtk.findscu import FindResult
from pacsifier.dcmtk.identifiers import Keys
from pacsifier.query import around, halves
from pacsifier.transfer.find.answers import looks_capped, uids_of
from pacsifier.transfer.model import Finds

_DEEPEST_SPLIT = 16
# In one run, over all rows.
_MOST_SPLITS = 200
_SHORTEST_PROBED = 3
# A longer list is not asked for twice only to see whether it is whole.
_LONGEST_PROBED = 2000


class Splitter:
    """Makes lists of the STUDY level whole; it remembers what it has learned of the PACS's limit.

    `copies`: where an answer comes several times, others may be missing in its stead.
    """

    def __init__(self, finds: Finds, *, copies: bool = False) -> None:
        self._finds = finds
        self._copies = copies
        self._left = _MOST_SPLITS
        self._limit: int | None = None
        self._whole = _SHORTEST_PROBED - 1

    def find(self, requests: Sequence[Keys]) -> list[FindResult]:
        """The results of the requests, each asked for in parts where it was cut."""
        results = self._finds.find("STUDY", requests)
        self._probe(requests, results)
        return [self._made_whole(keys, result, 0) for keys, result in zip(requests, results, strict=True)]

    def _probe(self, requests: Sequence[Keys], results: Sequence[FindResult]) -> None:
        """Asks for the longest list again in two parts, about its middle: what it lacks shows the limit of the PACS."""
        plain = [
            (len(result.answers), keys, result)
            for keys, result in zip(requests, results, strict=True)
            if result.failure is None and not looks_capped(result) and _parts(keys)
        ]
        length, keys, result = max(plain, key=lambda each: each[0], default=(0, {}, None))
        if result is None or not self._whole < length <= _LONGEST_PROBED or self._limit is not None:
            return
        days = {(each.get("StudyDate") or "").strip() for each in result.answers}
        ranges = around(keys.get("StudyDate") or None, days)
        parts = self._finds.find("STUDY", [{**keys, "StudyDate": part} for part in ranges])
        if all(uids_of(part) <= uids_of(result) for part in parts):
            self._whole = length
        else:
            self._limit = length

    def _is_cut(self, result: FindResult) -> bool:
        at_limit = self._limit is not None and len(result.answers) >= self._limit
        return looks_capped(result) or at_limit

    def _made_whole(self, keys: Keys, result: FindResult, depth: int) -> FindResult:
        """What a cut list lacks, from two halves of its StudyDate, down to single days."""
        cut = self._is_cut(result)
        copies = self._copies and len(result.answers) > len(uids_of(result))
        if result.endless or not (cut or copies) or keys.get("StudyInstanceUID"):
            return result
        parts = _parts(keys)
        if not parts or depth == _DEEPEST_SPLIT or self._left == 0:
            count = f"{len(result.answers)} answers however narrow the dates"
            cap = f"{count} look like a cap of the PACS: narrow the row"
            return replace(result, failure=result.failure or cap) if cut else result
        self._left -= 1
        answers = {each.get("StudyInstanceUID") or "": each for each in result.answers}
        failure: str | None = None
        identifiers = [{**keys, "StudyDate": part} for part in parts]
        for each, part in zip(identifiers, self._finds.find("STUDY", identifiers), strict=True):
            # Once a part cannot be had whole, the row fails: the others need not be cut finer.
            whole = part if failure else self._made_whole(each, part, depth + 1)
            answers |= {answer.get("StudyInstanceUID") or "": answer for answer in whole.answers}
            failure = failure or whole.failure
        return FindResult(tuple(answers.values()), result.status, failure)


def _parts(keys: Keys) -> tuple[str, ...]:
    """Two halves of the dates that a request asks for; none where it cannot be narrowed by them."""
    if keys.get("StudyInstanceUID"):
        return ()
    return halves(keys.get("StudyDate") or None, f"{date.today():%Y%m%d}") or ()
