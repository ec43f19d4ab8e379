"""`logs/series.csv` is true after every run: a row a series, of the run that knows most of it, in the same columns."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pacsifier.disk.tree import Tree
from pacsifier.query import SERIES_COLUMNS, QueryTable, read_query_file
from pacsifier.query.series import Instance, Series
from pacsifier.transfer.model import SeriesState, Status
from pacsifier.transfer.record.journal import Journal


def table(folder: Path, text: str = "PatientID\n1\n2\n") -> QueryTable:
    path = folder / "query.csv"
    path.write_text(text, encoding="utf-8")
    return read_query_file(path, extra_columns=True)


def state(number: int, status: Status, *, files: int = 0, folder: Path | None = None) -> SeriesState:
    values = {
        "PatientID": "1",
        "StudyInstanceUID": "1.2",
        "SeriesInstanceUID": f"1.2.{number}",
        "SeriesDescription": 'a "b", c\nd',
        "ImageType": None,
    }
    made = SeriesState(Series(values, (2,), {}, 2, (Instance("9", ""),)), status)
    made.lie_in(folder)
    for each in range(files):
        made.put(f"9.{each}", 10)
    made.settle_on_disk()
    return made


def placed(folder: Path, number: int, status: Status = Status.COMPLETE) -> SeriesState:
    return state(number, status, files=2, folder=folder / "sub-1" / "ses-1" / str(number))


def write(
    folder: Path, *states: SeriesState, run: str = "first", text: str = "PatientID\n1\n2\n", to: str = ""
) -> dict[str, dict[str, str]]:
    journal = Journal(Tree(folder), table(folder, text), to, run)
    journal.follow(states)
    journal.close()
    return read(folder)


def read(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "logs" / "series.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["SeriesInstanceUID"] for row in rows}) == len(rows), "a series stands there twice"
    return {row["SeriesInstanceUID"].rpartition(".")[2]: row for row in rows}


def columns(folder: Path) -> list[str]:
    return (folder / "logs" / "series.csv").read_text(encoding="utf-8").partition("\n")[0].split(",")


def test_a_row_tells_values_counts_and_what_became_of_the_series(tmp_path):
    row = write(tmp_path, placed(tmp_path, 1))["1"]
    assert list(row) == list(SERIES_COLUMNS)
    assert {column: cell for column, cell in row.items() if cell} == {
        "PatientID": "1",
        "StudyInstanceUID": "1.2",
        "SeriesInstanceUID": "1.2.1",
        "SeriesDescription": 'a "b", c\nd',
        "announced": "2",
        "listed": "1",
        "arrived": "2",
        "bytes": "20",
        "folder": "sub-1/ses-1/1",
        "status": "complete",
        "query_rows": "2",
        "run": "first",
    }


@pytest.mark.parametrize(
    "text", ["PatientID\n1\n2\n", "Modality,StudyDate,SeriesDescription\nMR,2015,x\nCT,,\n"]
)
def test_the_columns_do_not_depend_on_the_query(tmp_path, text):
    text = text.replace("2015", "20150101")
    write(tmp_path, text=text)
    assert columns(tmp_path) == list(SERIES_COLUMNS)


def test_columns_that_a_person_added_follow_and_stay(tmp_path):
    write(tmp_path, placed(tmp_path, 1), text="PatientID,arm,new_ids\n1,A,P1\n2,B,P2\n")
    assert columns(tmp_path) == [*SERIES_COLUMNS, "arm", "new_ids"]
    rows = write(tmp_path, state(2, Status.LISTED), run="second", text="PatientID,site\n1,X\n2,Y\n")
    assert columns(tmp_path) == [*SERIES_COLUMNS, "site", "arm", "new_ids"]
    assert [(row["arm"], row["new_ids"], row["site"]) for row in rows.values()] == [
        ("A", "P1", ""),
        ("", "", "X"),
    ]


# What an earlier run left in the table, what this one says of the series, and whose row stands then.
LATER = {
    "fetched again": (Status.COMPLETE, Status.COMPLETE, "second"),
    "skipped by --resume": (Status.COMPLETE, Status.SKIPPED, "second"),
    "failed now": (Status.COMPLETE, Status.FAILED, "second"),
    "interrupted": (Status.COMPLETE, Status.PENDING, "second"),
    "only looked at": (Status.COMPLETE, Status.LISTED, "first"),
    "not decided": (Status.COMPLETE, Status.UNDECIDED, "first"),
    "beyond --limit": (Status.COMPLETE, Status.LEFT_OUT, "first"),
    "not wanted by this query": (Status.COMPLETE, Status.NOT_WANTED, "first"),
    "of a patient who opted out since": (Status.COMPLETE, Status.EXCLUDED, "first"),
}


@pytest.mark.parametrize(("before", "now", "stands"), LATER.values(), ids=LATER)
def test_a_later_run_replaces_a_row_only_by_what_it_knows_better(tmp_path, before, now, stands):
    write(tmp_path, placed(tmp_path, 1, before), placed(tmp_path, 2))
    rows = write(tmp_path, state(1, now), run="second")
    assert {number: row["run"] for number, row in rows.items()} == {"1": stands, "2": "first"}


@pytest.mark.parametrize("status", [Status.NOT_WANTED, Status.EXCLUDED, Status.LEFT_OUT])
def test_what_was_not_taken_is_not_told_of(tmp_path, status):
    assert write(tmp_path, state(1, status), state(2, Status.LISTED)).keys() == {"2"}


def test_what_this_run_wrote_meanwhile_does_not_stand_in_the_place_of_what_an_earlier_one_knew(tmp_path):
    earlier = write(tmp_path, placed(tmp_path, 1))
    late = state(1, Status.PENDING)
    journal = Journal(Tree(tmp_path), table(tmp_path), run="second")
    journal.follow([late])
    assert read(tmp_path)["1"]["status"] == "pending"
    late.discard("its images do not match")
    journal.write_log()
    journal.close()
    assert read(tmp_path) == earlier


def test_what_was_moved_elsewhere_and_lies_here_keeps_the_row_of_what_lies_here(tmp_path):
    earlier = write(tmp_path, placed(tmp_path, 1), placed(tmp_path, 2))
    failed = state(2, Status.FAILED)
    failed.postpone("refused")
    failed.reason = "refused"
    rows = write(tmp_path, state(1, Status.COMPLETE), failed, run="second", to="OTHER")
    assert rows["1"] == earlier["1"]
    assert rows["2"] == {**earlier["2"], "reason": "OTHER: refused"}


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "nonsense\n1\n",
        "StudyInstanceUID,SeriesInstanceUID\n,\n1.2,1.2.1\n1.2,1.2.1\n",
        "\0,\xff\n",
        'run\n"x\n',
    ],
)
def test_a_table_that_a_person_damaged_stops_no_run(tmp_path, damage):
    path = Tree(tmp_path).logs / "series.csv"
    path.write_text(damage, encoding="latin-1")
    journal = Journal(Tree(tmp_path), table(tmp_path), run="second")
    journal.follow([placed(tmp_path, 1)])
    journal.close()
    with path.open(encoding="utf-8", newline="") as file:
        assert [row for row in csv.DictReader(file) if row["run"] == "second"]
    kept = path.with_name("series_asked.csv")
    assert not kept.exists() or kept.read_text(encoding="latin-1") == damage


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_rows_of_earlier_runs_stay_after_a_spreadsheet_saved_the_table(tmp_path, separator, encoding):
    earlier = write(tmp_path, placed(tmp_path, 1), placed(tmp_path, 2))
    path = tmp_path / "logs" / "series.csv"
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, [*SERIES_COLUMNS, "arm"], delimiter=separator)
        writer.writeheader()
        writer.writerows({**row, "arm": "Zürich"} for row in earlier.values())
    rows = write(tmp_path, state(2, Status.FAILED), run="second")
    assert rows["1"] == {**earlier["1"], "arm": "Zürich"}
    assert rows["2"]["run"] == "second"


def test_a_table_asked_for_where_it_lies_is_kept(tmp_path):
    write(tmp_path, placed(tmp_path, 1), placed(tmp_path, 2))
    path = tmp_path / "logs" / "series.csv"
    given = path.read_bytes()
    journal = Journal(Tree(tmp_path), read_query_file(path), run="second")
    journal.follow([state(1, Status.FAILED)])
    journal.close()
    kept = tmp_path / "logs" / "series_asked.csv"
    assert kept.read_bytes() == given
    assert kept.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def many(tmp_path: Path) -> Iterator[Journal]:
    write(tmp_path, *(placed(tmp_path, number) for number in range(500)))
    journal = Journal(Tree(tmp_path), table(tmp_path), run="second")
    journal.follow([state(number, Status.LISTED) for number in range(400, 600)])
    yield journal
    journal.close()


def test_a_series_of_both_runs_stands_in_its_place_once(tmp_path, many):
    many.write_log()
    rows = read(tmp_path)
    assert list(rows) == [str(number) for number in range(600)]
    assert [row["run"] for row in rows.values()] == ["first"] * 500 + ["second"] * 100


def test_no_run_needs_pandas_for_its_tables():
    code = "import sys, pacsifier.transfer.retrieve; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
