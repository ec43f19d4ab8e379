"""What became of each patient and study of a run: `logs/summary.csv`, and with its totals `logs/summary.json`.

It is what a data manager reports: patients asked for, found, complete, incomplete, missing, not found, excluded. Both
hold identities: 0600. Patients who are excluded are counted, and named nowhere.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from pacsifier.disk.files import write_whole
from pacsifier.disk.names import SUMMARY_JSON_NAME, SUMMARY_NAME
from pacsifier.disk.tree import Tree
from pacsifier.query import QueryTable
from pacsifier.query.shard import names_patient
from pacsifier.transfer.exclusion import Excluded
from pacsifier.transfer.model import Plan, SeriesState, Status
from pacsifier.transfer.options import Job
from pacsifier.transfer.record.outcomes import Outcome
from pacsifier.transfer.record.summary import Summary
from pacsifier.transfer.record.tables import csv_lines

COMPLETE, LISTED, INCOMPLETE, MISSING, LEFT_OUT = "complete", "listed", "incomplete", "missing", "left_out"
NOT_FOUND = "not_found"
FOUND = (COMPLETE, LISTED, INCOMPLETE, MISSING, LEFT_OUT)
"""What becomes of a study or patient that the PACS has: all of it is there or, where nothing was to be fetched, listed;
some of it is missing; nothing of it came; --limit left it out."""


@dataclass(frozen=True, slots=True)
class StudyOutcome:
    """What became of a study; numbers of instances and series, `announced` "" where the PACS does not tell.

    A patient asked for of whom nothing was found has a row of its own, without study.
    """

    PatientID: str
    StudyInstanceUID: str = ""
    StudyDate: str = ""
    outcome: str = NOT_FOUND
    reason: str = ""
    series: int = 0
    series_complete: int = 0
    announced: int | str = ""
    arrived: int = 0
    bytes: int = 0
    query_rows: str = ""


COLUMNS = tuple(field.name for field in fields(StudyOutcome))


def write_report(
    tree: Tree, job: Job, plan: Plan, outcomes: Mapping[int, Outcome], summary: Summary, *, ended: str
) -> dict[str, int | None]:
    """Writes both files; `outcomes` by first row number. Returns the counts of patients."""
    excluded = job.options.excluded
    named = {each: rows for each, rows in named_patients(job.table).items() if each not in excluded}
    studies = [*studies_of(plan.states), *not_found(named, plan.states, outcomes)]
    patients = patients_of(named, plan, studies, excluded)
    totals = {
        "run": job.name,
        "ended": ended,
        "did": [name for name in ("save", "info", "move", "resume") if getattr(job.options, name)],
        "patients": patients,
        "studies": _totals([study.outcome for study in studies if study.StudyInstanceUID]),
        "series": {status.value: number for status, number in summary.series.items()},
        "rows": dict(sorted(summary.outcomes.items())),
        "instances": summary.instances,
        "bytes": summary.bytes,
        "problems": list(summary.problems),
    }
    # Made anew for each file, a row at a time: there may be 10,000.
    table = csv_lines(COLUMNS, (list(map(str, asdict(study).values())) for study in studies))
    write_whole(tree.logs / SUMMARY_NAME, table, 0o600)
    write_whole(tree.logs / SUMMARY_JSON_NAME, json_lines(totals, map(asdict, studies)), 0o600)
    return patients


def json_lines(totals: Mapping[str, object], rows: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """One object: the totals, and `outcomes` with a study a line."""
    yield json.dumps(totals, indent=1, ensure_ascii=False).removesuffix("\n}")
    yield ',\n "outcomes": ['
    for number, row in enumerate(rows):
        yield f"{',' if number else ''}\n  {json.dumps(row, ensure_ascii=False)}"
    yield "\n ]\n}\n"


def joined_totals(parts: Sequence[Mapping[str, Any]], rows: Mapping[str, int]) -> dict[str, object]:
    """The totals of many parts, of which no two share a patient, as those of one run. Pure.

    `rows`: the outcomes of the query rows, which parts share; `run` and `ended` are those of each part.
    """
    totals: dict[str, object] = {name: [part[name] for part in parts] for name in ("run", "ended")}
    totals["did"] = sorted({did for part in parts for did in part["did"]})
    totals |= {name: _added(parts, name) for name in ("patients", "studies", "series")}
    if parts:
        # All parts have the same list, and those that name nobody count nobody.
        asked = sum(part["patients"]["asked"] or 0 for part in parts) or None
        opted_out = max(part["patients"]["opted_out"] for part in parts)
        totals["patients"] = {**_added(parts, "patients"), "asked": asked, "opted_out": opted_out}
    totals["rows"] = dict(sorted(rows.items()))
    for name in ("instances", "bytes"):
        totals[name] = sum(part[name] for part in parts)
    totals["problems"] = list(dict.fromkeys(problem for part in parts for problem in part["problems"]))
    return totals


def _added(parts: Iterable[Mapping[str, Any]], name: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update({each: number or 0 for each, number in part[name].items()})
    return dict(counts)


def rows_of(table: Iterable[Mapping[str, str]]) -> Iterator[dict[str, object]]:
    """The rows of `summary.csv` as `summary.json` holds them."""
    numbers = {field.name for field in fields(StudyOutcome) if "int" in str(field.type)}
    for row in table:
        yield {name: int(cell) if name in numbers and cell else cell for name, cell in row.items()}


def studies_of(states: Iterable[SeriesState]) -> list[StudyOutcome]:
    """What became of each study, by patient. Pure."""
    by_study: dict[tuple[str, str], list[SeriesState]] = defaultdict(list)
    for state in states:
        if state.status not in (Status.NOT_WANTED, Status.EXCLUDED):
            by_study[state.series.values.get("PatientID") or "", state.series.study_uid].append(state)
    return [_study(*key, by_study[key]) for key in sorted(by_study)]


def _study(patient_id: str, study_uid: str, states: Sequence[SeriesState]) -> StudyOutcome:
    announced = [state.series.expected for state in states]
    return StudyOutcome(
        PatientID=patient_id,
        StudyInstanceUID=study_uid,
        StudyDate=states[0].series.values.get("StudyDate") or "",
        outcome=together(_of_series(state) for state in states),
        reason=next((state.reason for state in states if not state.status.settled), ""),
        series=len(states),
        series_complete=sum(state.status.completed and not state.arrived for state in states),
        announced="" if None in announced else sum(number or 0 for number in announced),
        arrived=sum(state.files for state in states),
        bytes=sum(state.bytes for state in states),
        query_rows=" ".join(
            map(
                str,
                sorted({row for state in states for row in (*state.series.rows, *state.series.undecided)}),
            )
        ),
    )


def _of_series(state: SeriesState) -> str:
    if state.status.completed and not state.arrived:
        return COMPLETE
    if state.status in (Status.LISTED, Status.LEFT_OUT):
        return LISTED if state.status is Status.LISTED else LEFT_OUT
    return INCOMPLETE if state.files else MISSING


def together(outcomes: Iterable[str]) -> str:
    """The outcome of a whole from those of its parts: the one that all have, else incomplete. Pure."""
    first, *others = dict.fromkeys(outcomes)
    return INCOMPLETE if others else first


def named_patients(table: QueryTable) -> dict[str, array[int]]:
    """The first row numbers of the queries that name each patient; of a series table by what its rows tell."""
    rows: dict[str, array[int]] = defaultdict(lambda: array("I"))
    for query in table.queries:
        first = query.rows[0]
        patient_id = query.cells.get("PatientID", query.patient)
        if patient_id and names_patient(query):
            rows[patient_id].append(first)
    return rows


def not_found(
    named: Mapping[str, Sequence[int]], states: Iterable[SeriesState], outcomes: Mapping[int, Outcome]
) -> list[StudyOutcome]:
    """The patients named of whom no row found anything, with what became of their first row. Pure."""
    # A byte a row: of a series table there may be 100,000.
    last = max(map(max, named.values()), default=0)
    found = bytearray(last + 1)
    for state in states:
        for row in (*state.series.rows, *state.series.undecided):
            if row <= last:
                found[row] = 1
    left = []
    for patient_id, rows in sorted(named.items()):
        outcome, reason = outcomes[rows[0]]
        if not any(found[row] for row in rows) and "excluded" not in {outcomes[row][0] for row in rows}:
            numbers = " ".join(map(str, rows))
            left.append(StudyOutcome(patient_id, outcome=outcome, reason=reason, query_rows=numbers))
    return left


def patients_of(
    named: Mapping[str, Sequence[int]], plan: Plan, studies: Iterable[StudyOutcome], excluded: Excluded
) -> dict[str, int | None]:
    """How many patients were asked for by PatientID (None: no row names any), and what became of all. Pure.

    `excluded`: those of the list of --exclude_patients of whom something would have come, or came and was deleted;
    `opted_out`: all of that list.
    """
    of_patient: dict[str, list[str]] = defaultdict(list)
    for study in studies:
        of_patient[study.PatientID].append(study.outcome)
    barred = (*plan.barred, *(state for state in plan.states if state.status is Status.EXCLUDED))
    return {
        "asked": len(named) or None,
        **_totals([together(each) for each in of_patient.values()]),
        "excluded": len({state.series.values.get("PatientID") for state in barred}),
        "opted_out": excluded.people,
    }


def _totals(outcomes: Sequence[str]) -> dict[str, int]:
    """How many were found, and how often each outcome is there; those that the PACS has are always told."""
    count = Counter(outcomes)
    others = sorted(count.keys() - {*FOUND, NOT_FOUND})
    return {
        "found": sum(count[each] for each in FOUND),
        **{each: count[each] for each in (*FOUND, NOT_FOUND, *others)},
    }
