"""From query rows to series: hierarchical C-FIND (Study Root), matched again on this side.

STUDY level for all rows, then SERIES level once for each study, then, only where the PACS told too little, the
IMAGE level; one findscu a level. A series that several rows want appears once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pacsifier.query import WHOLE, Query, Shard, by_first_row, is_uid
from pacsifier.query.series import Series
from pacsifier.transfer.find.answers import joined, values_of, whole_number
from pacsifier.transfer.find.images import Decided, decide_by_images, reject_empty
from pacsifier.transfer.find.series import ListedSeries, find_series, image_columns
from pacsifier.transfer.find.studies import Studies, Study, find_studies, names_accession
from pacsifier.transfer.find.zeros import with_zeros_told
from pacsifier.transfer.model import NOTHING_MATCHES, Finds, Found, RowReport, RowReports, Shortage


def find(
    finds: Finds,
    queries: Sequence[Query],
    *,
    image_values: bool,
    list_all: bool,
    headers_decide: bool,
    shard: Shard = WHOLE,
) -> Found:
    """Finds what the rows of a query ask for.

    `image_values`: also ask for values that only an image holds (--info); `list_all`: rows of a SeriesInstanceUID
    alone may list all studies (--yes); `headers_decide`: what the PACS does not tell, the images will (--save);
    `shard`: the part whose patients are taken.

    Raises:
        AssociationError: there was no association.
    """
    asked = by_first_row(queries)
    studies = find_studies(finds, queries, list_all=list_all, shard=shard)
    columns = image_columns(queries, image_values=image_values)
    listed = find_series(finds, asked, studies.studies, columns)
    missing_keys = tuple(sorted(studies.missing_keys | listed.missing_keys))
    if listed.doubted:
        studies, listed = _widened(finds, asked, studies, listed, columns, list_all=list_all, shard=shard)
    by_images = decide_by_images(finds, asked, listed.series)
    kept = Decided(by_images.series, {}) if headers_decide else reject_empty(asked, by_images.series)
    plain = RowReports(asked, {}, shard.divides)
    told = joined(studies.reports, listed.reports, by_images.reports, kept.reports)
    reports = plain.changed({row: plain[row].followed_by(report) for row, report in told.items()})
    return Found(
        kept.series,
        with_zeros_told(finds, _concluded(reports, kept.series)),
        _sop_classes(studies.studies.values(), kept.series),
        listed.series_of_study,
        missing_keys,
        shortages(asked, studies.studies, listed),
    )


def _widened(
    finds: Finds,
    asked: Mapping[int, Query],
    studies: Studies,
    listed: ListedSeries,
    columns: Sequence[str],
    *,
    list_all: bool,
    shard: Shard,
) -> tuple[Studies, ListedSeries]:
    """The studies and series once the rows of doubted studies were asked for again without counts."""
    rows = {row for uid in listed.doubted for row in studies.studies[uid].wanted_by}
    queries = [asked[row] for row in sorted(rows)]
    again = find_studies(finds, queries, list_all=list_all, shard=shard, counts=False)
    new = {uid: study for uid, study in again.studies.items() if uid not in studies.studies}
    failed = {row: report for row, report in again.reports.items() if report.failure}
    if not new and not failed:
        return studies, listed
    # One line stood for several studies: what it announced was for all of them.
    beside = {row for study in new.values() for row in study.wanted_by}
    known = {
        uid: replace(study, values={**study.values, "NumberOfStudyRelatedSeries": None})
        if beside & study.wanted_by.keys()
        else study
        for uid, study in studies.studies.items()
    }
    more = find_series(finds, asked, new, columns, counts=False)
    reports = joined(
        studies.reports, {row: RowReport(asked[row], failure=each.failure) for row, each in failed.items()}
    )
    return Studies({**known, **new}, reports), listed.followed_by(more)


def shortages(
    asked: Mapping[int, Query], studies: Mapping[str, Study], listed: ListedSeries
) -> dict[str, Shortage]:
    """The studies of which not all that the PACS tells of is listed, by StudyInstanceUID. Pure.

    A row of a SeriesInstanceUID has what it asks for.
    """
    short = {}
    for uid, each in listed.doubted.items():
        study, number = studies[uid], listed.series_of_study[uid]
        announced = max(whole_number(study.values.get("NumberOfStudyRelatedSeries")) or 0, each.copies)
        rows = tuple(row for row in study.wanted_by if "SeriesInstanceUID" not in asked[row].cells)
        if number < announced and rows:
            whole = any(asked[row].wants_whole_studies for row in rows)
            short[uid] = Shortage(number, announced, rows, whole)
    return short


def _sop_classes(studies: Iterable[Study], series: Iterable[Series]) -> frozenset[str]:
    """The SOP classes that the PACS told of, of whole studies and of single instances."""
    classes = {uid for study in studies for uid in values_of(study.values.get("SOPClassesInStudy"))}
    classes |= {instance.sop_class for each in series for instance in each.instances or ()}
    return frozenset(filter(is_uid, classes))


def _concluded(reports: RowReports, found: Sequence[Series]) -> RowReports:
    """The reports with what can be told once all series are known; of most rows there is nothing."""
    several = {row for row, query in reports.asked.items() if names_accession(query)}
    wanted = {row for series in found for row in (*series.rows, *series.undecided)}
    wanted_by: dict[int, list[Series]] = defaultdict(list)
    for series in found if several else ():
        for row in several.intersection((*series.rows, *series.undecided)):
            wanted_by[row].append(series)
    changed = {}
    for row in reports:
        if row in several or row not in wanted:
            before = reports[row]
            if (after := conclude(before, wanted_by.get(row, ()))) is not before:
                changed[row] = after
    return reports.changed(changed)


def conclude(report: RowReport, wanted: Sequence[Series]) -> RowReport:
    """The report of a row once all that it wants is known: it found nothing, or too many studies. Pure."""
    if not wanted and not report.failure:
        rejected = ", ".join(f"{column} ({number})" for column, number in sorted(report.rejected.items()))
        why = f"; answers rejected here by {rejected}" if rejected else ""
        return replace(report, not_found=f"{NOTHING_MATCHES}{why}")
    studies = {series.study_uid for series in wanted} | {*report.other_studies}
    if wanted and len(studies) > 1 and names_accession(report.query):
        patients = {series.values.get("PatientID") for series in wanted} | {*report.other_studies.values()}
        count = f"{len(studies)} studies of {len(patients)} patients"
        return replace(report, ambiguous=f"{count} for one accession number")
    return report
