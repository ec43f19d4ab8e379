"""The SERIES level: which series of the studies the rows want."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pacsifier.dcmtk.findscu import FindResult, Values
from pacsifier.query import INFO_COLUMNS, Match, Query, Verdict, is_single_key
from pacsifier.query.series import Series
from pacsifier.transfer.find.answers import (
    NOTHING_UNKNOWN,
    absent_keys,
    columns_at,
    compare,
    looks_capped,
    merged,
    reports_of,
    whole_number,
)
from pacsifier.transfer.find.studies import Study
from pacsifier.transfer.model import Finds, RowReport

SERIES_RETURN_KEYS = (
    *("StudyInstanceUID", "SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription"),
    "NumberOfSeriesRelatedInstances",
)
_COLUMNS: Final = columns_at("SERIES", "IMAGE")
_OTHER_STUDY: Final = Verdict(Match.NO, ("StudyInstanceUID",), (), ())


@dataclass(frozen=True)
class ListedSeries:
    """The series that the rows want, each once, and the rows' reports by first row number.

    `series_of_study`: how many series the PACS lists for each study, wanted or not. `missing_keys`: keys that were
    asked for, and that no answer of one of the studies returned.
    """

    series: tuple[Series, ...]
    reports: Mapping[int, RowReport]
    series_of_study: Mapping[str, int]
    missing_keys: frozenset[str]


def find_series(
    finds: Finds, asked: Mapping[int, Query], studies: Mapping[str, Study], columns: Iterable[str]
) -> ListedSeries:
    """Asks the SERIES level once for each study, also for the values of `columns`; `asked`: rows by first row number.

    Raises:
        AssociationError: there was no association.
    """
    keys = dict.fromkeys((*SERIES_RETURN_KEYS, *columns), "")
    results = finds.find("SERIES", [{**keys, "StudyInstanceUID": uid} for uid in studies])
    return take_series(asked, studies, results, keys)


def image_columns(queries: Iterable[Query], *, image_values: bool) -> tuple[str, ...]:
    """IMAGE-level attributes worth asking for: those that a row filters on, all of them for --info."""
    asked = {column for query in queries for column in query.cells}
    at_image = columns_at("IMAGE")
    return tuple(
        column for column in INFO_COLUMNS if column in at_image and (image_values or column in asked)
    )


def take_series(
    asked: Mapping[int, Query],
    studies: Mapping[str, Study],
    results: Sequence[FindResult],
    keys: Collection[str],
) -> ListedSeries:
    """The series in the result of each study that its rows want. Pure."""
    found: dict[tuple[str, str], Series] = {}
    failures: dict[int, str] = {}
    verdicts: Counter[tuple[int, Verdict]] = Counter()
    # Most series are wanted by the same rows.
    shared: dict[tuple[int, ...], tuple[int, ...]] = {}
    for (uid, study), result in zip(studies.items(), results, strict=True):
        if failure := failure_of(study, result):
            failures.update(dict.fromkeys(study.wanted_by, failure))
        for answer in filter(_is_usable, result.answers):
            values = merged(study.values, answer)
            of_rows = _judge(asked, study, uid, answer, values)
            verdicts.update(of_rows.items())
            rows, undecided = settle(study.wanted_by, of_rows)
            if rows or undecided:
                announced = whole_number(values.get("NumberOfSeriesRelatedInstances"))
                series = Series(values, shared.setdefault(rows, rows), undecided, announced)
                found.setdefault(series.key, series)
    return ListedSeries(
        tuple(found.values()),
        reports_of(asked, failures, verdicts),
        {uid: len(result.answers) for uid, result in zip(studies, results, strict=True)},
        frozenset(key for result in results for key in absent_keys(keys, result.answers)),
    )


def _is_usable(answer: Values) -> bool:
    return is_single_key(answer.get("SeriesInstanceUID") or "")


def failure_of(study: Study, result: FindResult) -> str:
    """Why the series of a study are not all told, or ""."""
    if not all(map(_is_usable, result.answers)):
        return "SERIES level: an answer without a usable SeriesInstanceUID"
    if result.failure:
        return f"SERIES level: {result.failure}"
    # A study that answers with no series, or with a round number of them below the announced, is no result.
    announced = whole_number(study.values.get("NumberOfStudyRelatedSeries"))
    listed = len(result.answers)
    if announced and listed < announced and (not listed or looks_capped(result)):
        return f"SERIES level: {listed} of {announced} series of a study listed"
    return ""


def _judge(
    asked: Mapping[int, Query], study: Study, study_uid: str, answer: Values, values: Values
) -> dict[int, Verdict]:
    """The verdict of each row that wants the study on one of its answers; a PACS may ignore the key above."""
    if (answer.get("StudyInstanceUID") or study_uid) != study_uid:
        return dict.fromkeys(study.wanted_by, _OTHER_STUDY)
    return {row: compare(asked[row], values, _COLUMNS) for row in study.wanted_by}


def settle(
    wanted_by: Mapping[int, tuple[str, ...]], verdicts: Mapping[int, Verdict]
) -> tuple[tuple[int, ...], Mapping[int, tuple[str, ...]]]:
    """The rows that want a series for certain, and, by row, the columns of both levels that were told too little."""
    unknown = {
        row: (*wanted_by[row], *verdict.unknown)
        for row, verdict in verdicts.items()
        if verdict.result is not Match.NO
    }
    rows = tuple(row for row, columns in unknown.items() if not columns)
    return rows, {row: columns for row, columns in unknown.items() if columns} or NOTHING_UNKNOWN
