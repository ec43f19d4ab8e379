"""The IMAGE level: which instances a series has, and which rows that were left undecided want it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pacsifier.dcmtk.findscu import FindResult, Values
from pacsifier.dcmtk.identifiers import LONGEST_UID_LIST, Keys
from pacsifier.errors import AssociationError
from pacsifier.query import Match, Query, Verdict, is_uid
from pacsifier.query.series import Instance, Series
from pacsifier.transfer.find.answers import NOTHING_UNKNOWN, compare, looks_capped, reports_of
from pacsifier.transfer.model import Finds, RowReport, SeriesState


@dataclass(frozen=True)
class Decided:
    """The series that rows still want, and the rows' reports by first row number."""

    series: tuple[Series, ...]
    reports: Mapping[int, RowReport]


def decide_by_images(finds: Finds, asked: Mapping[int, Query], series: tuple[Series, ...]) -> Decided:
    """Asks for the instances of those series that a row is undecided about; `asked`: rows by first row number.

    Raises:
        AssociationError: there was no association.
    """
    open_series = [each for each in series if each.undecided]
    if not open_series:
        return Decided(series, {})
    columns = {column for each in open_series for unknown in each.undecided.values() for column in unknown}
    listed = list_instances(finds, open_series, sorted(columns))
    decided: dict[tuple[str, str], Series | None] = {}
    verdicts: Counter[tuple[int, Verdict]] = Counter()
    for each, result in zip(open_series, listed, strict=True):
        decided[each.key], rejected = decide(asked, each, result)
        verdicts.update(rejected.items())
    left = (decided.get(each.key, each) for each in series)
    return Decided(tuple(each for each in left if each is not None), reports_of(asked, {}, verdicts))


def decide(
    asked: Mapping[int, Query], series: Series, listed: FindResult
) -> tuple[Series | None, dict[int, Verdict]]:
    """The series with those rows settled that its instances settle, and the verdict of those that it is not for. Pure.

    None: no row wants it after all.
    """
    if listed.failure or not listed.answers:
        return series, {}
    rows, undecided, rejected = list(series.rows), {}, {}
    for row, columns in series.undecided.items():
        verdicts = [compare(asked[row], answer, columns) for answer in listed.answers]
        results = {verdict.result for verdict in verdicts}
        if Match.YES in results:
            rows.append(row)
        elif Match.UNKNOWN in results:
            undecided[row] = columns
        else:
            rejected[row] = verdicts[0]
    if not rows and not undecided:
        return None, rejected
    # A list that looks cut by the PACS settles who wants the series, not what it holds.
    instances = series.instances if looks_capped(listed) else instances_of(listed)
    left = undecided or NOTHING_UNKNOWN
    return replace(series, rows=tuple(sorted(rows)), undecided=left, instances=instances), rejected


def reject_empty(asked: Mapping[int, Query], series: Sequence[Series]) -> Decided:
    """Takes an empty value as not matching where the PACS tells that key for another series of this run. Pure.

    Only where no image will be fetched whose header could decide (info and move); each is counted for its row.
    """
    told = {column for each in series for column, value in each.values.items() if value}
    empty: dict[int, Counter[str]] = defaultdict(Counter)
    kept = []
    for each in series:
        left = {}
        for row, columns in each.undecided.items():
            if all(column in told and each.values.get(column) == "" for column in columns):
                empty[row].update(columns)
            else:
                left[row] = columns
        if each.rows or left:
            kept.append(replace(each, undecided=left) if len(left) < len(each.undecided) else each)
    return Decided(tuple(kept), {row: RowReport(asked[row], empty=columns) for row, columns in empty.items()})


def list_instances(
    finds: Finds, series: Sequence[Series], columns: Iterable[str] = (), *, uid_lists: bool = False
) -> list[FindResult]:
    """Asks the IMAGE level for the instances of each series, and for the values of `columns`.

    `uid_lists`: asks once for all series of a study, which costs a PACS without an index no more than one series does;
    series that such an answer leaves open are asked for one by one.
    """
    keys = dict.fromkeys(("SOPInstanceUID", "SOPClassUID", *columns), "")
    results: dict[tuple[str, str], FindResult] = {}
    if uid_lists:
        results = _list_by_study(finds, series, keys)
    left = [each for each in series if each.key not in results]
    singles = finds.find(
        "IMAGE",
        [{**keys, "StudyInstanceUID": each.study_uid, "SeriesInstanceUID": each.series_uid} for each in left],
    )
    for each, result in zip(left, singles, strict=True):
        answers = tuple(answer for answer in result.answers if _belongs(answer, each))
        results[each.key] = replace(result, answers=answers)
    return [results[each.key] for each in series]


def _list_by_study(finds: Finds, series: Sequence[Series], keys: Keys) -> dict[tuple[str, str], FindResult]:
    """The answers by series, where a list of Series Instance UIDs was understood and answered whole."""
    studies: dict[str, list[Series]] = defaultdict(list)
    for each in series:
        studies[each.study_uid].append(each)
    lists = [
        each[start : start + LONGEST_UID_LIST]
        for each in studies.values()
        if len(each) > 1
        for start in range(0, len(each), LONGEST_UID_LIST)
    ]
    found: dict[tuple[str, str], FindResult] = {}
    # The first shows whether the PACS understands lists at all.
    for some in filter(None, (lists[:1], lists[1:])):
        requests = [
            {
                **keys,
                "StudyInstanceUID": each[0].study_uid,
                "SeriesInstanceUID": "\\".join(one.series_uid for one in each),
            }
            for each in some
        ]
        for asked, result in zip(some, finds.find("IMAGE", requests), strict=True):
            found |= _by_series(asked, result)
        if not found:
            break
    return found


def _by_series(asked: Sequence[Series], result: FindResult) -> dict[tuple[str, str], FindResult]:
    """The answer to a list, by series; empty where the list was refused or cut, or a series was left out."""
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


def tell_instances(
    finds: Finds, states: Sequence[SeriesState], *, uid_lists: bool
) -> AssociationError | None:
    """Enters the IMAGE-level lists into the states of series; returns the error where there was no association.

    A list that looks cut by the PACS cannot speak against a larger announced number, or for none; nor can one that
    lacks objects that the PACS itself has sent under the UIDs of the series.
    """
    try:
        listed = list_instances(finds, [state.series for state in states], uid_lists=uid_lists)
    except AssociationError as error:
        return error
    for state, result in zip(states, listed, strict=True):
        instances, announced = instances_of(result), state.series.announced
        if result.failure is not None or not (instances or announced == 0):
            continue
        more_announced = announced is not None and len(instances) < announced
        told = {each.sop_instance_uid for each in instances}
        if more_announced and not state.found.keys() <= told:
            continue
        if not looks_capped(result) or (announced is not None and not more_announced):
            state.tell(instances)
    return None
