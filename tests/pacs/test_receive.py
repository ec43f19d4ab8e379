"""What a run does beyond the plain case: classes nobody has heard of, pauses, and a person who presses Ctrl-C twice."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import uuid
from pathlib import Path

import pydicom
import pytest

from pacs.runs import MARK, arguments, port_is_free, processes, run, until
from pacs.servers import OUR_AET, pacsifier_argv, start_dcmqrscp, start_orthanc
from pacsifier.demo import make_archive

PRIVATE_CLASS = "1.2.826.0.1.3680043.8.498.77"


@pytest.fixture(scope="module", params=["dcmqrscp", "orthanc"])
def private(request, tmp_path_factory, peers):
    """A PACS with one series of a private SOP class beside one of MR images, and the private files by UID."""
    files = make_archive(tmp_path_factory.mktemp("archive"), 1, 1, 2, 3, 32)
    odd = {}
    for path in files[3:]:
        dataset = pydicom.dcmread(path)
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = PRIVATE_CLASS
        dataset.save_as(path)
        odd[dataset.SOPInstanceUID] = path
    start = start_dcmqrscp if request.param == "dcmqrscp" else start_orthanc
    with start(tmp_path_factory.mktemp("private"), files, peers) as server:
        yield server, odd


def test_images_of_a_private_class_come_without_being_asked_for_by_name(private, tmp_path):
    server, odd = private
    done = run(server, tmp_path, [{"PatientID": "BENCH00001"}], "--save")
    assert done.status == 0, done.stderr
    assert len(done.files) == 6
    for uid, path in odd.items():
        mine = pydicom.dcmread(done.files[uid])
        assert mine.SOPClassUID == PRIVATE_CLASS
        assert mine == pydicom.dcmread(path)


def test_a_private_class_that_is_named_comes_at_the_first_asking(private, tmp_path):
    server, _ = private
    done = run(server, tmp_path, [{"PatientID": "BENCH00001"}], "--save", "--sop_class", PRIVATE_CLASS)
    assert done.status == 0, done.stderr
    assert "once more" not in done.stderr


@pytest.mark.parametrize(
    ("row", "most"), [({"PatientID": "124588", "SeriesNumber": "4"}, 1), ({"PatientID": "124588"}, 5)]
)
def test_who_is_not_declared_is_told_at_the_first_refusal_though_orthanc_hides_why(
    row, most, hospital, peers, tmp_path
):
    """Orthanc answers an unknown destination with 0xC000: one series is enough to be told, and nothing is repeated."""
    loose = {"DicomAlwaysAllowEcho": True, "DicomAlwaysAllowFind": True, "DicomAlwaysAllowMove": True}
    others = {name: peer for name, peer in peers.items() if name != OUR_AET}
    with start_orthanc(tmp_path / "pacs", hospital.files, others, **loose) as server:
        server.peers = peers
        done = run(server, tmp_path, [row], "--save")
        asked = server.log.count("MoveScp.cpp")
    assert done.status == 1
    told = [line for line in done.stderr.splitlines() if "0xC000" in line]
    assert len(told) == 1, done.stderr
    port = server.config()["move_port"]
    assert f"have the AE title {OUR_AET} declared" in told[0]
    assert f"this machine's address (127.0.0.1) and port {port}" in told[0]
    assert 1 <= asked <= most


def test_the_pacs_is_left_in_peace_between_batches(orthanc, tmp_path):
    started = time.monotonic()
    row = {"PatientID": "00123", "StudyDate": "20160420"}
    done = run(orthanc, tmp_path, [row], "--save", batch_size=2, batch_wait_time=1.5)
    assert done.status == 0, done.stderr
    assert len(done.log) == 5
    assert time.monotonic() - started >= 2 * 1.5, "5 series in batches of 2 make 2 pauses"


def _movescu(mark: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            mine = f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0")
            if mine and b"movescu\0@" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_a_second_ctrl_c_ends_at_once_even_where_a_tool_hangs(peers, tmp_path):
    files = make_archive(tmp_path / "archive", 1, 1, 1, 600, 32)
    with start_dcmqrscp(tmp_path / "pacs", files, peers) as server:
        mark = uuid.uuid4().hex
        args = arguments(server, tmp_path, [{"PatientID": "BENCH00001"}], "--save")
        process = subprocess.Popen(
            pacsifier_argv(*args),
            env={**os.environ, MARK: mark},
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            until(lambda: _movescu(mark) or process.poll() is not None, 30)
            for pid in _movescu(mark):
                os.kill(pid, signal.SIGSTOP)
            process.send_signal(signal.SIGINT)
            # The first one gives the tool that hangs its two seconds of grace.
            started = time.monotonic()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.3)
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            process.wait(10)
            # Where it was ending already, the signal itself ends it; a shell says 130 of both.
            assert process.returncode in (130, -signal.SIGINT)
            assert time.monotonic() - started < 1.5
        finally:
            process.kill()
            process.communicate()
        until(lambda: not processes(mark) and port_is_free(server.our_port), 5)
