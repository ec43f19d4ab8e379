"""What a data manager reports of a run: nobody is counted twice, called complete who is not, or named who opted out."""

from __future__ import annotations

import csv
import io
import json

import pytest

from pacsifier.query import read_query_file
from pacsifier.query.series import Series
from pacsifier.transfer.exclusion import NOBODY, load_excluded
from pacsifier.transfer.model import Plan, SeriesState, Status
from pacsifier.transfer.record.reporting import (
    COLUMNS,
    json_lines,
    named_patients,
    not_found,
    patients_of,
    studies_of,
    together,
)
from pacsifier.transfer.record.tables import csv_lines


def state(patient: str, study: str, status: Status, *, files: int = 0, row: int = 2) -> SeriesState:
    values = {"PatientID": patient, "StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.{status.value}"}
    made = SeriesState(Series(values, (row,), {}, 2), status, status.value, secure=True)
    for number in range(files):
        made.put(f"{study}.{number}", 10)
        made.settle_on_disk()
    return made


STATES = {
    "complete": [(Status.COMPLETE, 2), (Status.SKIPPED, 2)],
    "listed": [(Status.LISTED, 0)],
    "incomplete": [(Status.COMPLETE, 2), (Status.FAILED, 0)],
    "incomplete, in part": [(Status.INCOMPLETE, 1)],
    "missing": [(Status.FAILED, 0), (Status.PENDING, 0), (Status.UNDECIDED, 0)],
    "left_out": [(Status.LEFT_OUT, 0)],
    "incomplete, left out in part": [(Status.LEFT_OUT, 0), (Status.COMPLETE, 2)],
    "complete, what nobody wants aside": [(Status.COMPLETE, 2), (Status.NOT_WANTED, 2), (Status.EXCLUDED, 0)],
}


@pytest.mark.parametrize(("name", "made"), STATES.items(), ids=STATES)
def test_a_study_is_what_its_series_are_together(name, made):
    (study,) = studies_of([state("P", "1.2", status, files=files) for status, files in made])
    assert study.outcome == name.partition(",")[0]
    assert study.arrived == sum(files for status, files in made if status is not Status.NOT_WANTED)
    assert bool(study.reason) == (study.outcome in ("incomplete", "missing", "left_out"))


def test_what_is_not_yet_on_the_disk_is_not_complete():
    made = state("P", "1.2", Status.COMPLETE, files=2)
    made.put("9.9", 10)
    (study,) = studies_of([made])
    assert (study.outcome, study.series_complete) == ("incomplete", 0)


def test_studies_that_nothing_is_wanted_of_are_no_studies_of_the_run():
    assert studies_of([state("P", "1.2", Status.NOT_WANTED), state("P", "1.3", Status.EXCLUDED)]) == []


def test_patients_are_counted_once_by_what_all_their_studies_are(tmp_path):
    (tmp_path / "q.csv").write_text("PatientID\nA\nA\nB\nC\nGONE\nOUT*\n", encoding="utf-8")
    table = read_query_file(tmp_path / "q.csv")
    named = named_patients(table)
    assert list(named) == ["A", "B", "C", "GONE"]
    states = (
        *(state("A", f"1.{number}", Status.COMPLETE, files=2) for number in range(3)),
        state("B", "2.1", Status.COMPLETE, files=2, row=4),
        state("B", "2.2", Status.FAILED, row=4),
        state("C", "3.1", Status.FAILED, row=5),
    )
    outcomes = {query.rows[0]: ("not_found", "nothing matches") for query in table.queries}
    studies = [*studies_of(states), *not_found(named, states, outcomes)]
    barred = (state("OUT1", "4.1", Status.EXCLUDED), state("OUT1", "4.2", Status.EXCLUDED))
    counts = patients_of(named, Plan(states, {}, frozenset(), {}, barred=barred), studies, NOBODY)
    assert {name: number for name, number in counts.items() if number} == {
        "asked": 4,
        "found": 3,
        "complete": 1,
        "incomplete": 1,
        "missing": 1,
        "not_found": 1,
        "excluded": 1,
    }
    (gone,) = [study for study in studies if study.outcome == "not_found"]
    assert (gone.PatientID, gone.StudyInstanceUID, gone.query_rows, gone.reason) == (
        "GONE",
        "",
        "6",
        "nothing matches",
    )


def test_rows_that_name_nobody_leave_the_number_asked_open(tmp_path):
    (tmp_path / "q.csv").write_text("Modality,PatientID\nMR,\nCT,1*\n", encoding="utf-8")
    counts = patients_of(
        named_patients(read_query_file(tmp_path / "q.csv")), Plan((), {}, frozenset(), {}), [], NOBODY
    )
    assert counts["asked"] is None


def test_one_person_of_the_list_counts_once_however_spelled(tmp_path):
    (tmp_path / "list.txt").write_text('PatientID\n="0012"\n0012\n AB \nab\nC\n', encoding="utf-8")
    assert load_excluded(tmp_path / "list.txt").people == 3


@pytest.mark.parametrize("number", [0, 1, 3])
def test_json_and_csv_say_the_same(number):
    rows = [{column: f"{column} {each} é" for column in COLUMNS} for each in range(number)]
    told = json.loads("".join(json_lines({"run": "r", "patients": {"asked": None}}, rows)))
    assert told == {"run": "r", "patients": {"asked": None}, "outcomes": rows}
    text = "".join(csv_lines(COLUMNS, ([*row.values()] for row in rows)))
    assert list(csv.DictReader(io.StringIO(text))) == rows


def test_together_is_the_one_outcome_or_incomplete():
    assert together(["complete"] * 3) == "complete"
    assert together(["missing", "complete"]) == "incomplete"
