"""Look, choose, fetch: what a person chose in `logs/series.csv` comes, nothing else does, and nothing of it is lost."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import signal
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

from pacs.runs import (
    INFO_HEADER,
    Run,
    has_received,
    instance_paths,
    interrupt,
    left_over,
    read_table,
    run,
    run_arguments,
)
from pacs.servers import Hospital, Server

EVERYONE = [{"PatientID": patient} for patient in ("00123", "123421", "45322", "124588", "SYN 05")]
RUN_HEADER = ["announced", "listed", "arrived", "bytes", "folder", "status", "reason", "query_rows", "run"]
Row = dict[str, str]


def series(done: Run) -> list[Row]:
    return read_table(done.out / "logs" / "series.csv")


def uids(rows: Iterable[Mapping[str, str]]) -> set[str]:
    return {row["SeriesInstanceUID"] for row in rows}


def as_csv(rows: list[Row], separator: str = ",", mark: str = "") -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=separator)
    writer.writeheader()
    writer.writerows(rows)
    return mark + out.getvalue()


def here(done: Run, hospital: Hospital) -> set[str]:
    """The series of which instances lie in the tree."""
    return {hospital.by_sop[uid].series_uid for uid in done.files}


@pytest.fixture(scope="module")
def listed(pacs: Server, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`--info` alone over everything, once a PACS."""
    return run(pacs, tmp_path_factory.mktemp("listed"), EVERYONE, "--info")


# --- look


def test_info_lists_every_series_in_one_table_of_fixed_columns(listed, hospital):
    rows = series(listed)
    assert list(rows[0]) == [*INFO_HEADER, *RUN_HEADER]
    assert uids(rows) == hospital.by_series.keys()
    assert len(rows) == len(hospital.by_series)
    assert {row["status"] for row in rows} == {"listed"}
    assert {row["query_rows"] for row in rows} == {"2", "3", "4", "5", "6"}
    assert len({row["run"] for row in rows}) == 1


def test_the_table_says_what_the_info_file_of_each_series_says(listed):
    infos = {
        row["SeriesInstanceUID"]: row
        for path in listed.out.glob("sub-*/ses-*/*.csv")
        for row in read_table(path)
    }
    assert {
        row["SeriesInstanceUID"]: {column: row[column] for column in INFO_HEADER} for row in series(listed)
    } == infos


def test_save_and_move_have_the_columns_of_info(pacs, tmp_path):
    for name, option in (("saved", "--save"), ("moved", "--move")):
        config = {"move_AET": "OTHER"} if option == "--move" else {}
        done = run(pacs, tmp_path / name, "Modality,PatientID\nMR,00123\n", option, **config)
        assert list(series(done)[0]) == [*INFO_HEADER, *RUN_HEADER]


# --- choose and fetch


def test_the_rows_that_are_left_come_and_no_others(pacs, listed, hospital, tmp_path):
    chosen = series(listed)[1::3]
    done = run(pacs, tmp_path, as_csv(chosen), "--save")
    assert done.status == 0, done.stderr
    assert here(done, hospital) == uids(chosen)
    assert {row["status"] for row in series(done)} == {"complete"}
    for row in series(done):
        of_series = hospital.by_series[row["SeriesInstanceUID"]]
        assert int(row["arrived"]) == len(of_series)
        assert len(instance_paths_of(done.out, row["folder"])) == len(of_series)
    assert done.redo == []


def instance_paths_of(out: Path, folder: str) -> list[Path]:
    return [path for path in instance_paths(out) if path.parent == out / folder]


def test_the_whole_table_brings_what_the_query_brings(pacs, listed, hospital, tmp_path):
    done = run(pacs, tmp_path, as_csv(series(listed)), "--save")
    assert done.status == 0, done.stderr
    assert here(done, hospital) == hospital.by_series.keys()
    assert "series.csv" not in done.stderr, "an unedited table needs no remark"
    assert "the PACS tells" not in done.stderr


def test_parts_of_a_table_bring_all_of_it_and_no_series_twice(pacs, listed, hospital, tmp_path):
    rows = series(listed)
    came: list[str] = []
    for number in (1, 2, 3):
        done = run(pacs, tmp_path / str(number), as_csv(rows), "--save", "--shard", f"{number}/3")
        assert done.status == 0, done.stderr
        assert {row["outcome"] for row in read_table(done.out / "logs" / "query_rows.csv")} <= {"complete"}
        came += here(done, hospital)
    assert sorted(came) == sorted(hospital.by_series)


def test_pseudonyms_and_comments_that_were_added_are_carried_along(pacs, listed, tmp_path):
    chosen = [
        {**row, "new_ids": f"P-{row['PatientID'].strip()[-3:]}", "arm": f"arm {number}"}
        for number, row in enumerate(series(listed)[:4])
    ]
    gone = {**chosen[0], "SeriesInstanceUID": "1.2.826.0.1.3680043.8.498.404", "arm": "arm 9"}
    done = run(pacs, tmp_path, as_csv([*chosen, gone]), "--save")
    assert done.status == 1
    arms = {row["SeriesInstanceUID"]: row["arm"] for row in chosen}
    assert {row["SeriesInstanceUID"]: row["arm"] for row in series(done)} == arms
    assert {row["SeriesInstanceUID"]: row["query_arm"] for row in done.log} == arms
    assert {row["new_ids"] for row in series(done)} == {row["new_ids"] for row in chosen}
    for row in chosen:
        (folder,) = {
            each["folder"].split("/")[0] for each in series(done) if each["new_ids"] == row["new_ids"]
        }
        assert (done.out / folder / "new_id.txt").read_text().strip() == row["new_ids"]
    (left,) = done.redo
    assert {column: left[column] for column in gone if column != "reason"} == {
        column: text for column, text in gone.items() if column != "reason"
    }
    again = run(pacs, tmp_path / "again", as_csv(done.redo), "--info")
    assert again.redo[0]["SeriesInstanceUID"] == gone["SeriesInstanceUID"], (
        "a redo of it is a series table too"
    )


def test_a_table_that_was_edited_where_it_lies_is_kept_and_the_rest_of_it_comes(pacs, hospital, tmp_path):
    listed = run(pacs, tmp_path, EVERYONE[:2], "--info")
    chosen = [{**row, "arm": "a"} for row in series(listed)[:2]]
    path = listed.out / "logs" / "series.csv"
    given = as_csv(chosen, ";", "\ufeff").encode()
    path.write_bytes(given)
    options = ("--save", "-c", tmp_path / "config.json", "-q", path, "-d", listed.out)
    for repeated in ((), ("--resume",)):
        done = run_arguments(listed.out, [*options, *repeated])
        assert done.status == 0, done.stderr
        assert here(done, hospital) == uids(chosen) == uids(series(done))
        assert {row["arm"] for row in series(done)} == {"a"}
        asked = (listed.out / "logs" / "series_asked.csv").read_bytes()
        audit = (listed.out / "logs" / "audit.jsonl").read_text(encoding="utf-8").splitlines()
        assert json.loads(audit[-1])["query_sha256"] == hashlib.sha256(asked).hexdigest()
        assert repeated or asked == given
    assert uids(read_table(listed.out / "logs" / "series_asked.csv")) == uids(chosen)


@pytest.mark.parametrize(
    "saved",
    [
        pytest.param(lambda rows: as_csv(rows, ";", "\ufeff"), id="semicolons and a byte order mark"),
        pytest.param(lambda rows: as_csv(rows, "\t"), id="tabs"),
        pytest.param(lambda rows: as_csv(rows).replace("\r\n", "\n") + ",,,,\n", id="an emptied row"),
    ],
)
def test_a_table_as_spreadsheets_save_it_brings_the_same(
    dcmqrscp: Server, hospital: Hospital, tmp_path: Path, saved: Callable[[list[Row]], str]
):
    rows = series(run(dcmqrscp, tmp_path / "listed", EVERYONE, "--info"))[:3]
    done = run(dcmqrscp, tmp_path / "done", saved(rows), "--save")
    assert done.status == 0, done.stderr
    assert here(done, hospital) == uids(rows)


def test_dates_and_zeros_that_a_spreadsheet_changed_stop_nothing_and_are_told(
    orthanc: Server, hospital: Hospital, tmp_path: Path
):
    rows = series(run(orthanc, tmp_path / "listed", [{"PatientID": "00123"}], "--info"))[:2]
    day = rows[0]["StudyDate"]
    damaged = [{**row, "PatientID": "123", "StudyDate": f"{day[6:]}.{day[4:6]}.{day[:4]}"} for row in rows]
    done = run(orthanc, tmp_path / "done", as_csv(damaged), "--save")
    assert done.status == 0, done.stderr
    assert here(done, hospital) == uids(rows)
    assert "row 2, column StudyDate" in done.stderr
    assert f"write {day}" in done.stderr
    assert "another PatientID of the series than the table (mind the leading zeros)" in done.stderr
    assert {row["PatientID"] for row in series(done)} == {"00123"}
    told = read_table(done.out / "logs" / "query_rows.csv")
    assert all("mind the leading zeros" in row["reason"] for row in told)


def test_a_damaged_uid_is_named_by_its_cell_before_anything_is_asked(orthanc, tmp_path):
    rows = series(run(orthanc, tmp_path / "listed", EVERYONE[:1], "--info"))[:2]
    rows[1]["SeriesInstanceUID"] = "1.23457E+45"
    done = run(orthanc, tmp_path / "done", as_csv(rows), "--save")
    assert done.status == 2
    assert "row 3, column SeriesInstanceUID: '1.23457E+45': rounded by the spreadsheet" in done.stderr
    assert not (done.out / "logs").exists()


# --- on every way out


def test_an_interrupted_run_leaves_a_true_table_and_resume_one_row_a_series(dcmqrscp, hospital, tmp_path):
    rows = series(run(dcmqrscp, tmp_path / "listed", EVERYONE, "--info"))
    (tmp_path / "chosen.csv").write_text(as_csv(rows), encoding="utf-8")
    out = tmp_path / "out"
    args = ("--save", "-c", dcmqrscp.write_config(tmp_path / "config.json"), "-d", out)
    args = (*args, "-q", tmp_path / "chosen.csv")
    status, stderr, mark = interrupt(
        args, signal.SIGTERM, lambda: bool(instance_paths(out)) or has_received(out)
    )
    assert status == 143, stderr
    assert left_over(out, mark) == []
    told = read_table(out / "logs" / "series.csv")
    for row in told:
        on_disk = len(instance_paths_of(out, row["folder"])) if row["folder"] else 0
        assert on_disk == int(row["arrived"])
        if row["status"] == "complete":
            assert on_disk == len(hospital.by_series[row["SeriesInstanceUID"]])
    done = run_arguments(out, [*args, "--resume"])
    assert done.status == 0, done.stderr
    after = series(done)
    assert len(after) == len(rows)
    assert uids(after) == hospital.by_series.keys()
    assert {row["status"] for row in after} <= {"complete", "skipped"}


def test_a_look_at_what_was_saved_before_does_not_call_it_listed_only(dcmqrscp, tmp_path):
    first = run(dcmqrscp, tmp_path, EVERYONE[:1], "--save")
    saved = series(first)
    done = run(dcmqrscp, tmp_path, EVERYONE[:2], "--info")
    again = {row["SeriesInstanceUID"]: row for row in series(done)}
    assert all(again[row["SeriesInstanceUID"]] == row for row in saved)
    assert {row["status"] for uid, row in again.items() if uid not in uids(saved)} == {"listed"}


# --- what a data manager reports


def test_the_summary_counts_patients_and_studies_and_names_what_became_of_each(orthanc, hospital, tmp_path):
    (tmp_path / "opted_out.txt").write_text("PatientID\n123421\nSOMEBODY\n", encoding="utf-8")
    rows = [*EVERYONE, {"PatientID": "NOBODY"}]
    done = run(orthanc, tmp_path, rows, "--save", "--exclude_patients", tmp_path / "opted_out.txt")
    assert done.status == 1
    told = json.loads((done.out / "logs" / "summary.json").read_text(encoding="utf-8"))
    assert {key: number for key, number in told["patients"].items() if number} == {
        "asked": 5,
        "found": 4,
        "complete": 4,
        "not_found": 1,
        "excluded": 1,
        "opted_out": 2,
    }
    studies = {
        (record.patient_id, record.study_uid) for record in hospital.records if record.patient_id != "123421"
    }
    table = read_table(done.out / "logs" / "summary.csv")
    assert {(row["PatientID"], row["StudyInstanceUID"]) for row in table} == {*studies, ("NOBODY", "")}
    assert told["studies"]["found"] == told["studies"]["complete"] == len(studies)
    assert [{column: str(cell) for column, cell in row.items()} for row in told["outcomes"]] == table
    assert sum(int(row["arrived"]) for row in table) == len(done.files) == told["instances"]
    assert {row["run"] for row in series(done)} == {told["run"]}


@pytest.mark.parametrize(("option", "word"), [("--info", "listed"), ("--save", "complete")])
def test_every_kind_of_run_has_a_summary(dcmqrscp, tmp_path, option, word):
    done = run(dcmqrscp, tmp_path, EVERYONE[:1], option)
    told = json.loads((done.out / "logs" / "summary.json").read_text(encoding="utf-8"))
    assert told["patients"][word] == told["patients"]["found"] == told["patients"]["asked"] == 1
