"""Politeness and control: what a hospital's network, its nights, its patients' refusals and a full disk would lose."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from datetime import datetime, timedelta

import pytest
from pacs.runs import Run, arguments, run
from pacs.servers import run_pacsifier

EVERYTHING = [{"PatientID": patient} for patient in ("00123", "123421", "45322", "124588", "SYN 05")]
ONE = [{"PatientID": "45322"}]


def audit(done: Run) -> list[dict]:
    return [json.loads(line) for line in (done.out / "logs" / "audit.jsonl").read_text().splitlines()]


def received_bytes(done: Run) -> int:
    return int(audit(done)[-1]["bytes"])


# --- dry run -----------------------------------------------------------------------------------------------------


def plan(folder, pacs, rows, *options):
    """The table that `--dry_run` prints; `run` would insist on an empty stdout."""

    folder.mkdir(exist_ok=True)
    ended = run_pacsifier(*arguments(pacs, folder, rows, "--dry_run", *options))
    return ended, list(csv.DictReader(io.StringIO(ended.stdout)))


@pytest.mark.parametrize("mode", ["--save", "--move", "--info"])
def test_a_dry_run_tells_what_would_come_and_writes_nothing(pacs, hospital, tmp_path, mode):
    ended, rows = plan(tmp_path, pacs, [*ONE, {"PatientID": "NOSUCH"}, {"PatientID": "00123"}], mode)
    assert ended.returncode == 0 or mode == "--info", ended.stderr
    assert not (tmp_path / "out").exists()
    told = [(row["row"], row["outcome"], row["studies"], row["series"]) for row in rows]

    def counts(patient: str) -> tuple[str, str]:
        records = hospital.by_patient[patient]
        return tuple(
            str(len({getattr(each, uid) for each in records})) for uid in ("study_uid", "series_uid")
        )

    assert told == [
        ("2", "listed", *counts("45322")),
        ("3", "not_found", "0", "0"),
        ("4", "listed", *counts("00123")),
    ]
    # dcmqrscp announces no numbers: its lists are counted.
    assert rows[0]["instances"] == str(len(hospital.by_patient["45322"]))
    assert "45322" not in ended.stdout + ended.stderr


@pytest.mark.parametrize("options", [(), ("--dry_run",), ("-v",), ("--dry_run", "-v")])
@pytest.mark.parametrize("mode", ["--save", "--move", "--info"])
def test_a_table_that_a_run_names_is_there_when_it_has_ended(orthanc, tmp_path, mode, options):
    rows = [*ONE, *({"PatientID": f"NOSUCH{number}"} for number in range(25))]
    ended = run_pacsifier(*arguments(orthanc, tmp_path, rows, mode, *options))
    assert "and 5 more rows that matched nothing" in ended.stderr
    named = set(re.findall(r"logs/[a-z_/.]+[a-z]", ended.stdout + ended.stderr))
    assert {name for name in named if not (tmp_path / "out" / name).exists()} == set()
    assert bool(named) is not bool("--dry_run" in options)


def test_a_dry_run_says_why_it_has_no_number_of_instances(quirky, tmp_path):
    pacs = quirky(omitted_keys=("NumberOfSeriesRelatedInstances",), find_status={"IMAGE": 0xC000})
    _, rows = plan(tmp_path, pacs, ONE, "--save")
    assert [row["instances"] for row in rows] == [""], "unknown is not zero"
    assert rows[0]["reason"] == "the PACS tells neither number nor list of the instances"


def test_a_dry_run_of_a_resume_counts_only_what_is_missing(orthanc, tmp_path):
    run(orthanc, tmp_path, ONE, "--save")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    ended, rows = plan(tmp_path, orthanc, ONE, "--save", "--resume")
    assert ended.returncode == 0, ended.stderr
    assert rows[0]["outcome"] == "complete"
    assert (rows[0]["series"], rows[0]["instances"]) == ("0", "0")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


# --- a limit -------------------------------------------------------------------------------------------------------


def test_a_limit_counts_series_that_are_wanted(quirky, hospital, tmp_path):
    """Only the images show which series has the number that the row asks for."""
    records = hospital.by_patient["45322"]
    last = max((each for each in records if each.modality == "MR"), key=lambda each: each.series_number)
    row = {"PatientID": "45322", "SeriesNumber": str(last.series_number)}
    pacs = quirky(omitted_keys=("SeriesNumber",))
    done = run(pacs, tmp_path, [row], "--save", "--limit", "1")
    assert done.files.keys() == {each.sop_uid for each in records if each.series_uid == last.series_uid}
    assert [line["Status"] for line in done.log] == ["complete"]


# --- excluded patients -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["--save", "--info", "--move"])
def test_a_patient_who_opted_out_is_not_fetched_listed_moved_or_named(pacs, tmp_path, mode):
    (tmp_path / "opted_out.txt").write_text("PatientID\n00123\n")
    rows = [{"PatientID": "00123"}, {"PatientID": "45322", "Modality": "MR"}]
    options = ("--exclude_patients", tmp_path / "opted_out.txt")
    if mode == "--move":
        ended, rows = plan(tmp_path, pacs, rows, mode, *options)
        assert rows[0]["outcome"] == "excluded", ended.stderr
        return
    done = run(pacs, tmp_path, rows, mode, *options)
    assert done.status == 0, done.stderr
    assert not list(done.out.glob("sub-00123*"))
    assert list(done.out.glob("sub-45322*"))
    assert {row["PatientID"] for row in done.log} == {"45322"}
    assert re.search(r"excluded patients: \d+ series not fetched", done.stderr)
    assert "00123" not in done.stderr
    with (done.out / "logs" / "query_rows.csv").open() as file:
        assert next(csv.DictReader(file))["outcome"] == "excluded"
    assert done.redo == [], "an opt-out is no failure to be run again"


def test_a_broken_list_of_opt_outs_stops_the_run_before_it_asks(pacs, tmp_path):
    (tmp_path / "opted_out.txt").write_text("00123\n45*\n")
    done = run(pacs, tmp_path, ONE, "--save", "--exclude_patients", tmp_path / "opted_out.txt")
    assert done.status == 2
    assert "row 2" in done.stderr
    assert not done.out.exists()


# --- pace --------------------------------------------------------------------------------------------------------


def test_nothing_starts_outside_the_hours_and_the_run_goes_on_by_itself(pacs, hospital, tmp_path):
    for lead_s in (6, 30, 150):
        opens = datetime.now() + timedelta(seconds=lead_s)
        hours = f"{opens:%H:%M:%S}-{opens + timedelta(hours=1):%H:%M:%S}"
        done = run(pacs, tmp_path / str(lead_s), ONE, "--save", "--hours", hours)
        assert done.status == 0, done.stderr
        if (
            "outside --hours" in done.stderr
        ):  # else it started so slowly, on a busy machine, that the hours had come
            break
    assert f"outside --hours {hours}" in done.stderr
    assert done.files.keys() == {record.sop_uid for record in hospital.by_patient["45322"]}
    first = min(path.stat().st_ctime for path in done.files.values())
    assert first >= opens.replace(microsecond=0).timestamp()


def test_a_rate_is_kept_on_average(orthanc, hospital, tmp_path):
    patient = hospital.by_patient["00123"]
    largest = max(len(records) for records in hospital.by_series.values())
    began = datetime.now()
    done = run(orthanc, tmp_path, [{"PatientID": "00123"}], "--save", "--rate", "20")
    assert done.status == 0, done.stderr
    # Nothing has to wait for what the last series brought.
    assert (datetime.now() - began).total_seconds() >= (len(patient) - largest) / 20
    assert done.files.keys() == {record.sop_uid for record in patient}


def test_little_space_ends_the_run_before_the_disk_is_full_and_resume_completes_it(pacs, hospital, tmp_path):
    done = run(pacs, tmp_path, EVERYTHING, "--save", "--min_free", "900TB")
    assert done.status == 1
    assert "--min_free" in done.stderr
    assert len(done.files) < len(hospital.records)
    assert {row["reason"].partition(":")[0] for row in done.redo} <= {"incomplete", "failed", "pending"}
    again = run(pacs, tmp_path, EVERYTHING, "--save", "--resume", "--min_free", "0")
    assert again.status == 0, again.stderr
    assert again.files.keys() == hospital.by_sop.keys()


# --- resume asks for instances -----------------------------------------------------------------------------------


def test_resume_asks_only_for_the_instances_that_are_missing(pacs, hospital, tmp_path):
    first = run(pacs, tmp_path, EVERYTHING, "--save")
    assert first.status == 0, first.stderr
    several = [records for records in hospital.by_series.values() if len(records) > 2]
    lost = [first.files[records[1].sop_uid] for records in several]
    size = sum(path.stat().st_size for path in lost)
    content = {path: path.read_bytes() for path in lost}
    for path in lost:
        path.unlink()
    again = run(pacs, tmp_path, EVERYTHING, "--save", "--resume")
    assert again.status == 0, again.stderr
    assert {path: path.read_bytes() for path in lost} == content
    assert received_bytes(again) == size
    if pacs.kind == "orthanc":
        sent = int(re.search(r"instances: (\d+) in place", again.stderr)[1])
        assert sent == len(hospital.records)


# --- audit -------------------------------------------------------------------------------------------------------


def test_every_run_leaves_one_line_for_the_audit_without_an_identity(pacs, tmp_path):
    done = run(pacs, tmp_path, [*ONE, {"PatientID": "NOSUCH"}], "--save", "--info")
    again = run(pacs, tmp_path, ONE, "--info")
    first, second = audit(again)
    assert first["ended"] == second["ended"] == "ended"
    assert first["did"] == ["save", "info"]
    assert first["rows"] == {"complete": 1, "not_found": 1}
    assert first["instances"] == len(done.files)
    assert first["config"]["server_address"] == pacs.address
    assert second["query_sha256"] == hashlib.sha256((tmp_path / "query.csv").read_bytes()).hexdigest()
    assert first["query_sha256"] != second["query_sha256"]
    assert first["user"]
    text = (done.out / "logs" / "audit.jsonl").read_text()
    for row in done.log:
        for identity in (row["PatientID"], row["StudyInstanceUID"]):
            assert f'"{identity}"' not in text
