"""The IMAGE level: which instances a series has."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from pacsifier.dcmtk.findscu import FindResult, Values
from pacsifier.dcmtk.identifiers import Keys
from pacsifier.query import (
    is_uid,
)
from pacsifier.query.series import Instance, Series
from pacsifier.transfer.find.answers import Finds, looks_capped

log = logging.getLogger(__name__)
# Such a list stays far below the 65,534 bytes of one value.
_LONGEST_UID_LIST = 500


def list_instances(
    pacs: Finds, series: Sequence[Series], columns: Iterable[str] = (), *, uid_lists: bool = False
) -> list[FindResult]:
    """Asks the IMAGE level for the instances of each series, and for the values of `columns`.

    `uid_lists`: asks once for all series of a study, which costs a PACS without an index for it as much as one series
    does; series that such an answer leaves open are asked for one by one.
    """
    keys = dict.fromkeys(("SOPInstanceUID", "SOPClassUID", *columns), "")
    results: dict[tuple[str, str], FindResult] = {}
    if uid_lists:
        results = _list_by_study(pacs, series, keys)
    left = [each for each in series if each.key not in results]
    singles = pacs.find(
        "IMAGE",
        [{**keys, "StudyInstanceUID": each.study_uid, "SeriesInstanceUID": each.series_uid} for each in left],
    )
    for each, result in zip(left, singles, strict=True):
        answers = tuple(answer for answer in result.answers if _belongs(answer, each))
        results[each.key] = replace(result, answers=answers)
    return [results[each.key] for each in series]


def _list_by_study(pacs: Finds, series: Sequence[Series], keys: Keys) -> dict[tuple[str, str], FindResult]:
    """The answers by series, where a list of Series Instance UIDs was understood and answered whole."""
    studies: dict[str, list[Series]] = defaultdict(list)
    for each in series:
        studies[each.study_uid].append(each)
    lists = [
        each[start : start + _LONGEST_UID_LIST]
        for each in studies.values()
        if len(each) > 1
        for start in range(0, len(each), _LONGEST_UID_LIST)
    ]
    found: dict[tuple[str, str], FindResult] = {}
    # One shows whether the PACS understands lists at all.
    for some in filter(None, (lists[:1], lists[1:])):
        requests = [
            {
                **keys,
                "StudyInstanceUID": each[0].study_uid,
                "SeriesInstanceUID": "\\".join(one.series_uid for one in each),
            }
            for each in some
        ]
        for asked, result in zip(some, pacs.find("IMAGE", requests), strict=True):
            found |= _by_series(asked, result)
        if not found:
            break
    return found


def _by_series(asked: Sequence[Series], result: FindResult) -> dict[tuple[str, str], FindResult]:
    """The answer to a list, by series; none where the list was refused, cut, or a series is left out."""
    answers: dict[str, list[Values]] = {each.series_uid: [] for each in asked}
    for answer in result.answers:
        uid = answer.get("SeriesInstanceUID") or ""
        if uid not in answers:
            return {}
        answers[uid].append(answer)
    if result.failure or looks_capped(result) or not all(answers.values()):
        return {}
    return {
        each.key: replace(result, answers=tuple(answers[each.series_uid]), outdone=True) for each in asked
    }


def _belongs(answer: Values, series: Series) -> bool:
    """Whether an IMAGE-level answer is of the series that was asked for; a PACS may ignore the keys above."""
    return (answer.get("SeriesInstanceUID") or series.series_uid) == series.series_uid


def instances_of(result: FindResult) -> tuple[Instance, ...]:
    """The distinct instances of an IMAGE-level answer."""
    found = {
        uid: Instance(uid, sop_class if is_uid(sop_class := answer.get("SOPClassUID") or "") else "")
        for answer in result.answers
        if (uid := answer.get("SOPInstanceUID"))
    }
    return tuple(found.values())
