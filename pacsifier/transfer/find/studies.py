"""The STUDY level: which studies the rows ask for.

The rows are asked as typed; those that found nothing once more with wildcards; rows of a SeriesInstanceUID alone in
their own way. A list of answers that looks cut by the PACS is asked for again by halves of its dates.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, overload

from pacsifier.dcmtk.findscu import FindResult, Values
from pacsifier.dcmtk.identifiers import Keys
from pacsifier.query import (
    WHOLE,
    Match,
    Query,
    Shard,
    Verdict,
    ascii_wildcards,
    by_first_row,
    is_single_key,
    study_keys,
)
from pacsifier.transfer.find.answers import (
    absent_keys,
    columns_at,
    compare,
    is_worth_telling,
    joined,
    reports_of,
)
from pacsifier.transfer.find.splitting import Splitter
from pacsifier.transfer.model import Finds, RowReport

STUDY_RETURN_KEYS = (
    *("StudyInstanceUID", "PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "StudyDate"),
    *("StudyTime", "StudyDescription", "AccessionNumber", "NumberOfStudyRelatedSeries", "ModalitiesInStudy"),
    *("SOPClassesInStudy", "InstanceAvailability"),
)
# What a PACS works out for each study: some answer such a request with one line for all that match.
_WORKED_OUT = frozenset({"NumberOfStudyRelatedSeries", "ModalitiesInStudy", "SOPClassesInStudy"})
_COLUMNS: Final = columns_at("STUDY")


@dataclass(frozen=True, slots=True)
class Study:
    """A study as the PACS first told it; `wanted_by` maps a row to the STUDY-level columns it told too little of."""

    values: Values
    wanted_by: Mapping[int, tuple[str, ...]]


@dataclass(frozen=True)
class Studies:
    """The studies that the rows want, by StudyInstanceUID, and the rows' reports by first row number.

    `missing_keys`: keys that were asked for, and that no answer to one of the finds returned.
    """

    studies: Mapping[str, Study]
    reports: Mapping[int, RowReport]
    missing_keys: frozenset[str] = frozenset()


def find_studies(
    finds: Finds,
    queries: Sequence[Query],
    *,
    list_all: bool = False,
    shard: Shard = WHOLE,
    counts: bool = True,
) -> Studies:
    """Asks the STUDY level for all rows; without `counts` for nothing that the PACS must work out.

    Raises:
        AssociationError: there was no association.
    """
    typed = _Requests(by_first_row(queries))
    for query in queries:
        if not only_series_uid(query):
            typed.add(query, study_keys(query))
    keys = [key for key in STUDY_RETURN_KEYS if counts or key not in _WORKED_OUT]
    splitter = Splitter(finds, copies=not counts)
    results = _ask(splitter, typed, keys)
    first = take_studies(typed, results, shard)
    answered = answered_rows(first)
    wider = with_wildcards(
        query for query in queries if not only_series_uid(query) and query.rows[0] not in answered
    )
    results = _ask(splitter, wider, keys)
    second = take_studies(wider, results, shard)
    series_rows = [query for query in queries if only_series_uid(query)]
    of_series, refused = _studies_of_series(finds, series_rows, list_all=list_all)
    results = _ask(splitter, of_series, keys)
    return join_studies(first, second, Studies({}, refused), take_studies(of_series, results, shard))


def only_series_uid(query: Query) -> bool:
    """Whether a row has a SeriesInstanceUID and nothing by which its study could be found."""
    return "SeriesInstanceUID" in query.cells and not _COLUMNS & set(query.cells)


def names_accession(query: Query) -> bool:
    """Whether a row holds an AccessionNumber without a wildcard, and so should find one study."""
    return not set("*?") & set(query.cells.get("AccessionNumber", "*"))


def answered_rows(studies: Studies) -> set[int]:
    """The rows that need no second try: they found something, here or in another part, or failed."""
    found = {row for study in studies.studies.values() for row in study.wanted_by}
    return found | {row for row, report in studies.reports.items() if report.failure or report.elsewhere}


def with_wildcards(queries: Iterable[Query]) -> list[tuple[Query, Keys]]:
    """Requests with `*` for non-ASCII characters: some PACS compare bytes of another character set."""
    requests: list[tuple[Query, Keys]] = []
    for query in queries:
        for keys in study_keys(query):
            plain = {keyword: ascii_wildcards(value) for keyword, value in keys.items()}
            if plain != dict(keys) and "*" not in plain.values():
                requests.append((query, plain))
    return requests


# -- asking


class _Requests(Sequence[tuple[Query, Keys]]):
    """What rows ask: each row's query, made when somebody asks for it, and its keys; equal keys are held once."""

    def __init__(self, asked: Mapping[int, Query]) -> None:
        self._asked = asked
        self._rows = array("I")
        self._keys: list[Keys] = []
        self._same: dict[tuple[tuple[str, str], ...], Keys] = {}

    def add(self, query: Query, requests: Iterable[Keys]) -> None:
        """Takes the requests of a row."""
        for keys in requests:
            self._rows.append(query.rows[0])
            self._keys.append(self._same.setdefault((*keys.items(),), keys))

    @overload
    def __getitem__(self, place: int) -> tuple[Query, Keys]: ...
    @overload
    def __getitem__(self, place: slice) -> list[tuple[Query, Keys]]: ...
    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[each] for each in range(len(self))[place]]
        return self._asked[self._rows[place]], self._keys[place]

    def __len__(self) -> int:
        return len(self._rows)


def _ask(splitter: Splitter, requests: Sequence[tuple[Query, Keys]], keys: Iterable[str]) -> list[FindResult]:
    """The result of each request, which asks for the values of `keys` as well; rows that ask alike are asked once."""
    places: dict[tuple[tuple[str, str], ...], int] = {}
    of_request = [places.setdefault((*asked.items(),), len(places)) for _, asked in requests]
    results = splitter.find([{**dict.fromkeys(keys, ""), **dict(asked)} for asked in places])
    return [results[place] for place in of_request]


def _studies_of_series(
    finds: Finds, queries: Sequence[Query], *, list_all: bool
) -> tuple[list[tuple[Query, Keys]], dict[int, RowReport]]:
    """The requests for the studies of rows of a SeriesInstanceUID alone, and the rows that the PACS cannot answer."""
    if list_all:
        return [(query, {}) for query in queries], {}
    keys = [
        {"SeriesInstanceUID": query.cells["SeriesInstanceUID"], "StudyInstanceUID": ""} for query in queries
    ]
    requests: list[tuple[Query, Keys]] = []
    refused = {}
    for query, result in zip(queries, finds.find("SERIES", keys), strict=True):
        uids = study_uids(query.cells["SeriesInstanceUID"], result)
        if uids is None:
            refused[query.rows[0]] = RowReport(
                query,
                failure="the PACS answers no SeriesInstanceUID alone; add StudyInstanceUID or PatientID to the row, "
                "or let all studies be listed with --yes",
            )
        requests += [(query, {"StudyInstanceUID": uid}) for uid in uids or ()]
    return requests, refused


def study_uids(series_uid: str, result: FindResult) -> list[str] | None:
    """The studies of the one relational query, its answers checked; None where it was not understood."""
    strangers = {answer.get("SeriesInstanceUID") for answer in result.answers} - {series_uid}
    studies = {answer.get("StudyInstanceUID") or "" for answer in result.answers}
    if result.failure or strangers or not all(map(is_single_key, studies)):
        return None
    return sorted(studies)


# -- what the answers say


def take_studies(
    requests: Sequence[tuple[Query, Keys]], results: Sequence[FindResult], shard: Shard
) -> Studies:
    """The studies in the results of the requests that their rows want. Pure."""
    told: dict[str, Values] = {}
    wanted_by: dict[str, dict[int, tuple[str, ...]]] = defaultdict(dict)
    failures: dict[int, str] = {}
    verdicts: Counter[tuple[int, Verdict]] = Counter()
    elsewhere: dict[int, list[Values]] = defaultdict(list)
    # The rows of which there is something to be told.
    asked: dict[int, Query] = {}
    for (query, _), result in zip(requests, results, strict=True):
        row, divided = query.rows[0], shard.divides(query)
        if failure := _failure(result):
            failures[row], asked[row] = failure, query
        for values in result.answers:
            uid = values.get("StudyInstanceUID") or ""
            if not is_single_key(uid):
                continue
            verdict = compare(query, values, _COLUMNS)
            if verdict.result is not Match.NO and divided and not shard.holds(values.get("PatientID")):
                elsewhere[row].append(values)
                asked[row] = query
                continue
            if is_worth_telling(verdict):
                verdicts[row, verdict] += 1
                asked[row] = query
            if verdict.result is not Match.NO:
                told.setdefault(uid, values)
                wanted_by[uid][row] = verdict.unknown
    return Studies(
        {uid: Study(values, wanted_by[uid]) for uid, values in told.items()},
        joined(
            reports_of(asked, failures, verdicts),
            {row: _report_elsewhere(asked[row], answers) for row, answers in elsewhere.items()},
        ),
        frozenset(key for result in results for key in absent_keys(STUDY_RETURN_KEYS, result.answers)),
    )


def _failure(result: FindResult) -> str:
    if not all(is_single_key(values.get("StudyInstanceUID") or "") for values in result.answers):
        return "STUDY level: an answer without a usable StudyInstanceUID"
    return f"STUDY level: {result.failure}" if result.failure else ""


def _report_elsewhere(query: Query, answers: Sequence[Values]) -> RowReport:
    """What is known of the studies of a row whose patients belong to other parts."""
    one = names_accession(query)
    studies = {each["StudyInstanceUID"] or "": each.get("PatientID") for each in answers if one}
    return RowReport(query, elsewhere=len(answers), other_studies=studies)


def join_studies(*parts: Studies) -> Studies:
    """The studies and reports of several asks in one; the values of a study are those of its first answer."""
    studies: dict[str, Study] = {}
    for part in parts:
        for uid, study in part.studies.items():
            studies[uid] = _both(studies[uid], study) if uid in studies else study
    return Studies(
        studies,
        joined(*(part.reports for part in parts)),
        frozenset(key for part in parts for key in part.missing_keys),
    )


def _both(first: Study, later: Study) -> Study:
    return Study(first.values, {**first.wanted_by, **later.wanted_by})
