"""What a user could lose where `--save` gets the images by C-GET, on both PACS."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import uuid
from pathlib import Path

import pydicom
import pytest

from pacs.runs import MARK, Run, arguments, instance_paths, left_over, processes, run, until
from pacs.servers import (
    OUR_AET,
    RLE,
    Hospital,
    Server,
    _await_echo,
    _spawn,
    pacsifier_argv,
    read_record,
    start_dcmqrscp,
    start_orthanc,
)
from pacsifier import part10
from pacsifier.dcmtk import confinement
from pacsifier.demo import make_archive

EVERYONE = [{"PatientID": patient} for patient in ("00123", "123421", "45322", "124588", "SYN 05")]
ARCHIVE = [{"PatientID": "BENCH00001"}]
GET = ("--save", "--retrieve_method", "get", "--retry_wait", "0.1", "--settle_time", "0.2")
PREFIXES = {"MR": "MR", "CT": "CT", "US": "USm", "SR": "SRe"}


@pytest.fixture(scope="module")
def everything(pacs: Server, tmp_path_factory) -> Run:
    """All that the PACS holds, by C-GET; read-only for tests."""
    return run(pacs, tmp_path_factory.mktemp("everything"), EVERYONE, *GET)


def test_everything_comes(everything, hospital: Hospital):
    assert everything.status == 0, everything.stderr
    assert everything.statuses() == {("complete", "True")}
    assert everything.files.keys() == hospital.by_sop.keys()


def test_files_are_named_as_those_that_come_by_c_move(everything, hospital: Hospital):
    for uid, path in everything.files.items():
        assert path.name == f"{PREFIXES[hospital.by_sop[uid].modality]}.{uid}"


@pytest.mark.skipif(not confinement.is_possible(), reason="without Landlock getscu writes what it understood")
def test_what_the_pacs_sent_is_kept_byte_by_byte(pacs, everything, sent, hospital: Hospital):
    for uid, path in everything.files.items():
        if pacs.kind == "orthanc" and hospital.by_sop[uid].transfer_syntax == RLE:
            continue
        file = part10.read(path, ())
        assert (file.transfer_syntax, path.read_bytes()[file.dataset_offset :]) == sent[uid]


def test_a_pacs_that_decompresses_for_c_get_loses_no_pixel(pacs, everything, hospital: Hospital):
    """Orthanc 1.10.1 takes no compressed syntax for C-GET; dcmqrscp does."""
    (record,) = [each for each in hospital.records if each.transfer_syntax == RLE]
    came = pydicom.dcmread(everything.files[record.sop_uid])
    assert (came.file_meta.TransferSyntaxUID == RLE) == (pacs.kind == "dcmqrscp")
    assert (came.pixel_array == pydicom.dcmread(record.path).pixel_array).all()
    assert "does not tell" in everything.stderr


def test_what_is_there_is_not_asked_for_again(pacs, everything):
    again = run(pacs, everything.out.parent, EVERYONE, *GET, "--resume")
    assert again.status == 0, again.stderr
    assert again.statuses() == {("skipped", "True")}
    assert re.search(r"\b0 bytes received", again.stderr)


def test_an_orthanc_that_does_not_allow_c_get_says_so(hospital: Hospital, peers, tmp_path):
    host, port = peers[OUR_AET]
    known = {"us": {"AET": OUR_AET, "Host": host, "Port": port, "AllowGet": False}}
    files = hospital.files[:1]
    with start_orthanc(tmp_path / "pacs", files, peers, DicomModalities=known) as pacs:
        done = run(pacs, tmp_path, EVERYONE[:1], *GET)
    assert done.status == 1, done.stderr
    assert f"have C-GET allowed to {OUR_AET}" in done.stderr
    assert done.files == {}


def test_a_pacs_killed_in_the_middle_costs_only_another_run(peers, tmp_path: Path):
    files = make_archive(tmp_path / "archive", 1, 1, 2, 150, 32)
    with start_dcmqrscp(tmp_path / "pacs", files, peers) as pacs:
        mark = uuid.uuid4().hex
        process = subprocess.Popen(
            pacsifier_argv(*arguments(pacs, tmp_path, ARCHIVE, *GET)),
            env={**os.environ, MARK: mark},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        received = tmp_path / "out" / ".pacsifier" / "received"
        until(lambda: (received.is_dir() and any(received.iterdir())) or process.poll() is not None, 60)
        os.killpg(pacs.process.pid, signal.SIGKILL)
        pacs.process.wait(10)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 1, stderr
        assert "Traceback" not in stderr
        until(lambda: not processes(mark), 5)
        assert left_over(tmp_path / "out", mark) == []
        before = {path: path.stat().st_ino for path in instance_paths(tmp_path / "out")}
        assert 0 < len(before) < 300

        pacs.process = _spawn(pacs.process.args, pacs.folder, True)  # type: ignore[arg-type]
        _await_echo(pacs)
        again = run(pacs, tmp_path, ARCHIVE, *GET, "--resume")
        assert again.status == 0, again.stderr
        pixels = {read_record(path).sop_uid: path.read_bytes()[-2048:] for path in files}
        assert {uid: path.read_bytes()[-2048:] for uid, path in again.files.items()} == pixels
        after = {path: path.stat().st_ino for path in instance_paths(tmp_path / "out")}
        assert before.items() <= after.items(), "what was there was fetched again"
