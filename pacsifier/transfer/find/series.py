"""The SERIES level: which series of the studies the rows want."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from pacsifier.dcmtk.findscu import FindResult, Values
from pacsifier.query import INFO_COLUMNS, PADDING, Match, Query, Verdict, is_single_key
from pacsifier.query.series import Series
from pacsifier.transfer.find.answers import (
    NOTHING_UNKNOWN,
    absent_keys,
    columns_at,
    compare,
    is_worth_telling,
    joined,
    looks_capped,
    merged,
    reports_of,
    uids_of,
    whole_number,
)
from pacsifier.transfer.find.studies import Study
from pacsifier.transfer.model import Finds, RowReport

_COUNT = "NumberOfSeriesRelatedInstances"
SERIES_RETURN_KEYS = (
    *("StudyInstanceUID", "SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription"),
    _COUNT,
)
_COLUMNS: Final = columns_at("SERIES", "IMAGE")
_ONLY_UID: Final = frozenset({"SeriesInstanceUID"})
_OTHER_SERIES: Final = Verdict(Match.NO, ("SeriesInstanceUID",), (), ())
_OTHER_STUDY: Final = Verdict(Match.NO, ("StudyInstanceUID",), (), ())


@dataclass(frozen=True)
class ListedSeries:
    """The series that the rows want, each once, and the rows' reports by first row number.

    `series_of_study`: how many series the PACS lists for each study, wanted or not. `missing_keys`: keys that were
    asked for, and that no answer of one of the studies returned. `doubted`: the studies of which it lists fewer than
    it told of, and those that it listed otherwise without counts.
    """

    series: tuple[Series, ...]
    reports: Mapping[int, RowReport]
    series_of_study: Mapping[str, int]
    missing_keys: frozenset[str]
    doubted: Mapping[str, Listing] = field(default_factory=dict)

    def followed_by(self, later: ListedSeries) -> ListedSeries:
        """Both in one."""
        return ListedSeries(
            (*self.series, *later.series),
            joined(self.reports, later.reports),
            {**self.series_of_study, **later.series_of_study},
            self.missing_keys,
            {**self.doubted, **later.doubted},
        )


@dataclass(frozen=True)
class Listing:
    """What the PACS lists of a study once it was asked with counts and without.

    `changed`: without counts it told of other series; `copies`: so many answers, where they name fewer series than
    there are answers, since one stands in the place of others; 0 where none does.
    """

    result: FindResult
    changed: bool = False
    copies: int = 0


def find_series(
    finds: Finds,
    asked: Mapping[int, Query],
    studies: Mapping[str, Study],
    columns: Iterable[str],
    *,
    counts: bool = True,
) -> ListedSeries:
    """Asks the SERIES level once for each study, also for the values of `columns`; `asked`: rows by first row number.

    Where fewer series are listed than announced, the study is asked for again without counts: some PACS answer a
    request for counts with one line for all. Without `counts` it is asked for so at once.

    Raises:
        AssociationError: there was no association.
    """
    keys = [key for key in (*SERIES_RETURN_KEYS, *columns) if counts or key != _COUNT]
    results = _ask(finds, studies, keys)
    if not counts:
        listings = {uid: both(FindResult((), None, None), each) for uid, each in results.items()}
    else:
        listings = _without_counts(finds, studies, results, [key for key in keys if key != _COUNT])
        results |= {uid: each.result for uid, each in listings.items()}
    doubted = {
        uid: each
        for uid, each in listings.items()
        if each.changed or each.copies or is_short(studies[uid], each.result)
    }
    # What was taken is let go: the answers of 100,000 series are as large as what is kept of them.
    taken = take_series(asked, studies, (results.pop(uid) for uid in studies), keys)
    return replace(taken, doubted=doubted)


def _ask(finds: Finds, studies: Iterable[str], keys: Iterable[str]) -> dict[str, FindResult]:
    plain, uids = dict.fromkeys(keys, ""), list(studies)
    results = finds.find("SERIES", [{**plain, "StudyInstanceUID": uid} for uid in uids])
    return dict(zip(uids, results, strict=True))


def _without_counts(
    finds: Finds, studies: Mapping[str, Study], counted: Mapping[str, FindResult], keys: Sequence[str]
) -> dict[str, Listing]:
    """The studies that had to be asked for again, with what both lists told of them."""
    short = [uid for uid, study in studies.items() if is_short(study, counted[uid])]
    single = [uid for uid, study in studies.items() if _may_be_one_for_all(study, counted[uid])]
    # One of them shows whether this PACS does so at all.
    listings: dict[str, Listing] = {}
    for some in filter(None, ([*short, *single[:1]], single[1:])):
        told = _ask(finds, some, keys)
        listings |= {uid: both(counted[uid], result) for uid, result in told.items()}
        if not any(each.changed for each in listings.values()):
            break
    return listings


def is_short(study: Study, listed: FindResult) -> bool:
    """Whether fewer series of a study are listed than the STUDY level announced."""
    announced = whole_number(study.values.get("NumberOfStudyRelatedSeries")) or 0
    return listed.failure is None and len(uids_of(listed, "SeriesInstanceUID")) < announced


def _may_be_one_for_all(study: Study, listed: FindResult) -> bool:
    """Whether the one series that is listed, with several instances, may stand for others: none were announced."""
    announced = whole_number(study.values.get("NumberOfStudyRelatedSeries"))
    return (
        not announced
        and listed.failure is None
        and len(listed.answers) == 1
        and (whole_number(listed.answers[0].get(_COUNT)) or 0) > 1
    )


def both(counted: FindResult, plain: FindResult) -> Listing:
    """What is told of a study by two lists of its series, `counted` with numbers of instances. Pure.

    Where the list without counts tells of other series, the numbers of the first were for more than one series.
    """
    if plain.failure is not None:
        return Listing(counted)
    first, second = uids_of(counted, "SeriesInstanceUID"), uids_of(plain, "SeriesInstanceUID")
    answers = len(plain.answers)
    more = answers > len(counted.answers) or not first <= second
    copies = answers if more and answers > len(first | second) else 0
    if second <= first:
        return Listing(counted, copies=copies)
    others = [each for each in counted.answers if each.get("SeriesInstanceUID") not in second]
    uncounted = [{key: value for key, value in each.items() if key != _COUNT} for each in others]
    return Listing(replace(plain, answers=(*plain.answers, *uncounted)), changed=bool(first), copies=copies)


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
    results: Iterable[FindResult],
    keys: Collection[str],
) -> ListedSeries:
    """The series in the result of each study that its rows want; looks at each result once. Pure."""
    found: dict[tuple[str, str], Series] = {}
    failures: dict[int, str] = {}
    verdicts: Counter[tuple[int, Verdict]] = Counter()
    # Most series are wanted by the same rows.
    shared: dict[tuple[int, ...], tuple[int, ...]] = {}
    series_of_study: dict[str, int] = {}
    missing_keys: set[str] = set()
    for (uid, study), result in zip(studies.items(), results, strict=True):
        series_of_study[uid] = len(uids_of(result, "SeriesInstanceUID"))
        missing_keys |= absent_keys(keys, result.answers)
        if failure := failure_of(study, result):
            failures.update(dict.fromkeys(study.wanted_by, failure))
        judges = _Judges(asked, study, uid)
        for answer in filter(_is_usable, result.answers):
            values = merged(study.values, judges.shared(answer))
            of_rows = judges.judge(answer, values)
            verdicts.update(each for each in of_rows.items() if is_worth_telling(each[1]))
            rows, undecided = settle(study.wanted_by, of_rows)
            if rows or undecided:
                announced = whole_number(values.get("NumberOfSeriesRelatedInstances"))
                series = Series(values, shared.setdefault(rows, rows), undecided, announced)
                found.setdefault(series.key, series)
        verdicts.update(judges.in_vain(len(result.answers)))
    return ListedSeries(
        tuple(found.values()),
        reports_of(asked, failures, verdicts),
        series_of_study,
        frozenset(missing_keys),
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
    listed = len(uids_of(result, "SeriesInstanceUID"))
    if announced and listed < announced and (not listed or looks_capped(result)):
        return f"SERIES level: {listed} of {announced} series of a study listed"
    return ""


class _Judges:
    """The rows that want a study, and what each says of the study's answers.

    Of rows that say nothing of series but a SeriesInstanceUID only those that name it are asked: of a series table
    there are as many as there are answers.
    """

    def __init__(self, asked: Mapping[int, Query], study: Study, study_uid: str) -> None:
        self._asked = asked
        self._study_uid = study_uid
        self._wanted_by = study.wanted_by
        self._by_uid: dict[str, list[int]] = defaultdict(list)
        # By itself: a UID that a row holds is held once.
        self._same: dict[str, str] = {}
        self._others = []
        for row in study.wanted_by:
            cells = asked[row].cells
            if _COLUMNS.intersection(cells) == _ONLY_UID:
                uid = cells["SeriesInstanceUID"]
                self._by_uid[self._same.setdefault(uid, uid)].append(row)
            else:
                self._others.append(row)
        self._named: set[str] = set()

    def shared(self, answer: Values) -> Values:
        """The answer, with the UID of its series as the one text that a row holds."""
        same = self._same.get(answer.get("SeriesInstanceUID") or "")
        return answer if same is None else {**answer, "SeriesInstanceUID": same}

    def judge(self, answer: Values, values: Values) -> dict[int, Verdict]:
        """The verdicts on one answer of the rows that look at it; a PACS may ignore the key above."""
        if (answer.get("StudyInstanceUID") or self._study_uid) != self._study_uid:
            return dict.fromkeys(self._wanted_by, _OTHER_STUDY)
        uid = (values.get("SeriesInstanceUID") or "").strip(PADDING)
        self._named.add(uid)
        rows = (*self._others, *self._by_uid.get(uid, ()))
        return {row: compare(self._asked[row], values, _COLUMNS) for row in rows}

    def in_vain(self, answers: int) -> dict[tuple[int, Verdict], int]:
        """The verdicts of the rows whose series is in none of so many answers."""
        gone = self._by_uid.keys() - self._named if answers else ()
        return {(row, _OTHER_SERIES): answers for uid in gone for row in self._by_uid[uid]}


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
