"""What a user could lose where `--save` gets the images by C-GET, on both PACS."""

from __future__ import annotations

import re

import pydicom
import pytest

from pacs.runs import Run, run
from pacs.servers import (
    OUR_AET,
    RLE,
    Hospital,
    Server,
    start_orthanc,
)
from pacsifier.dcmtk import confinement
from pacsifier.dicom import part10

EVERYONE = [{"PatientID": patient} for patient in ("00123", "123421", "45322", "124588", "SYN 05")]
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
