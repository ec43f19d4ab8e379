"""The tables of a run: what a user reads afterwards is what has happened, and earlier runs stay in it."""

from __future__ import annotations

import csv
import stat
from pathlib import Path

import pytest

from pacsifier.disk.names import LOG_MARK
from pacsifier.disk.tree import Tree
from pacsifier.query import Query, QueryTable, read_query_file
from pacsifier.query.series import Series
from pacsifier.transfer.model import Lasting, RowReport, SeriesState, Status
from pacsifier.transfer.record.journal import Journal
from pacsifier.transfer.record.outcomes import row_outcome, write_rows

QUERY = """\
PatientID,StudyDate,Modality,new_ids
123421,20150512,,P0001
45322,20180102-,MR,
45322,20180102-,MR,
"""
OWN = ["StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "FilesFound", "Completed"]


def table(folder: Path, text: str = QUERY) -> QueryTable:
    path = folder / "query.csv"
    path.write_text(text, encoding="utf-8")
    return read_query_file(path)


def state(
    uid: str = "1.2.3.4", rows: tuple[int, ...] = (2,), status: Status = Status.COMPLETE, **values: str | None
) -> SeriesState:
    found = {
        "PatientID": "123421",
        "StudyDate": "20150512",
        "Modality": "CT",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": uid,
        "SeriesNumber": "3",
        "SeriesDescription": "T1",
        **values,
    }
    return SeriesState(Series(found, rows, {}, 2), status, found={"1": 100, "2": 50}, secure=True)


def on_disk(folder: Path) -> SeriesState:
    """A series of which all lies in the tree."""
    made = state()
    made.lie_in(folder / "sub-1" / "ses-1" / "1-x")
    return made


def write(folder: Path, states: list[SeriesState], text: str = QUERY, destination: str = "") -> Journal:
    journal = Journal(Tree(folder), table(folder, text), destination)
    journal.follow(states)
    return journal


def read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
        return list(reader.fieldnames or ()), rows


def log(folder: Path) -> tuple[list[str], list[dict[str, str]]]:
    return read(folder / "logs" / "pacsifier_log.csv")


# --- the log --------------------------------------------------------------------------------------------------------


def test_the_log_begins_with_the_querys_columns_and_then_those_of_1_0_0(tmp_path: Path) -> None:
    write(tmp_path, [state()])
    columns, _ = log(tmp_path)
    assert columns[: 4 + len(OWN)] == ["PatientID", "StudyDate", "Modality", "new_ids", *OWN]
    assert len(columns) == len(set(columns))


def test_a_query_by_uid_does_not_give_a_column_twice(tmp_path: Path) -> None:
    write(tmp_path, [state()], "SeriesInstanceUID,StudyInstanceUID\n1.2.3.4,1.2.3\n")
    columns, (row,) = log(tmp_path)
    assert columns[:5] == ["SeriesInstanceUID", "StudyInstanceUID", "SeriesNumber", "FilesFound", "Completed"]
    assert (row["SeriesInstanceUID"], row["StudyInstanceUID"]) == ("1.2.3.4", "1.2.3")


def test_a_log_row_tells_what_became_of_a_series(tmp_path: Path) -> None:
    done = state(rows=(2,))
    done.lie_in(tmp_path / "sub-1" / "ses-1" / "00003-T1")
    done.reason, done.seconds = "was complete", 1.5
    write(tmp_path, [done])
    _, (row,) = log(tmp_path)
    expected = {
        "PatientID": "123421",
        "Modality": "CT",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.4",
        "SeriesNumber": "3",
        "FilesFound": "2",
        "FilesExpected": "2",
        "Completed": "True",
        "Status": "complete",
        "Reason": "was complete",
        "Bytes": "150",
        "query_rows": "2",
        "Folder": "sub-1/ses-1/00003-T1",
        "MoveDestination": "",
    }
    assert {column: row[column] for column in expected} == expected


def test_found_and_asked_values_are_both_in_the_log(tmp_path: Path) -> None:
    write(tmp_path, [state(rows=(3,), StudyDate="20190315")])
    _, (row,) = log(tmp_path)
    assert (row["StudyDate"], row["query_StudyDate"]) == ("20190315", "20180102-")
    assert (row["PatientID"], row["query_PatientID"]) == ("123421", "45322")


def test_a_series_of_several_rows_stands_once_with_all_its_rows(tmp_path: Path) -> None:
    write(tmp_path, [state(rows=(2, 3))])
    _, (row,) = log(tmp_path)
    assert row["query_rows"].split() == ["2", "3", "4"]
    assert row["query_PatientID"] == "123421 | 45322"


def test_the_pseudonym_of_a_row_is_in_the_log(tmp_path: Path) -> None:
    write(tmp_path, [state(rows=(2,))])
    _, (row,) = log(tmp_path)
    assert "P0001" in (row["new_ids"], row.get("query_new_ids"))


def test_an_unknown_number_of_files_is_not_written_as_zero(tmp_path: Path) -> None:
    unknown = state(status=Status.PENDING)
    unknown.series = Series(unknown.series.values, (2,), {})
    write(tmp_path, [unknown])
    _, (row,) = log(tmp_path)
    assert (row["FilesExpected"], row["Completed"]) == ("", "False")


@pytest.mark.parametrize("status", list(Status))
def test_only_a_series_that_is_all_there_is_completed(tmp_path: Path, status: Status) -> None:
    write(tmp_path, [state(status=status)])
    _, rows = log(tmp_path)
    completed = "True" if status in (Status.COMPLETE, Status.SKIPPED) else "False"
    assert [row["Completed"] for row in rows] == (
        [] if status in (Status.NOT_WANTED, Status.EXCLUDED, Status.LEFT_OUT) else [completed]
    )


def test_two_runs_leave_one_row_a_series_and_the_later_one_counts(tmp_path: Path) -> None:
    write(tmp_path, [state(status=Status.INCOMPLETE)])
    write(tmp_path, [state(status=Status.COMPLETE), state("1.2.3.5")])
    _, rows = log(tmp_path)
    assert [(row["SeriesInstanceUID"], row["Status"]) for row in rows] == [
        ("1.2.3.4", "complete"),
        ("1.2.3.5", "complete"),
    ]


def test_series_of_earlier_runs_stay_in_the_log_with_all_their_columns(tmp_path: Path) -> None:
    write(tmp_path, [state("1.1")], "AccessionNumber\nA1\n")
    _, (before,) = log(tmp_path)
    write(tmp_path, [state("1.2")])
    columns, rows = log(tmp_path)
    assert [row["SeriesInstanceUID"] for row in rows] == ["1.1", "1.2"]
    assert {column: value for column, value in rows[0].items() if value} == {
        column: value for column, value in before.items() if value
    }
    assert columns[:3] == ["PatientID", "StudyDate", "Modality"]
    assert "AccessionNumber" in columns


def test_listing_a_series_does_not_make_it_forgotten_that_it_was_fetched(tmp_path: Path) -> None:
    write(tmp_path, [state(status=Status.COMPLETE)])
    write(tmp_path, [state(status=Status.LISTED)])
    _, (row,) = log(tmp_path)
    assert (row["Status"], row["FilesFound"]) == ("complete", "2")


OLD_LOG = """\
,PatientID,StudyDate,StudyInstanceUID,SeriesInstanceUID,SeriesNumber,FilesFound,Completed
0,7,20100101,9.1,9.1.1,3,12,True
1,7,20100101,9.1,9.1.2,4,0,False
"""


def _old_log(folder: Path, content: bytes) -> None:
    (folder / "logs").mkdir()
    (folder / "logs" / "pacsifier_log.csv").write_bytes(content)


@pytest.mark.parametrize(
    "bom",
    [
        b"",
        b"\xef\xbb\xbf",
    ],
)
def test_a_log_of_1_0_0_is_carried_on(tmp_path: Path, bom: bytes) -> None:
    _old_log(tmp_path, bom + OLD_LOG.partition(",")[2].replace("\n0,", "\n").replace("\n1,", "\n").encode())
    write(tmp_path, [state()])
    columns, rows = log(tmp_path)
    kept = [(row["PatientID"], row["SeriesInstanceUID"], row["Completed"]) for row in rows]
    assert kept == [("7", "9.1.1", "True"), ("7", "9.1.2", "False"), ("123421", "1.2.3.4", "True")]
    assert "" not in columns


def test_a_log_of_1_0_0_with_an_index_column_is_carried_on(tmp_path: Path) -> None:
    _old_log(tmp_path, OLD_LOG.encode())
    write(tmp_path, [state("9.1.2", StudyInstanceUID="9.1")])
    _, rows = log(tmp_path)
    assert [(row["SeriesInstanceUID"], row["Completed"]) for row in rows] == [
        ("9.1.1", "True"),
        ("9.1.2", "True"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"a,b\n1\n1,2,3\n",
        b"\xff\xfe",
        b"a\0,b\n1,2\n",
    ],
)
def test_a_log_that_is_none_does_not_stop_a_run(tmp_path: Path, content: bytes) -> None:
    _old_log(tmp_path, content)
    write(tmp_path, [state()])
    _, rows = log(tmp_path)
    assert rows[-1]["SeriesInstanceUID"] == "1.2.3.4"


def test_rows_of_an_earlier_log_that_name_no_series_are_all_kept(tmp_path: Path) -> None:
    _old_log(tmp_path, b"PatientID,Completed\n1,True\n2,True\n")
    write(tmp_path, [state()])
    _, rows = log(tmp_path)
    assert [row["PatientID"] for row in rows] == ["1", "2", "123421"]


def test_of_two_rows_of_one_series_in_a_log_put_together_by_hand_the_last_counts(tmp_path: Path) -> None:
    lines = ("StudyInstanceUID,SeriesInstanceUID,Completed,Folder", "1.2,1.2.1,True,a", "1.2,1.2.2,True,b")
    _old_log(tmp_path, "\n".join([*lines, "1.2,1.2.1,False,c"]).encode())
    earlier = write(tmp_path, [state("1.9")]).earlier
    assert (earlier.claimed, earlier.folders) == (
        {("1.2", "1.2.2")},
        {("1.2", "1.2.2"): "b", ("1.2", "1.2.1"): "c"},
    )
    assert folders(tmp_path) == [("1.2.1", "a"), ("1.2.2", "b"), ("1.2.1", "c"), ("1.9", "")], "none is lost"
    write(tmp_path, [state("1.2.1", StudyInstanceUID="1.2")])
    assert folders(tmp_path) == [("1.2.1", ""), ("1.2.2", "b"), ("1.9", "")], "asked again, it has one row"


def folders(folder: Path) -> list[tuple[str, str]]:
    return [(row["SeriesInstanceUID"], row["Folder"]) for row in log(folder)[1]]


def test_awkward_values_come_back_exactly_from_the_log(tmp_path: Path) -> None:
    text = 'a;"b",\nc=\\été 山 '
    write(tmp_path, [state(SeriesDescription=text)])
    for _ in range(2):
        write(tmp_path, [state("1.9")])
    _, rows = log(tmp_path)
    assert rows[0]["SeriesDescription"] == text


def test_only_the_owner_may_read_what_names_patients(tmp_path: Path) -> None:
    write(tmp_path, [state()])
    write_rows(Tree(tmp_path), table(tmp_path), {2: ("failed", "x"), 3: ("complete", "")})
    logs = tmp_path / "logs"
    assert stat.S_IMODE(logs.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in logs.iterdir()}
    assert modes == dict.fromkeys(
        (LOG_MARK, "pacsifier_log.csv", "query_rows.csv", "redo.csv", "series.csv"), 0o600
    )


def test_progress_is_on_disk_while_the_run_goes_on(tmp_path: Path) -> None:
    open_ = state(status=Status.PENDING)
    journal = write(tmp_path, [open_])
    assert log(tmp_path)[1][0]["Status"] == "pending"
    open_.complete()
    journal.tick()
    assert log(tmp_path)[1][0]["Status"] == "pending", "the log is not written at every tick"
    journal.write_log()
    assert log(tmp_path)[1][0]["Status"] == "complete"


def test_what_was_moved_to_an_ae_title_is_remembered_for_that_title_only(tmp_path: Path) -> None:
    moved, failed = state("1.1"), state("1.2", status=Status.FAILED)
    write(tmp_path, [moved, failed], destination="RESEARCH")
    later = Journal(Tree(tmp_path), table(tmp_path), "RESEARCH")
    assert later.moved_to("RESEARCH") == {moved.series.key: 2}
    assert later.moved_to("OTHER") == {}


def test_a_later_save_does_not_forget_what_was_moved(tmp_path: Path) -> None:
    write(tmp_path, [state()], destination="RESEARCH")
    write(tmp_path, [state(status=Status.INCOMPLETE)])
    later = Journal(Tree(tmp_path), table(tmp_path), "RESEARCH")
    assert later.moved_to("RESEARCH") == {state().series.key: 2}


def test_what_was_saved_is_not_taken_for_moved(tmp_path: Path) -> None:
    write(tmp_path, [state()])
    later = Journal(Tree(tmp_path), table(tmp_path), "RESEARCH")
    assert later.moved_to("RESEARCH") == {}


def failed(status: Status = Status.INCOMPLETE) -> SeriesState:
    made = state(status=status)
    made.recall(Lasting.NOT_SENT, "C-MOVE to US")
    return made


def remembered(folder: Path) -> dict[tuple[str, str], tuple[Lasting, str]]:
    return Journal(Tree(folder), table(folder)).earlier.failed


def test_why_a_series_failed_for_good_is_remembered_until_it_comes(tmp_path: Path) -> None:
    write(tmp_path, [failed()])
    assert remembered(tmp_path) == {state().series.key: (Lasting.NOT_SENT, "C-MOVE to US")}
    write(tmp_path, [failed(Status.PENDING)])
    assert len(remembered(tmp_path)) == 1, "a run that has not come to it knows nothing better"
    write(tmp_path, [failed(Status.SKIPPED)])
    assert remembered(tmp_path) == {}


def test_a_series_that_failed_otherwise_later_is_not_remembered(tmp_path: Path) -> None:
    write(tmp_path, [failed()])
    write(tmp_path, [state(status=Status.INCOMPLETE)])
    assert remembered(tmp_path) == {}


@pytest.mark.parametrize(
    ("row", "known"),
    [
        ("1.2,1.3,not_sent,C-GET", True),
        ("1.2,1.3,of_another_version,C-GET", False),
        ("1.2,1.3,not_sent,", False),
        ("1.2,1.3,,C-GET", False),
        ("1.2,1.3", False),
    ],
)
def test_only_a_known_code_is_believed(tmp_path: Path, row: str, known: bool) -> None:
    (tmp_path / "logs").mkdir()
    text = f"StudyInstanceUID,SeriesInstanceUID,FailedForGood,FailedBy\n{row}\n"
    (tmp_path / "logs" / "pacsifier_log.csv").write_text(text, encoding="utf-8")
    assert bool(remembered(tmp_path)) is known


def test_a_log_without_the_column_remembers_nothing_and_its_reason_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    text = "StudyInstanceUID,SeriesInstanceUID,Completed,Reason\n1.2,1.3,False,not_sent refused missing\n"
    (tmp_path / "logs" / "pacsifier_log.csv").write_text(text, encoding="utf-8")
    assert remembered(tmp_path) == {}


# --- rows and redo --------------------------------------------------------------------------------------------------


def test_every_row_of_the_query_has_its_outcome(tmp_path: Path) -> None:
    write(tmp_path, [])
    write_rows(Tree(tmp_path), table(tmp_path), {2: ("complete", ""), 3: ("not_found", "nothing matches")})
    columns, rows = read(tmp_path / "logs" / "query_rows.csv")
    assert columns == ["row", "outcome", "reason", "PatientID", "StudyDate", "Modality", "new_ids"]
    assert [(row["row"], row["outcome"], row["reason"]) for row in rows] == [
        ("2", "complete", ""),
        ("3", "not_found", "nothing matches"),
        ("4", "not_found", "nothing matches"),
    ]
    assert [row["new_ids"] for row in rows] == ["P0001", "", ""]


def test_the_redo_table_can_be_run_again_as_it_stands(tmp_path: Path) -> None:
    write(tmp_path, [])
    path = write_rows(
        Tree(tmp_path), table(tmp_path), {2: ("failed", "STUDY level: C-FIND, ended"), 3: ("not_found", "")}
    )
    assert path == tmp_path / "logs" / "redo.csv"
    columns, rows = read(path)
    assert columns == ["PatientID", "StudyDate", "Modality", "new_ids", "reason"]
    assert [row["reason"] for row in rows] == ["failed: STUDY level: C-FIND, ended", "not_found"]
    again = read_query_file(path)
    assert [(query.cells, query.new_id) for query in again.queries] == [
        ({"PatientID": "123421", "StudyDate": "20150512"}, "P0001"),
        ({"PatientID": "45322", "StudyDate": "20180102-", "Modality": "MR"}, None),
    ]
    second = write_rows(Tree(tmp_path), again, {2: ("failed", "again"), 3: ("failed", "again")})
    assert second is not None
    assert read(second)[0] == columns


def test_cells_come_back_from_the_redo_table_as_the_user_wrote_them(tmp_path: Path) -> None:
    text = 'SeriesDescription,PatientID\n"T1, ""axial"" été",00123\n'
    path = write_rows(Tree(tmp_path), table(tmp_path, text), {2: ("failed", "x")})
    assert path is not None
    (query,) = read_query_file(path).queries
    assert query.cells == {"PatientID": "00123", "SeriesDescription": 'T1, "axial" été'}


@pytest.mark.parametrize(
    "outcome",
    ["failed", "not_found", "incomplete", "pending", "undecided", "complete", "listed", "ambiguous"],
)
def test_a_row_stands_in_the_redo_table_unless_it_is_done(tmp_path: Path, outcome: str) -> None:
    path = write_rows(Tree(tmp_path), table(tmp_path), {2: (outcome, ""), 3: ("complete", "")})
    assert (path is None) == (outcome in ("complete", "listed", "ambiguous"))


def test_a_redo_table_of_an_earlier_run_does_not_outlive_a_good_one(tmp_path: Path) -> None:
    write(tmp_path, [])
    assert write_rows(Tree(tmp_path), table(tmp_path), {2: ("failed", ""), 3: ("complete", "")})
    assert write_rows(Tree(tmp_path), table(tmp_path), {2: ("complete", ""), 3: ("complete", "")}) is None
    assert not (tmp_path / "logs" / "redo.csv").exists()


# --- the outcome of a row -------------------------------------------------------------------------------------------


def report(**values: str) -> RowReport:
    return RowReport(Query((2,), {"PatientID": "1"}, None), **values)


@pytest.mark.parametrize(
    ("statuses", "outcome"),
    [
        ([Status.COMPLETE], "complete"),
        ([Status.COMPLETE, Status.SKIPPED], "complete"),
        ([Status.SKIPPED], "complete"),
        ([Status.LISTED], "listed"),
        ([Status.COMPLETE, Status.NOT_WANTED], "complete"),
        ([Status.COMPLETE, Status.INCOMPLETE], "incomplete"),
        ([Status.COMPLETE, Status.FAILED, Status.INCOMPLETE], "failed"),
        ([Status.PENDING, Status.COMPLETE], "pending"),
        ([Status.UNDECIDED], "undecided"),
        ([Status.UNDECIDED, Status.COMPLETE], "undecided"),
        ([Status.UNDECIDED, Status.PENDING], "pending"),
    ],
)
def test_a_row_is_as_good_as_the_worst_of_its_series(statuses: list[Status], outcome: str) -> None:
    wanted = [state(f"1.{number}", status=status) for number, status in enumerate(statuses)]
    assert row_outcome(report(), wanted)[0] == outcome


def test_the_outcome_of_a_row_says_how_many_series_and_why() -> None:
    bad = state("1.2", status=Status.INCOMPLETE)
    bad.reason = "1 of 2 instances"
    assert row_outcome(report(), [state(), bad])[1] == "1 of 2 series; first: 1 of 2 instances"


def test_a_failed_find_is_never_called_complete_whatever_came() -> None:
    assert row_outcome(report(failure="STUDY level: x"), [state()]) == ("failed", "STUDY level: x")
    assert row_outcome(report(failure="f", not_found="n"), []) == ("failed", "f")


def test_a_row_without_match_is_not_found() -> None:
    assert row_outcome(report(not_found="nothing matches"), []) == ("not_found", "nothing matches")


def test_an_ambiguous_row_is_told_once_everything_is_there() -> None:
    assert row_outcome(report(ambiguous="2 studies"), [state()]) == ("ambiguous", "2 studies")
    assert row_outcome(report(ambiguous="2 studies"), [state(status=Status.FAILED)])[0] == "failed"


def test_a_row_of_which_no_series_is_left_is_not_called_done() -> None:
    assert row_outcome(report(), [])[0] not in ("complete", "listed")


def test_what_a_killed_run_left_half_written_goes_with_the_next_run(tmp_path: Path) -> None:
    write(tmp_path, [state()])
    left = tmp_path / "logs" / ".redo.csv.partial"
    left.write_text("PatientID\n001")
    write(tmp_path, [state()])
    assert not left.exists()


# --- what two runs say of one series --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("earlier", "later", "told"),
    [
        (Status.UNDECIDED, Status.NOT_WANTED, "not_wanted"),
        (Status.UNDECIDED, Status.EXCLUDED, "excluded"),
        (Status.UNDECIDED, Status.COMPLETE, "complete"),
        (Status.LISTED, Status.FAILED, "failed"),
        (Status.COMPLETE, Status.LISTED, "complete"),
        (Status.COMPLETE, Status.UNDECIDED, "complete"),
    ],
)
def test_the_log_tells_what_the_last_run_that_did_something_found(
    tmp_path: Path, earlier: Status, later: Status, told: str
) -> None:
    write(tmp_path, [state(status=earlier)])
    write(tmp_path, [state(status=later)])
    assert [row["Status"] for row in log(tmp_path)[1]] == [told]


@pytest.mark.parametrize("status", [Status.NOT_WANTED, Status.EXCLUDED])
def test_a_series_that_lies_on_disk_stays_complete_whatever_another_query_thinks_of_it(
    tmp_path: Path, status: Status
) -> None:
    write(tmp_path, [on_disk(tmp_path)])
    write(tmp_path, [state(status=status)])
    (row,) = log(tmp_path)[1]
    assert (row["Completed"], row["Folder"]) == ("True", "sub-1/ses-1/1-x")


@pytest.mark.parametrize("status", [Status.NOT_WANTED, Status.EXCLUDED])
def test_a_series_that_nobody_was_told_of_is_not_told_of_when_it_is_not_wanted(
    tmp_path: Path, status: Status
) -> None:
    write(tmp_path, [state(status=status)])
    assert log(tmp_path)[1] == []


@pytest.mark.parametrize("moved", [Status.COMPLETE, Status.FAILED])
def test_a_move_elsewhere_leaves_what_the_log_says_of_the_disk(tmp_path: Path, moved: Status) -> None:
    write(tmp_path, [on_disk(tmp_path)])
    gone = state(status=moved)
    gone.found.clear()
    gone.skip("", 7) if moved is Status.COMPLETE else gone.remark("C-MOVE ended with 0xC000")
    gone.status = moved
    write(tmp_path, [gone], destination="RESEARCH")
    (row,) = log(tmp_path)[1]
    assert (row["Completed"], row["Status"], row["FilesFound"]) == ("True", "complete", "2")
    assert row["Folder"] == "sub-1/ses-1/1-x"
    assert row["FilesMoved"] == ("7" if moved is Status.COMPLETE else "")
    assert ("RESEARCH: C-MOVE ended" in row["Reason"]) is (moved is Status.FAILED)


# --- on the disk itself ---------------------------------------------------------------------------------------------


def test_what_has_come_is_not_called_complete_before_it_is_on_the_disk(tmp_path: Path) -> None:
    come = state()
    come.secure = False
    journal = write(tmp_path, [come])
    assert [(row["Status"], row["Completed"]) for row in log(tmp_path)[1]] == [("arrived", "False")]
    come.settle_on_disk()
    journal.write_log()
    assert [(row["Status"], row["Completed"]) for row in log(tmp_path)[1]] == [("complete", "True")]


def test_what_cannot_be_written_to_the_disk_is_not_complete(tmp_path: Path) -> None:
    come = state()
    come.secure = False
    journal = write(tmp_path, [come])
    come.settle_on_disk("its images could not be written to the disk: Input/output error")
    journal.write_log()
    (row,) = log(tmp_path)[1]
    assert (row["Status"], row["Completed"]) == ("incomplete", "False")
    assert "Input/output error" in row["Reason"]


def test_extra_columns_come_back_in_the_redo_table_the_rows_and_the_log(tmp_path: Path) -> None:
    text = "PatientID,Arm,Completed\n123421,A,x\n123421,B,\n45322,C,\n"
    path = tmp_path / "query.csv"
    path.write_text(text, encoding="utf-8")
    with_extra = read_query_file(path, extra_columns=True)
    redo = write_rows(Tree(tmp_path), with_extra, {2: ("failed", "x"), 4: ("complete", "")})
    assert redo is not None
    assert read(redo)[1] == [
        {"PatientID": "123421", "Arm": "A", "Completed": "x", "reason": "failed: x"},
        {"PatientID": "123421", "Arm": "B", "Completed": "", "reason": "failed: x"},
    ]
    assert [row["Arm"] for row in read(tmp_path / "logs" / "query_rows.csv")[1]] == ["A", "B", "C"]
    Journal(Tree(tmp_path), with_extra).follow([state()])
    (line,) = log(tmp_path)[1]
    assert (line["query_Arm"], line["query_Completed"], line["Completed"]) == ("A | B", "x", "True")
    assert "Arm" not in line
