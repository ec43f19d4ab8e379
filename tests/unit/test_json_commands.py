"""`--json` of the commands that need no PACS: every line is as the schema says, and names nobody unless asked to."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pydicom
import pytest
from commands import Done, invoke
from told import Event, of, read

from pacsifier.demo import make_hospital
from pacsifier.disk.lock import OutputLock

_WHO = ("PatientID", "PatientName", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
# What differs from run to run: times, sizes by the length of the new UIDs, the lines of the service.
_VARYING = re.compile(r"[0-9.]+ s\b|[0-9]+ bytes|.*(POST|WARNING|holds a token).*\n")


@pytest.fixture(scope="module")
def hospital(tmp_path_factory) -> Path:
    make_hospital(folder := tmp_path_factory.mktemp("hospital"))
    return folder


@pytest.fixture(scope="module")
def identities(hospital: Path) -> set[str]:
    """What identifies patients there; a number of four digits may be one of ours, too."""
    files = [pydicom.dcmread(path, stop_before_pixels=True) for path in hospital.rglob("IM*")]
    texts = {str(each.get(keyword, "")) for each in files for keyword in _WHO}
    return {text for text in texts if len(text) > 4}


@pytest.fixture
def folder(hospital: Path, tmp_path: Path) -> Path:
    """A copy of the hospital, in a folder for a run with `--json`, and in one for a run without."""
    for name in ("plain", "told"):
        shutil.copytree(hospital, tmp_path / name / "in")
    return tmp_path


def both(folder: Path, command: str, *arguments: object) -> tuple[Done, Done]:
    """The same work told to a person only, and to a program, too."""
    plain = invoke(command, *arguments, cwd=folder / "plain")
    told = invoke(command, *arguments, "--json", cwd=folder / "told")

    def lines(done: Done, place: str) -> str:
        return _VARYING.sub("", done.stderr.replace(str(folder / place), ""))

    assert lines(told, "told") == lines(plain, "plain")
    assert told.returncode == plain.returncode
    return plain, told


def events_of(folder: Path, identities: set[str], command: str, *arguments: object) -> list[Event]:
    """What the program is told, which names nobody."""
    _, told = both(folder, command, *arguments)
    events = read(told.stdout)
    assert events[-1]["exit_status"] == told.returncode
    assert not [text for text in identities if text in told.stdout]
    assert (str(folder) in told.stdout) == (command == "merge_parts")  # its redo table
    return events


# --- anonymizing --------------------------------------------------------------------------------------------------

_ANONYMIZE = ("anonymize", "-d", "in", "-o", "out")


def test_anonymizing_tells_how_far_it_is_and_what_became_of_each_patient(folder, identities):
    (folder / "told/in/broken").write_bytes(bytes(128) + b"DICM and no more")
    shutil.copy(folder / "told/in/broken", folder / "plain/in/broken")
    events = events_of(folder, identities, *_ANONYMIZE, "--verify")
    files = len(list((folder / "told/out").rglob("*.dcm")))
    assert events[0]["did"] == ["verify"]
    written = [each for each in of(events, "progress") if each["stage"] == "files written"]
    assert (written[-1]["done"], written[-1]["total"]) == (files, files)
    size = sum(path.stat().st_size for path in (folder / "told/out").rglob("*.dcm"))
    assert written[-1]["bytes"] == events[-1]["bytes"] == size
    patients = of(events, "patient")
    assert sum(each["written"] for each in patients) == files
    assert sum(each["bytes"] for each in patients) == size
    assert {each["status"] for each in patients} == {"complete"}
    summary = events[-1]
    assert summary["patients"] == {"anonymized": len(patients)}
    assert summary["files"]["written"] == summary["verify"]["verified"] == files
    assert summary["verify"]["hits"] == 0
    assert sum(summary["left_out"].values()) == summary["files"]["found"] - files > 0
    assert summary["complete"] is False


def test_a_run_that_goes_on_tells_what_was_there_already(folder, identities):
    events_of(folder, identities, *_ANONYMIZE)
    files = sorted((folder / "told/out").rglob("*.dcm"))
    for path in files[:1]:
        for place in ("told", "plain"):
            (folder / place / path.relative_to(folder / "told")).unlink(missing_ok=True)
    told = invoke(*_ANONYMIZE, "--resume", "--json", cwd=folder / "told")
    events = read(told.stdout)
    assert events[0]["did"] == ["resume"]
    patients = of(events, "patient")
    assert sum(each["written"] for each in patients) == 1
    assert sum(each["already"] for each in patients) == len(files) - 1
    assert events[-1]["files"]["already"] == len(files) - 1


def test_identities_of_anonymized_patients_are_told_where_they_are_asked_for(folder):
    told = invoke(*_ANONYMIZE, "--json", "--json_identities", cwd=folder / "told")
    key = json.loads((folder / "told/out.key.json").read_text(encoding="utf-8"))
    assert {each["patient"]: each["new_id"] for each in of(read(told.stdout), "patient")} == key["pseudonyms"]


def test_an_anonymizing_that_cannot_begin_says_why_without_naming_a_folder(folder):
    told = invoke("anonymize", "-d", "nowhere", "-o", "out", "--json", cwd=folder / "told")
    events = read(told.stdout)
    assert events[-1]["exit_status"] == told.returncode == 2
    assert events[-1]["error"]["kind"] == "InputError"
    assert "nowhere" not in json.dumps(events[-1])


def test_a_folder_that_another_run_holds_is_told_as_such(folder):
    with OutputLock(folder / "told/out"):
        told = invoke(*_ANONYMIZE, "--json", cwd=folder / "told")
    assert told.returncode == 2
    assert read(told.stdout)[-1]["error"]["kind"] == "HeldError"


# --- the small commands -------------------------------------------------------------------------------------------


def test_a_file_set_tells_its_instances_and_what_was_not_taken(folder, identities):
    for place in ("told", "plain"):
        (folder / place / "in/cut").write_bytes(
            (folder / "told/in/P0001/ST01/SE01/IM0001").read_bytes()[:400]
        )
    events = events_of(folder, identities, "create_dicomdir", "-d", "in", "-o", "cd")
    summary = events[-1]
    assert summary["instances"] == summary["files"]["written"] == len(list((folder / "told/cd").rglob("IM*")))
    assert [each["outcome"] for each in of(events, "file")] == ["not_taken"] * summary["files"]["not_taken"]
    assert summary["files"]["not_taken"] == 1
    assert {each["stage"] for each in of(events, "progress")} == {"files read", "instances copied"}


@pytest.mark.parametrize("dry_run", [False, True])
def test_moved_tables_are_counted_and_not_named(folder, dry_run):
    for place in ("told", "plain"):
        (folder / place / "in/sub-SECRET").mkdir()
        (folder / place / "in/sub-SECRET/1.csv").write_text("a", encoding="utf-8")
    options = ("-d", "in", "-o", "info", *(["--dry_run"] if dry_run else []))
    plain, _ = both(folder, "move_csv", *options)
    assert ("sub-SECRET" in plain.stdout) == dry_run
    shutil.rmtree(folder / "told/info", ignore_errors=True)
    (folder / "told/in/sub-SECRET/1.csv").write_text("a", encoding="utf-8")
    told = invoke("move_csv", *options, "--json", cwd=folder / "told")
    events = read(told.stdout)
    assert "SECRET" not in told.stdout
    assert events[0]["did"] == (["dry_run"] if dry_run else [])
    assert [each["outcome"] for each in of(events, "file")] == (["would_move"] if dry_run else [])
    assert events[-1]["files"]["moved"] == (0 if dry_run else 1)


def test_reports_are_counted(folder, identities):
    events = events_of(folder, identities, "extract_report", "-d", "in")
    reports = len(list((folder / "told/in").rglob("Clean_Report_*.txt")))
    assert events[-1]["files"]["reports"] == reports > 0
    assert of(events, "progress")[0]["total"] is None


@pytest.mark.parametrize("options", [(), ("--dry_run",)])
def test_tagged_files_are_counted(folder, identities, options):
    patients = sorted({pydicom.dcmread(path).PatientID for path in (folder / "told/in").rglob("IM*")})
    for place in ("told", "plain"):
        ids = {f"sub-{patient}": f"P{number:04}" for number, patient in enumerate(patients)}
        (folder / place / "ids.json").write_text(json.dumps(ids), encoding="utf-8")
    events = events_of(
        folder, identities, "add_karnak_tags", "-d", "in", "-n", "ids.json", "-a", "Album", *options
    )
    summary = events[-1]
    assert summary["patients"] == {"found": len(patients)}
    number = summary["files"]["to_tag" if options else "tagged"]
    assert number == len(list((folder / "told/in").rglob("IM*")))
    assert of(events, "progress")[-1]["done"] == number
    assert len(of(events, "warning")) == 1


@pytest.mark.parametrize("mode", ["custom", "de-id"])
def test_pseudonyms_are_counted(folder, mode, httpserver):
    httpserver.expect_request(re.compile("/deid.*")).respond_with_json(
        {"sub-SECRET": "7", "sub-SECRET2": "8"}
    )
    for place in ("told", "plain"):
        (folder / place / "map.csv").write_text("SECRET,P1\nSECRET2,P2\n", encoding="utf-8")
        (folder / place / "query.csv").write_text("PatientID\nSECRET\nSECRET2\n", encoding="utf-8")
        deid = {"deid_URL": httpserver.url_for("/deid"), "deid_token": "t0ken"}
        (folder / place / "deid.json").write_text(json.dumps(deid), encoding="utf-8")
    source = ("-mf", "map.csv") if mode == "custom" else ("-c", "deid.json", "-q", "query.csv")
    events = events_of(
        folder, {"SECRET", "t0ken"}, "get_pseudonyms", "--mode", mode, *source, "-a", "X", "-d", "ids"
    )
    assert events[0]["did"] == [mode]
    assert events[-1]["patients"] == {"named": 2}
    assert events[-1]["files"] == {"written": 2 if mode == "custom" else 3, "unchanged": 0}
    if mode == "de-id":
        assert of(events, "progress")[-1]["done"] == 2
        assert "no https address" in of(events, "warning")[0]["message"]


def test_merged_parts_tell_what_is_open(folder):
    for place in ("told", "plain"):
        (folder / place / "query.csv").write_text("PatientID\nSECRET\n", encoding="utf-8")
        (folder / place / "out/parts").mkdir(parents=True)
    events = events_of(folder, {"SECRET"}, "merge_parts", "-q", "query.csv", "-d", "out", "--parts", "2")
    assert events[-1]["open_parts"] == [1, 2]
    assert events[-1]["complete"] is False


@pytest.mark.parametrize(
    "command",
    [
        "anonymize",
        "create_dicomdir",
        "move_csv",
        "extract_report",
        "add_karnak_tags",
        "merge_parts",
        "get_pseudonyms",
    ],
)
def test_identities_without_events_are_a_mistake(command, tmp_path):
    options: dict[str, tuple[str, ...]] = {
        "anonymize": ("-d", "a", "-o", "b"),
        "extract_report": ("-d", "a"),
        "add_karnak_tags": ("-d", "a", "-n", "b", "-a", "c"),
        "merge_parts": ("-q", "a", "-d", "b", "--parts", "2"),
        "get_pseudonyms": ("-a", "X", "-d", "b"),
    }
    done = invoke(command, *options.get(command, ()), "--json_identities", cwd=tmp_path)
    assert done.returncode == 2
    assert "--json_identities is for --json" in done.stderr
