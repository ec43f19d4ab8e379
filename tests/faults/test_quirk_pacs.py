"""The quirk PACS bears witness only if it is right without a quirk, and if its record is true."""

from __future__ import annotations

import pytest
from pacs.runs import run, wanted_series
from pacs.servers import RAW_AET, RawScp, capture, find, move_studies

from faults.quirk_pacs import Quirks, start_quirk_pacs
from pacsifier.dicom import part10

EVERYONE = [{"PatientID": patient} for patient in ("00123", "123421", "45322", "124588", "SYN 05")]
LOCALIZER = {"PatientID": "00123", "SeriesNumber": "1", "Modality": "MR"}


def body(path) -> bytes:
    return path.read_bytes()[part10.read(path, ()).dataset_offset :]


def test_without_a_quirk_everything_is_saved_as_it_lies_in_the_pacs(quirky, hospital, tmp_path):
    pacs = quirky()
    done = run(pacs, tmp_path, EVERYONE, "--save", "--info")
    assert done.status == 0, done.stderr
    assert done.statuses() == {("complete", "True")}
    assert done.files.keys() == hospital.by_sop.keys()
    assert {uid: body(path) for uid, path in done.files.items()} == {
        uid: body(record.path) for uid, record in hospital.by_sop.items()
    }
    assert sorted(pacs.sent) == sorted(hospital.by_sop)


def test_each_file_goes_out_as_it_is(quirky, hospital):
    sent = capture(quirky(), hospital)
    assert sent == {
        uid: (record.transfer_syntax, body(record.path)) for uid, record in hospital.by_sop.items()
    }


def test_it_tells_what_it_was_asked(quirky, hospital, tmp_path):
    pacs = quirky()
    done = run(pacs, tmp_path, [LOCALIZER], "--save")
    (uid,) = wanted_series(hospital.records, LOCALIZER)
    assert done.status == 0
    assert [(entry["keys"]["PatientID"], entry["answers"]) for entry in pacs.finds("STUDY")] == [("00123", 2)]
    assert sum(entry["answers"] for entry in pacs.finds("SERIES")) == len(
        {each.series_uid for each in hospital.by_patient["00123"]}
    )
    (move,) = pacs.moves
    assert (move["level"], move["keys"]["SeriesInstanceUID"], move["destination"]) == (
        "SERIES",
        uid,
        pacs.our_aet,
    )
    assert pacs.entries("moved")[0]["status"] == 0
    assert sorted(pacs.sent) == sorted(record.sop_uid for record in hospital.by_series[uid])
    assert (pacs.most_open, pacs.entries("rejected")) == (1, [])


def test_it_may_change_as_often_and_as_fast_as_one_likes(quirky, hospital):
    pacs = quirky()
    process = pacs.process
    for number in range(1, 51):
        assert quirky(most_associations=number).process is process
        assert process.poll() is None


def test_it_forgets_when_it_changes(quirky, hospital):
    pacs = quirky()
    assert len(find(pacs, "STUDY", PatientID="00123", StudyInstanceUID="")) == 2
    assert len(pacs.finds()) == 1
    assert quirky(hospital.files[:3]).finds() == []
    assert len(find(pacs, "STUDY", PatientID="*", StudyInstanceUID="")) == 1


@pytest.mark.parametrize(
    ("keys", "level", "number"),
    [
        ({"PatientID": "0012?"}, "STUDY", 2),
        ({"PatientName": "skywalker*", "StudyDate": ""}, "STUDY", None),
        ({"StudyDate": "20150512-20150612"}, "STUDY", None),
        ({"StudyDate": "20180102", "StudyTime": "080000-120000"}, "STUDY", None),
    ],
)
def test_it_matches_as_orthanc_does(quirky, orthanc, keys, level, number):
    asked = {"StudyInstanceUID": "", **keys}
    uids = [
        sorted(answer.StudyInstanceUID for answer in find(each, level, **asked))
        for each in (quirky(), orthanc)
    ]
    assert uids[0] == uids[1]
    assert number in (None, len(uids[0]))


def test_it_invents_series_quickly(quirky, hospital, tmp_path):
    """Slower than 5,000 a second it would itself be what a load test measures; the wall clock is the machine's."""
    pacs = quirky(synthetic_series=12_000)
    study = hospital.records[0].study_uid
    done = run(pacs, tmp_path, [{"StudyInstanceUID": study}], "--info", "--limit", "1", "--yes")
    (entry,) = pacs.finds("SERIES")
    assert (done.status, entry["answers"]) == (1, 12_000), done.stderr
    assert entry["cpu_s"] < 12_000 / 5_000


def test_it_can_be_killed_and_started_again(hospital, peers, tmp_path):
    with start_quirk_pacs(tmp_path / "pacs", hospital.files[:3], peers) as pacs:
        assert pacs.echo()
        pacs.kill()
        assert not pacs.echo()
        assert pacs.restart(Quirks(), hospital.files[:3]).echo()


def test_it_knows_its_callers_and_its_own_name(quirky):
    pacs = quirky()
    aet, pacs.aet = pacs.aet, "WRONG"
    try:
        assert not pacs.echo()
    finally:
        pacs.aet = aet
    assert pacs.echo()
    assert [entry["reason"] for entry in pacs.entries("rejected")] == [[1, 1, 7]]


def test_a_raw_receiver_sees_a_cut_and_a_second_delivery(quirky, hospital, peers):
    record = hospital.records[0]
    pacs = quirky(hospital.files[:1], twice=(record.sop_uid,), twice_differs=True)
    with RawScp(RAW_AET, peers[RAW_AET][1]) as receiver:
        move_studies(pacs, [record.study_uid], RAW_AET)
        first, second = (each.data_set for each in receiver.objects)
    assert first == body(record.path)
    assert len(first) == len(second)
    assert sum(a != b for a, b in zip(first, second, strict=True)) == 1
