"""From query rows to series: hierarchical C-FIND (Study Root), matched again on this side.

STUDY level for all rows, then SERIES level once for each study, then, only where the PACS told too little, the
IMAGE level; one findscu a level. A series that several rows want appears once.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from pacsifier.dcmtk.findscu import FindResult, Values
from pacsifier.dcmtk.identifiers import Keys
from pacsifier.query import (
    INFO_COLUMNS,
    WHOLE,
    Match,
    Query,
    Shard,
    ascii_wildcards,
    halves,
    is_single_key,
    is_uid,
    study_keys,
)
from pacsifier.query.series import Series
from pacsifier.transfer.find.answers import (
    NOTHING_UNKNOWN,
    Finds,
    columns_at,
    compare,
    looks_capped,
    merged,
    values_of,
    whole_number,
)
from pacsifier.transfer.find.images import instances_of, list_instances
from pacsifier.transfer.model import Found, RowReport

log = logging.getLogger(__name__)

STUDY_RETURN_KEYS = (
    *("StudyInstanceUID", "PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "StudyDate"),
    *("StudyTime", "StudyDescription", "AccessionNumber", "NumberOfStudyRelatedSeries", "ModalitiesInStudy"),
    *("SOPClassesInStudy", "InstanceAvailability"),
)
SERIES_RETURN_KEYS = (
    *("StudyInstanceUID", "SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription"),
    "NumberOfSeriesRelatedInstances",
)
_DEEPEST_SPLIT = 16
_MOST_SPLITS = 200


@dataclass
class _Study:
    values: Values
    # Row number -> STUDY-level columns on which the PACS told too little.
    wanted_by: dict[int, tuple[str, ...]] = field(default_factory=dict)


class Finder:
    """Finds what the rows of a query ask for.

    `image_values`: also ask for values that only an image holds (--info); `list_all`: rows of a SeriesInstanceUID
    alone may list all studies (--yes); `headers_decide`: what the PACS does not tell, the images will (--save);
    `shard`: the part whose patients are taken.
    """

    def __init__(
        self,
        pacs: Finds,
        queries: Sequence[Query],
        *,
        image_values: bool,
        list_all: bool,
        headers_decide: bool,
        shard: Shard = WHOLE,
    ) -> None:
        self._pacs = pacs
        self._queries = queries
        self._image_values = image_values
        self._list_all = list_all
        self._headers_decide = headers_decide
        self._shard = shard
        self._reports = {query.rows[0]: RowReport(query, divided=shard.divides(query)) for query in queries}
        self._studies: dict[str, _Study] = {}
        self._missing_keys: set[str] = set()
        # Most series are wanted by the same rows.
        self._shared_rows: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._series_of_study: Counter[str] = Counter()
        self._splits = 0

    def find(self) -> Found:
        """Runs all levels.

        Raises:
            AssociationError: there was no association.
        """
        self._find_studies()
        found = self._find_series()
        found = self._decide_by_images(found)
        if not self._headers_decide:
            found = self._reject_empty(found)
        wanted_by: dict[int, list[Series]] = defaultdict(list)
        for series in found:
            for row in {*series.rows, *series.undecided}:
                wanted_by[row].append(series)
        for row, report in self._reports.items():
            self._conclude(report, wanted_by[row])
        classes = {
            uid
            for study in self._studies.values()
            for uid in values_of(study.values.get("SOPClassesInStudy"))
        }
        classes |= {instance.sop_class for series in found for instance in series.instances or ()}
        return Found(
            tuple(found),
            self._reports,
            frozenset(filter(is_uid, classes)),
            self._series_of_study,
            tuple(sorted(self._missing_keys)),
        )

    # -- STUDY level

    def _find_studies(self) -> None:
        hierarchical = [query for query in self._queries if not _only_series_uid(query)]
        requests = [(query, keys) for query in hierarchical for keys in study_keys(query)]
        results = self._ask_studies(requests)
        self._take_studies(requests, results)
        answered = {row for study in self._studies.values() for row in study.wanted_by}
        answered |= {row for row, report in self._reports.items() if report.failure or report.elsewhere}
        self._try_wildcards([query for query in hierarchical if query.rows[0] not in answered])
        self._find_by_series_uid([query for query in self._queries if _only_series_uid(query)])

    def _try_wildcards(self, queries: Iterable[Query]) -> None:
        """Asks again with `*` for non-ASCII characters: some PACS compare bytes of another character set."""
        requests = []
        for query in queries:
            for keys in study_keys(query):
                plain = {keyword: ascii_wildcards(value) for keyword, value in keys.items()}
                if plain != dict(keys) and "*" not in plain.values():
                    requests.append((query, plain))
        self._take_studies(requests, self._ask_studies(requests))

    def _ask_studies(self, requests: Sequence[tuple[Query, Keys]]) -> list[FindResult]:
        keys = [{**dict.fromkeys(STUDY_RETURN_KEYS, ""), **asked} for _, asked in requests]
        results = self._pacs.find("STUDY", keys)
        return [
            self._split_by_date(each, result) if looks_capped(result) else result
            for each, result in zip(keys, results, strict=True)
        ]

    def _split_by_date(self, keys: Keys, result: FindResult, depth: int = 0) -> FindResult:
        """Asks a capped find again in two halves of its StudyDate, down to single days."""
        parts = halves(keys.get("StudyDate") or None, f"{date.today():%Y%m%d}")
        if keys.get("StudyInstanceUID"):
            return result
        if parts is None or depth == _DEEPEST_SPLIT or self._splits >= _MOST_SPLITS:
            count = f"{len(result.answers)} answers however narrow the dates"
            return replace(
                result, failure=result.failure or f"{count} look like a cap of the PACS: narrow the row"
            )
        self._splits += 1
        answers: dict[str, Values] = {each.get("StudyInstanceUID") or "": each for each in result.answers}
        failure = None
        identifiers = [{**keys, "StudyDate": part} for part in parts]
        for each, part in zip(identifiers, self._pacs.find("STUDY", identifiers), strict=True):
            # Once a part cannot be had whole, the row fails: the others need not be cut finer.
            split = looks_capped(part) and not failure
            whole = self._split_by_date(each, part, depth + 1) if split else part
            answers |= {answer.get("StudyInstanceUID") or "": answer for answer in whole.answers}
            failure = failure or whole.failure
        return FindResult(tuple(answers.values()), result.status, failure)

    def _take_studies(self, requests: Sequence[tuple[Query, Keys]], results: Sequence[FindResult]) -> None:
        for (query, _), result in zip(requests, results, strict=True):
            if result.failure:
                self._reports[query.rows[0]].failure = f"STUDY level: {result.failure}"
            self._note_missing(STUDY_RETURN_KEYS, result.answers)
            for values in result.answers:
                self._take_study(query, values)

    def _take_study(self, query: Query, values: Values) -> None:
        report = self._reports[query.rows[0]]
        uid = values.get("StudyInstanceUID")
        if not uid or not is_single_key(uid):
            report.failure = "STUDY level: an answer without a usable StudyInstanceUID"
            return
        verdict = compare(query, values, columns_at("STUDY"))
        if verdict.result is Match.NO:
            report.rejected.update(verdict.rejected_by)
            return
        patient_id = values.get("PatientID")
        if report.divided and not self._shard.holds(patient_id):
            report.elsewhere += 1
            if _names_accession(query):
                report.other_studies[uid] = patient_id
            return
        report.lenient.update(verdict.lenient)
        study = self._studies.setdefault(uid, _Study(values))
        study.wanted_by[query.rows[0]] = verdict.unknown

    def _find_by_series_uid(self, queries: Sequence[Query]) -> None:
        """A row of a SeriesInstanceUID alone: the one relational query, its answers checked, then its study."""
        if self._list_all:
            requests: list[tuple[Query, Keys]] = [(query, {}) for query in queries]
            self._take_studies(requests, self._ask_studies(requests))
            return
        keys = [
            {"SeriesInstanceUID": query.cells["SeriesInstanceUID"], "StudyInstanceUID": ""}
            for query in queries
        ]
        found = []
        for query, result in zip(queries, self._pacs.find("SERIES", keys), strict=True):
            uids = {answer.get("SeriesInstanceUID") for answer in result.answers}
            studies = {answer.get("StudyInstanceUID") or "" for answer in result.answers}
            strangers = uids - {query.cells["SeriesInstanceUID"]}
            if result.failure or strangers or not all(map(is_single_key, studies)):
                self._reports[query.rows[0]].failure = (
                    "the PACS answers no SeriesInstanceUID alone; add StudyInstanceUID or PatientID to the row, "
                    "or let all studies be listed with --yes"
                )
                continue
            found += [(query, {"StudyInstanceUID": uid}) for uid in sorted(studies)]
        self._take_studies(found, self._ask_studies(found))

    # -- SERIES level

    def _find_series(self) -> list[Series]:
        uids = list(self._studies)
        image_columns = self._image_columns()
        base = dict.fromkeys((*SERIES_RETURN_KEYS, *image_columns), "")
        results = self._pacs.find("SERIES", [{**base, "StudyInstanceUID": uid} for uid in uids])
        found: dict[tuple[str, str], Series] = {}
        for uid, result in zip(uids, results, strict=True):
            if result.failure:
                for row in self._studies[uid].wanted_by:
                    self._reports[row].failure = f"SERIES level: {result.failure}"
            self._note_missing(base, result.answers)
            self._series_of_study[uid] = len(result.answers)
            self._check_number_of_series(uid, result)
            for answer in result.answers:
                series = self._series_of(self._studies[uid], uid, answer)
                if series is not None:
                    found.setdefault(series.key, series)
        return list(found.values())

    def _check_number_of_series(self, uid: str, result: FindResult) -> None:
        """A study that answers with no series, or with a round number of them below the announced, is no result."""
        study = self._studies[uid]
        announced = whole_number(study.values.get("NumberOfStudyRelatedSeries"))
        listed = len(result.answers)
        if not result.failure and announced and listed < announced and (not listed or looks_capped(result)):
            for row in study.wanted_by:
                self._reports[row].failure = f"SERIES level: {listed} of {announced} series of a study listed"

    def _image_columns(self) -> tuple[str, ...]:
        """IMAGE-level attributes worth asking for: those that a row filters on, all of them for --info."""
        asked = {column for query in self._queries for column in query.cells}
        if self._image_values:
            asked.update(INFO_COLUMNS)
        return tuple(column for column in INFO_COLUMNS if column in asked and column in columns_at("IMAGE"))

    def _series_of(self, study: _Study, study_uid: str, answer: Values) -> Series | None:
        if not is_single_key(answer.get("SeriesInstanceUID") or ""):
            for row in study.wanted_by:
                self._reports[row].failure = "SERIES level: an answer without a usable SeriesInstanceUID"
            return None
        if (answer.get("StudyInstanceUID") or study_uid) != study_uid:
            for row in study.wanted_by:
                self._reports[row].rejected.update(["StudyInstanceUID"])
            return None
        values = merged(study.values, answer)
        rows, undecided = self._verdicts(study.wanted_by, values)
        if not rows and not undecided:
            return None
        return Series(values, rows, undecided, whole_number(values.get("NumberOfSeriesRelatedInstances")))

    def _verdicts(
        self, wanted_by: Mapping[int, tuple[str, ...]], values: Values
    ) -> tuple[tuple[int, ...], Mapping[int, tuple[str, ...]]]:
        rows, undecided = [], {}
        for row, unknown_of_study in wanted_by.items():
            report = self._reports[row]
            verdict = compare(report.query, values, columns_at("SERIES", "IMAGE"))
            unknown = (*unknown_of_study, *verdict.unknown)
            if verdict.result is Match.NO:
                report.rejected.update(verdict.rejected_by)
                continue
            report.lenient.update(verdict.lenient)
            if unknown:
                undecided[row] = unknown
            else:
                rows.append(row)
        return self._shared_rows.setdefault(tuple(rows), tuple(rows)), undecided or NOTHING_UNKNOWN

    # -- IMAGE level

    def _decide_by_images(self, found: list[Series]) -> list[Series]:
        open_series = [series for series in found if series.undecided]
        columns = sorted(
            {column for series in open_series for each in series.undecided.values() for column in each}
        )
        if not open_series:
            return found
        listed = list_instances(self._pacs, open_series, columns)
        decided: dict[tuple[str, str], Series | None] = {}
        for series, answers in zip(open_series, listed, strict=True):
            decided[series.key] = self._decide(series, answers)
        return [each for series in found if (each := decided.get(series.key, series)) is not None]

    def _decide(self, series: Series, listed: FindResult) -> Series | None:
        """The series with those rows settled that the IMAGE level settles; None: no row wants it after all."""
        if listed.failure or not listed.answers:
            return series
        rows, undecided = list(series.rows), {}
        for row, columns in series.undecided.items():
            query = self._reports[row].query
            verdicts = [compare(query, answer, columns) for answer in listed.answers]
            results = {verdict.result for verdict in verdicts}
            if Match.YES in results:
                rows.append(row)
            elif Match.UNKNOWN in results:
                undecided[row] = columns
            else:
                self._reports[row].rejected.update(verdicts[0].rejected_by)
        if not rows and not undecided:
            return None
        return replace(series, rows=tuple(sorted(rows)), undecided=undecided, instances=instances_of(listed))

    def _reject_empty(self, found: list[Series]) -> list[Series]:
        """Takes an empty value as not matching where the PACS tells that key for another series of this run.

        Only where no image will be fetched whose header could decide (info and move); each is counted for its row.
        """
        told = {column for series in found for column, value in series.values.items() if value}
        kept = []
        for series in found:
            empty = {
                row
                for row, columns in series.undecided.items()
                if all(column in told and series.values.get(column) == "" for column in columns)
            }
            for row in empty:
                self._reports[row].empty.update(series.undecided[row])
            left = {row: columns for row, columns in series.undecided.items() if row not in empty}
            if series.rows or left:
                kept.append(replace(series, undecided=left))
        return kept

    # -- rows

    def _conclude(self, report: RowReport, wanted: Sequence[Series]) -> None:
        if not wanted and not report.failure:
            rejected = ", ".join(f"{column} ({number})" for column, number in sorted(report.rejected.items()))
            report.not_found = "nothing matches" + (
                f"; answers rejected here by {rejected}" if rejected else ""
            )
        if wanted and _names_accession(report.query):
            others = report.other_studies
            patients = {series.values.get("PatientID") for series in wanted} | {*others.values()}
            studies = {series.study_uid for series in wanted} | {*others}
            if len(studies) > 1:
                report.ambiguous = (
                    f"{len(studies)} studies of {len(patients)} patients for one accession number"
                )

    def _note_missing(self, asked: Iterable[str], answers: Sequence[Values]) -> None:
        if answers:
            self._missing_keys.update(
                key for key in asked if all(answer.get(key) is None for answer in answers)
            )


def _only_series_uid(query: Query) -> bool:
    return "SeriesInstanceUID" in query.cells and not columns_at("STUDY") & set(query.cells)


def _names_accession(query: Query) -> bool:
    return not set("*?") & set(query.cells.get("AccessionNumber", "*"))
