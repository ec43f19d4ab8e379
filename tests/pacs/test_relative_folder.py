"""Every command understands relative paths as paths from the folder in which the user stands."""

from __future__ import annotations

import configparser
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from commands import invoke

from pacs.runs import instance_paths
from pacs.servers import (
    Hospital,
    RawScp,
    Server,
    find,
    find_binary,
    free_port,
    run_pacsifier,
    start_dcmqrscp,
)

ROOT = Path(__file__).parents[2]
ROWS = "PatientID,SeriesNumber,Modality\n00123,1,MR\n"
SAVE = ("--save", "-c", "config.json", "-q", "query.csv", "--settle_time", "0.2", "--retry_wait", "0.1")
FOLDER = "where I stand"


@pytest.fixture
def here(dcmqrscp: Server, tmp_path: Path) -> Path:
    """A folder with a config and a query in it."""
    folder = tmp_path / FOLDER
    folder.mkdir()
    dcmqrscp.write_config(folder / "config.json")
    (folder / "query.csv").write_text(ROWS, encoding="utf-8")
    return folder


def pacsifier(here: Path, *options: object, **environment: str) -> subprocess.CompletedProcess[str]:
    done = run_pacsifier(*options, cwd=here, env=environment)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name for path in here.parent.iterdir()} <= {FOLDER, "pacs"}, "something lies elsewhere"
    return done


@pytest.mark.parametrize(
    ("options", "out"),
    [
        ((), "data"),
        (("--info",), "data"),
        (("-d", "new/out"), "new/out"),
        (("-d", "../where I stand/out"), "out"),
        (("--retrieve_method", "get"), "data"),
        (("--retrieve_method", "get", "-d", "new/out"), "new/out"),
        (("--retrieve_method", "auto"), "data"),
        (("--exclude_patients", "nobody.txt", "--dcmtk_dir", "tools"), "data"),
    ],
)
def test_images_come_to_where_the_user_stands(here, hospital: Hospital, options: Sequence[str], out):
    (here / "nobody.txt").write_text("nobody\n", encoding="utf-8")
    (here / "tools").symlink_to(Path(find_binary("findscu")).parent)
    pacsifier(here, *SAVE, *options)
    wanted = [
        each
        for each in hospital.records
        if (each.patient_id, each.series_number, each.modality) == ("00123", 1, "MR")
    ]
    assert len(instance_paths(here / out)) == len(wanted) > 0
    pacsifier(here, *SAVE, *options, "--resume")


def test_auto_that_turns_to_c_get_brings_them_there_too(here, dcmqrscp):
    dcmqrscp.write_config(here / "config.json", move_port=free_port())
    done = pacsifier(here, *SAVE, "--retrieve_method", "auto")
    assert "C-GET is used" in done.stderr
    assert instance_paths(here / "data")


def test_a_list_a_check_and_its_capabilities_lie_where_the_user_stands(here):
    pacsifier(here, "--info", "-c", "config.json", "-q", "query.csv")
    assert list(here.glob("data/sub-00123/ses-*/*.csv"))
    pacsifier(here, "--check", "-c", "config.json", "--capabilities", "pacs.json")
    pacsifier(here, *SAVE, "--capabilities", "pacs.json")
    assert instance_paths(here / "data")


def test_images_are_moved(here, dcmqrscp):
    with RawScp(dcmqrscp.move_aet, dcmqrscp.move_port) as other:
        pacsifier(here, "--move", "-c", "config.json", "-q", "query.csv")
    assert other.objects


def test_a_folder_is_uploaded(here, hospital: Hospital, peers, tmp_path):
    record = hospital.by_patient["00123"][0]
    with start_dcmqrscp(tmp_path / "pacs", [], peers) as pacs:
        pacs.write_config(here / "config.json")
        (here / "data").mkdir()
        (here / "data" / "image").write_bytes(record.path.read_bytes())
        pacsifier(here, "--upload", "-c", "config.json")
        keys = {
            "StudyInstanceUID": record.study_uid,
            "SeriesInstanceUID": record.series_uid,
            "SOPInstanceUID": "",
        }
        assert [each.SOPInstanceUID for each in find(pacs, "IMAGE", **keys)] == [record.sop_uid]


def test_a_data_dictionary_named_from_there_is_found(here):
    """By a tool too, which works in another folder."""
    installed = Path(find_binary("findscu")).resolve().parents[1] / "share"
    known = next(installed.glob("*dcmtk*/dicom.dic"))
    (here / "dicom.dic").write_bytes(known.read_bytes())
    pacsifier(here, *SAVE, DCMDICTPATH="dicom.dic")
    assert instance_paths(here / "data")


# --- the other commands ------------------------------------------------------------------------------------------

# The module of each command, its options, and what it writes; the patients 00123 and 45322 lie in `in`.
OTHERS = {
    "pacsifier-anonymize": (
        "anonymize",
        "-d in -o out --key keys/key.json -n ids.json --day_shift shifts.json --keep_words words.txt "
        "--reviewed words.txt -a",
        "keys/key.json",
    ),
    "pacsifier-create-dicomdir": ("create_dicomdir", "-d in -o cd --dcmtk_dir tools", "cd/DICOMDIR"),
    "pacsifier-get-pseudonyms": (
        "get_pseudonyms",
        "-m custom -mf map.csv -a PROJ -d new/ids",
        "new/ids/new_ids_PROJ.json",
    ),
    "pacsifier-move-csv": ("move_csv", "-d info -o moved", "moved/table.csv"),
    "pacsifier-add-karnak-tags": (
        "add_karnak_tags",
        "-d in -n ids.json -s shifts.json -a album",
        "in/sub-00123/MR",
    ),
    "pacsifier-extract-carestream-report": ("extract_report", "-d in", "in/reports.csv"),
    "pacsifier-report": ("report", "in", "in/report.html"),
    "pacsifier-merge-parts": (
        "merge_parts",
        "-q query.csv -d parts_of --parts 1",
        "parts_of/logs/pacsifier_log.csv",
    ),
}


@pytest.fixture
def stocked(here: Path, hospital: Hospital) -> Path:
    """Besides, two patients in `in`, maps, and the other things that the commands read."""
    for patient, modality in (("00123", "MR"), ("45322", "SR")):
        record = next(each for each in hospital.by_patient[patient] if each.modality == modality)
        (here / "in" / f"sub-{patient}").mkdir(parents=True)
        (here / "in" / f"sub-{patient}" / modality).write_bytes(record.path.read_bytes())
    (here / "ids.json").write_text(json.dumps({"sub-00123": "P1", "sub-45322": "P2"}), encoding="utf-8")
    (here / "shifts.json").write_text(json.dumps({"sub-00123": -3, "sub-45322": 4}), encoding="utf-8")
    (here / "map.csv").write_text("00123,P1\n", encoding="utf-8")
    (here / "words.txt").write_text("Quitte\n", encoding="utf-8")
    (here / "tools").symlink_to(Path(find_binary("findscu")).parent)
    for name in ("keys", "info"):
        (here / name).mkdir()
    (here / "info" / "table.csv").write_text("a\n", encoding="utf-8")
    return here


@pytest.mark.parametrize("command", OTHERS)
def test_a_command_reads_and_writes_where_the_user_stands(command, stocked):
    module, options, written = OTHERS[command]
    if module == "merge_parts":
        pacsifier(stocked, *SAVE, "--shard", "1/1", "-d", "parts_of/parts/1")
    before = stocked.parent.stat().st_mtime_ns
    stamp = (stocked / written).stat().st_mtime_ns if (stocked / written).exists() else 0
    done = invoke(module, *options.split(), cwd=stocked)
    assert done.returncode == 0, done.stderr
    assert (stocked / written).stat().st_mtime_ns > stamp
    assert stocked.parent.stat().st_mtime_ns == before, "something lies elsewhere"


def test_the_service_is_asked_with_files_from_where_the_user_stands(stocked, httpserver):
    config = {"deid_URL": httpserver.url_for("/deid"), "deid_token": "token"}
    (stocked / "deid.json").write_text(json.dumps(config), encoding="utf-8")
    httpserver.expect_request("/deid").respond_with_json({"sub-00123": "P1"})
    httpserver.expect_request("/deid_shift").respond_with_json({"sub-00123": "-3"})
    done = invoke(
        "get_pseudonyms", *["-c", "deid.json", "-q", "query.csv", "-a", "PROJ", "-d", "new/ids"], cwd=stocked
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((stocked / "new" / "ids" / "new_ids_PROJ.json").read_text()) == {"sub-00123": "P1"}


def test_the_demo_pacs_lies_where_the_user_stands(here):
    ports = ("--port", str(free_port()), "--move_port", str(free_port()))
    argv = [sys.executable, "-m", "pacsifier.cli.demo_pacs", *ports]
    process = subprocess.Popen(argv, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert "is ready" in process.stdout.readline()
        done = pacsifier(here, "--save", "-c", "demo-pacs/config.json", "-q", "demo-pacs/query.csv")
        assert instance_paths(here / "data"), done.stderr
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


def test_every_command_is_tried_here():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = setup["options.entry_points"]["console_scripts"].strip().splitlines()
    commands = {line.partition("=")[0].strip() for line in lines}
    wrappers = {name for name in commands if name.startswith("docker_")}
    # pacsifier-slurm needs a Slurm: tests/slurm.
    assert commands - wrappers == {*OTHERS, "pacsifier", "pacsifier-demo-pacs", "pacsifier-slurm"}
