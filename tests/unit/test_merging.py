"""The tables of many parts: they say what those of one run would, and hide nothing of a part that failed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsifier.cli import merge_parts as command
from pacsifier.config import PacsConfig
from pacsifier.disk.names import part_folder
from pacsifier.disk.tree import Tree
from pacsifier.errors import InputError
from pacsifier.query import Query, QueryTable, Shard, read_query_file
from pacsifier.query.series import Series
from pacsifier.transfer.model import Lasting, Plan, RowReport, SeriesState, Status, Tally
from pacsifier.transfer.options import Job, Options
from pacsifier.transfer.record.journal import Journal
from pacsifier.transfer.record.merging import MergeSummary, merge_parts
from pacsifier.transfer.record.outcomes import OpenSeries, Outcome, row_outcome, write_rows
from pacsifier.transfer.record.reporting import write_report
from pacsifier.transfer.record.summary import summed_up
from pacsifier.transfer.record.tables import csv_lines

QUERY = """\
PatientID,StudyDate,Modality,new_ids
P1,20150512,,N1
P2,,MR,
P2,,MR,
P4,,,
,20180102,,
,20190101,,
"""
PATIENTS = ("P1", "P2", "P4", "Q4", "Q5", "Q6")
COUNT = 3
CONFIG = PacsConfig("127.0.0.1", 104, "PACS", "US", "US", 11112, 30, 0)
EVERYONE = range(1, COUNT + 1)


def home(patient_id: str) -> int:
    return next(number for number in EVERYONE if Shard(number, COUNT).holds(patient_id))


@pytest.fixture
def table(tmp_path: Path) -> QueryTable:
    path = tmp_path / "query.csv"
    path.write_text(QUERY, encoding="utf-8")
    return read_query_file(path)


def states(**of_patient: Status) -> list[SeriesState]:
    """A series a patient: those of P1, P2, P4 are wanted by their rows, all but P1 and P2 by row 6 too."""
    made = []
    for number, patient_id in enumerate(PATIENTS):
        rows = ((2,), (3,), (5, 6))[number] if number < 3 else (6,)
        values = {"PatientID": patient_id, "StudyInstanceUID": f"1.{number}", "SeriesInstanceUID": "1.9"}
        status = of_patient.get(patient_id, Status.COMPLETE)
        state = SeriesState(Series(values, rows, {}, 1), status, found={"1": 100}, secure=True)
        state.reason = "" if status.completed else "no object came"
        made.append(state)
    return made


def run(folder: Path, table: QueryTable, all_states: list[SeriesState], shard: Shard = Shard()) -> None:  # noqa: B008
    """Leave behind what a run of `shard` leaves."""
    mine = [state for state in all_states if shard.holds(state.series.values["PatientID"])]
    folder.mkdir(parents=True)
    part = shard.part(table)
    journal = Journal(Tree(folder), part)
    journal.follow(mine)
    outcomes = {
        query.rows[0]: row_outcome(report(query, shard, mine), wanting(query, mine)) for query in part.queries
    }
    write_rows(Tree(folder), part, outcomes)
    write_summary(folder, part, mine, outcomes, shard)
    for state in mine:
        (folder / f"sub-{state.series.values['PatientID']}").mkdir()
    (folder / "logs" / "audit.jsonl").write_text(f'{{"shard": "{shard}"}}\n', encoding="utf-8")


def write_summary(
    folder: Path, part: QueryTable, mine: list[SeriesState], outcomes: Mapping[int, Outcome], shard: Shard
) -> None:
    plan = Plan(tuple(mine), {}, frozenset(), {})
    summary = summed_up(plan, part.queries, outcomes, Tally())
    job = Job(CONFIG, part, folder, Options(save=True, shard=shard), "run")
    write_report(Tree(folder), job, plan, outcomes, summary, ended="ended")


def wanting(query: Query, mine: list[SeriesState]) -> list[SeriesState]:
    return [state for state in mine if query.rows[0] in state.series.rows]


def report(query: Query, shard: Shard, mine: list[SeriesState]) -> RowReport:
    not_found = "" if wanting(query, mine) else "nothing matches"
    return RowReport(query, not_found=not_found, divided=shard.divides(query))


def run_parts(out: Path, table: QueryTable, all_states: list[SeriesState], *numbers: int) -> None:
    for number in numbers or EVERYONE:
        run(part_folder(out, number), table, all_states, Shard(number, COUNT))


def logs(folder: Path) -> dict[str, str]:
    return {
        path.name: path.read_text(encoding="utf-8")
        for path in (folder / "logs").iterdir()
        if path.suffix == ".csv"
    }


def redo(folder: Path) -> str:
    return (folder / "logs" / "redo.csv").read_text(encoding="utf-8")


def test_the_parts_lie_in_more_than_one_place():
    assert len({home(patient_id) for patient_id in PATIENTS}) == COUNT


def test_what_failed_for_good_in_a_part_has_its_code_in_the_log_of_all(tmp_path, table):
    made = states(P2=Status.FAILED)
    made[1].recall(Lasting.MISSING, "C-GET")
    run_parts(tmp_path / "out", table, made)
    merge_parts(tmp_path / "out", table, COUNT)
    log = csv.DictReader(io.StringIO(logs(tmp_path / "out")["pacsifier_log.csv"]))
    codes = {row["PatientID"]: (row["FailedForGood"], row["FailedBy"]) for row in log}
    assert {patient: code for patient, code in codes.items() if any(code)} == {"P2": ("missing", "C-GET")}


@pytest.mark.parametrize("of_patient", [{}, {"P2": Status.INCOMPLETE}, {"P4": Status.FAILED}])
def test_the_tables_of_the_parts_are_byte_for_byte_those_of_one_run(tmp_path, table, of_patient):
    run(tmp_path / "one", table, states(**of_patient))
    run_parts(tmp_path / "many", table, states(**of_patient))
    summary = merge_parts(tmp_path / "many", table, COUNT)
    assert logs(tmp_path / "many") == logs(tmp_path / "one")
    one, merged = (
        json.loads((tmp_path / name / "logs/summary.json").read_text()) for name in ("one", "many")
    )
    parts = {"run": ["run"] * COUNT, "ended": ["ended"] * COUNT}
    assert merged == {**one, **parts}
    assert merged["patients"]["found"] == merged["studies"]["found"] == len(PATIENTS)
    assert summary.rows.total() == 6
    assert summary.rows["not_found"] == 1, "row 7 matches in no part"
    assert not summary.complete
    assert summary.files == summary.patients == len(PATIENTS)


def test_merging_again_changes_nothing_and_follows_what_came_meanwhile(tmp_path, table):
    run_parts(tmp_path, table, states(P1=Status.FAILED))
    merge_parts(tmp_path, table, COUNT)
    before = logs(tmp_path)
    assert "P1" in before["redo.csv"]
    merge_parts(tmp_path, table, COUNT)
    assert logs(tmp_path) == before
    part = part_folder(tmp_path, home("P1"))
    part.rename(tmp_path / "old")
    run_parts(tmp_path, table, states(), home("P1"))
    merge_parts(tmp_path, table, COUNT)
    assert "P1" not in redo(tmp_path)


def test_a_part_that_never_ran_leaves_its_rows_to_be_run_again(tmp_path, table):
    lost = home("P2")
    run_parts(tmp_path, table, states(), *(number for number in EVERYONE if number != lost))
    summary = merge_parts(tmp_path, table, COUNT)
    assert summary.open_parts == [lost]
    assert summary.rows["pending"] == 2 + 2, "the rows of P2, and those that every part asks"
    assert f"pending: part {lost} has not run" in redo(tmp_path)
    assert "P4" not in redo(tmp_path)


def test_a_part_that_was_killed_in_its_work_is_not_called_complete(tmp_path, table):
    """Its table of rows is that of an earlier run, or there is none; its log names the series that are open."""
    run_parts(tmp_path, table, states(P4=Status.PENDING))
    killed = part_folder(tmp_path, home("P4"))
    rows = killed / "logs" / "query_rows.csv"
    rows.write_text(rows.read_text().replace("pending", "complete"))
    (killed / ".pacsifier").mkdir()
    (killed / ".pacsifier" / "holder.json").write_text("{}")
    summary = merge_parts(tmp_path, table, COUNT)
    assert "P4" in redo(tmp_path)
    assert home("P4") in summary.open_parts
    assert any("killed" in problem for problem in summary.problems)
    rows.unlink()
    assert merge_parts(tmp_path, table, COUNT).redo
    assert "P4" in redo(tmp_path)


def test_one_tree_leads_to_every_patient(tmp_path, table):
    run_parts(tmp_path, table, states())
    merge_parts(tmp_path, table, COUNT)
    for patient_id in PATIENTS:
        link = tmp_path / f"sub-{patient_id}"
        assert link.is_symlink()
        assert link.resolve() == part_folder(tmp_path, home(patient_id)) / link.name
        assert not link.readlink().is_absolute(), "the folder may be moved, or mounted elsewhere"


def test_a_patient_folder_that_two_parts_hold_is_told_and_linked_to_neither(tmp_path, table):
    run_parts(tmp_path, table, states())
    merge_parts(tmp_path, table, COUNT)
    (part_folder(tmp_path, home("P1") % COUNT + 1) / "sub-P1").mkdir()
    summary = merge_parts(tmp_path, table, COUNT)
    assert not (tmp_path / "sub-P1").is_symlink()
    assert len(summary.problems) == 1
    assert "P1" not in summary.problems[0], "a PatientID is not for the console"


def test_a_pseudonym_that_two_parts_gave_to_two_patients_stays_with_neither(tmp_path, table):
    run_parts(tmp_path, table, states())
    for patient_id, new_id in (("P1", "N1"), ("P2", "N1"), ("P4", "N3")):
        folder = part_folder(tmp_path, home(patient_id)) / f"sub-{patient_id}"
        (folder / "new_id.txt").write_text(f"{new_id}\n")
    summary = merge_parts(tmp_path, table, COUNT)
    assert [path.parent.name for path in tmp_path.glob("sub-*/new_id.txt")] == ["sub-P4"]
    assert summary.problems
    assert not summary.complete


def test_the_audit_holds_the_runs_of_every_part_once(tmp_path, table):
    run_parts(tmp_path, table, states())
    merge_parts(tmp_path, table, COUNT)
    merge_parts(tmp_path, table, COUNT)
    lines = (tmp_path / "logs" / "audit.jsonl").read_text().splitlines()
    assert [json.loads(line)["shard"] for line in lines] == ["1/3", "2/3", "3/3"]


def test_a_folder_with_a_tree_of_its_own_is_not_touched(tmp_path, table):
    run_parts(tmp_path, table, states())
    (tmp_path / "sub-P1").mkdir()
    with pytest.raises(InputError, match="of its own"):
        merge_parts(tmp_path, table, COUNT)
    with pytest.raises(InputError, match="holds no parts"):
        merge_parts(tmp_path / "sub-P1", table, COUNT)
    assert not (tmp_path / "logs").exists()


def test_the_command_tells_what_is_open_and_its_exit_status_says_so(tmp_path, table, capsys):
    run_parts(tmp_path, table, states(P2=Status.INCOMPLETE))
    status = command.main(["-q", str(table.path), "-d", str(tmp_path), "--parts", str(COUNT)])
    assert status == 1
    err = capsys.readouterr().err
    assert "rows: 6 (3 complete, 2 incomplete, 1 not_found)" in err
    assert f"parts with something left to do: {home('P2')}\n" in err
    assert "P2" not in err


def test_complete_is_what_left_nothing_open():
    assert MergeSummary().complete
    assert not MergeSummary(problems=["x"]).complete
    assert not MergeSummary(redo=Path("redo.csv")).complete


counts = st.integers(0, 10**9)


@given(counts, counts, st.text(st.characters(exclude_characters="\0")))
def test_a_reason_that_counts_series_is_read_from_the_table_as_it_was_written(number, total, first):
    """A merge knows from it alone that a part counted only its own series."""
    written = OpenSeries(number, total, first)
    table = "".join(csv_lines(["reason"], [[written.text()]]))
    _, (reason,) = csv.reader(io.StringIO(table, newline=""))
    assert OpenSeries.read(reason) == written


@pytest.mark.parametrize(
    "reason",
    [
        "",
        "nothing matches",
        "part 3 has not run to its tables",
        "C-FIND failed: 2 series; first: x",
        "2 series",
    ],
)
def test_another_reason_is_not_taken_for_one_that_counts_series(reason):
    assert OpenSeries.read(reason) is None
