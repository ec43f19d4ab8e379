"""`--json`: a program that reads along can trust every line, and learns of no patient unless it asked to."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from told import of, read

from pacs.runs import arguments, has_received, instance_paths, until
from pacs.servers import Hospital, Server, free_port, pacsifier_argv, run_pacsifier
from pacsifier.cli.events import Events

ONE = [{"PatientID": "00123"}]


def texts(hospital: Hospital) -> set[str]:
    """What identifies patients of the hospital, and stands in a file or a name of the run."""
    return {
        text
        for record in hospital.records
        for text in (record.patient_id, record.study_uid, record.series_uid)
    }


def test_a_run_tells_what_becomes_of_each_series_and_names_nobody(pacs, hospital, tmp_path):
    ended = run_pacsifier(*arguments(pacs, tmp_path, ONE, "--save", "--info", "--json"))
    events = read(ended.stdout)
    series = {record.series_uid for record in hospital.records if record.patient_id == "00123"}
    assert [event["status"] for event in of(events, "series")] == ["complete"] * len(series)
    summary = events[-1]
    assert summary["exit_status"] == ended.returncode == 0
    assert summary["series"] == {"complete": len(series)}
    assert summary["patients"]["complete"] == 1
    assert summary["instances"] == len(instance_paths(tmp_path / "out"))
    transfer = [event for event in of(events, "progress") if event["stage"] == "transfer"]
    assert {event["total"] for event in transfer} == {len(series)}
    assert transfer[-1]["bytes"] > 0
    # The folder of a patient may have a number that is also one of ours.
    assert not [text for text in texts(hospital) if len(text) > 4 and text in ended.stdout]


def test_identities_are_told_where_they_are_asked_for(orthanc, hospital, tmp_path):
    options = ("--save", "--json", "--json_identities")
    events = read(run_pacsifier(*arguments(orthanc, tmp_path, ONE, *options)).stdout)
    told = {event["SeriesInstanceUID"]: event for event in of(events, "series")}
    assert told.keys() == {record.series_uid for record in hospital.records if record.patient_id == "00123"}
    assert {event["PatientID"] for event in told.values()} == {"00123"}
    assert all(Path(event["folder"]).is_dir() for event in told.values())


def test_stderr_and_exit_status_are_those_without_json(orthanc, tmp_path):
    rows = [*ONE, {"PatientID": "NOBODY"}]
    plain = run_pacsifier(*arguments(orthanc, tmp_path, rows, "--info"))
    told = run_pacsifier(*arguments(orthanc, tmp_path, rows, "--info", "--json"))
    assert plain.stdout == ""
    assert plain.returncode == told.returncode == 1

    def lines(text: str) -> list[str]:
        # Times differ, and with them the line that tells them.
        return [line for line in text.splitlines() if not line.startswith(("instances:", "next:"))]

    assert lines(told.stderr) == lines(plain.stderr)
    assert [event["message"] for event in of(read(told.stdout), "warning")] != []


def test_a_dry_run_and_a_check_tell_the_same_as_their_lines(orthanc, tmp_path):
    plain = run_pacsifier(*arguments(orthanc, tmp_path, ONE, "--save", "--dry_run"))
    events = read(run_pacsifier(*arguments(orthanc, tmp_path, ONE, "--save", "--dry_run", "--json")).stdout)
    (row,) = of(events, "row")
    numbers = [row[name] for name in ("row", "outcome", "studies", "series", "instances")]
    assert plain.stdout.splitlines()[1].startswith(",".join(map(str, numbers)))
    config = tmp_path / "config.json"
    checked = run_pacsifier("--check", "-c", config, "-d", tmp_path / "out", "--json")
    events = read(checked.stdout)
    probes = of(events, "probe")
    assert sum(events[-1]["probes"].values()) == len(probes) > 5
    assert events[-1]["exit_status"] == checked.returncode


def test_an_upload_counts_its_files(orthanc, hospital, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "one").write_bytes(hospital.records[0].path.read_bytes())
    (tmp_path / "files" / "text").write_text("no DICOM", encoding="utf-8")
    config = orthanc.write_config(tmp_path / "config.json")
    ended = run_pacsifier("--upload", "-c", config, "-ud", tmp_path / "files", "--json")
    events = read(ended.stdout)
    assert events[-1]["files"] == {"found": 2, "stored": 1, "not_stored": 1, "encoded": 0}
    assert len(of(events, "file")) == 1
    assert events[-1]["exit_status"] == ended.returncode == 1


@pytest.mark.parametrize(
    ("rows", "status", "kind"),
    [
        ("PatientID,StudyDate\n00123,12.05.2015\n", 2, "InputError"),
        ("PatientID\n00123\n", 3, "AssociationError"),
    ],
)
def test_a_run_that_cannot_begin_ends_with_a_summary_that_says_why(orthanc, tmp_path, rows, status, kind):
    config = {"port": free_port()} if kind == "AssociationError" else {}
    ended = run_pacsifier(*arguments(orthanc, tmp_path, rows, "--info", "--json", **config))
    summary = read(ended.stdout)[-1]
    assert summary["exit_status"] == ended.returncode == status
    assert summary["error"]["kind"] == kind
    assert "12.05.2015" not in ended.stdout
    if kind == "InputError":
        assert summary["error"]["faults"] == [{"row": 2, "column": "StudyDate"}]


def test_an_interrupted_run_still_has_its_last_word(dcmqrscp: Server, tmp_path):
    everyone = [{"PatientID": patient} for patient in ("00123", "123421", "45322", "124588")]
    out = tmp_path / "out"
    process = subprocess.Popen(
        pacsifier_argv(*arguments(dcmqrscp, tmp_path, everyone, "--save", "--json")),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        until(lambda: bool(instance_paths(out)) or has_received(out) or process.poll() is not None, 60)
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    summary = read(stdout)[-1]
    assert summary["exit_status"] == process.returncode == 143, stderr
    assert summary["error"]["kind"] == "Interrupted"


def test_without_json_nothing_is_told(capsys):
    events = Events("x", wanted=False)
    events.started(["save"])
    events.progress("transfer", 1, 2)
    assert events.summary(1) == 1
    assert capsys.readouterr().out == ""
