"""The two PACS of the tests hold the hospital and send all of it; what they are filled with stays untouched."""

from __future__ import annotations

import pydicom
import pytest

from pacs.servers import (
    LOOPBACK,
    RLE,
    Hospital,
    RawScp,
    capture,
    find,
    find_binary,
    free_port,
    parse,
    read_record,
    start_dcmqrscp,
    start_orthanc,
)


def test_each_pacs_answers_for_every_patient(pacs, hospital):
    for patient_id, records in hospital.by_patient.items():
        answers = find(pacs, "STUDY", PatientID=patient_id, StudyInstanceUID="")
        assert {each.StudyInstanceUID for each in answers} == {each.study_uid for each in records}
        assert {each.PatientID for each in answers} == {patient_id}


def test_each_pacs_sends_every_instance_once_and_compressed_as_it_is(sent, hospital):
    assert {uid: syntax for uid, (syntax, _) in sent.items()} == {
        uid: record.transfer_syntax for uid, record in hospital.by_sop.items()
    }
    assert [syntax for syntax, _ in sent.values()].count(RLE) == 1


def test_each_pacs_sends_the_values_it_was_given(sent, hospital):
    for uid, captured in sent.items():
        given = pydicom.dcmread(hospital.by_sop[uid].path)
        assert parse(*captured) == pydicom.Dataset(given)


def test_each_pacs_answers_with_accents_in_either_character_set(pacs):
    names = {str(each.PatientName) for each in find(pacs, "STUDY", StudyInstanceUID="", PatientName="")}
    assert {"KENOBI^OBI-WAN", "Müller^Zoé", "Šimůnek^Łucja"} <= names


def test_each_pacs_serves_more_than_one_association_at_a_time(pacs):
    from pynetdicom import AE

    entity = AE(ae_title=pacs.our_aet)
    entity.add_requested_context("1.2.840.10008.1.1")
    open_ones = [entity.associate(pacs.address, pacs.port, ae_title=pacs.aet) for _ in range(3)]
    try:
        assert [each.send_c_echo().Status for each in open_ones] == [0, 0, 0]
    finally:
        for each in open_ones:
            each.release()


def test_a_config_holds_exactly_the_documented_keys(pacs):
    config = pacs.config(batch_size=2)
    assert config["batch_size"] == 2
    assert list(config) == [
        *(
            "server_address",
            "port",
            "server_AET",
            "AET",
            "move_AET",
            "move_port",
            "batch_size",
            "batch_wait_time",
        )
    ]


def test_an_instance_can_be_taken_out_of_orthanc(tmp_path, hospital, peers):
    some = hospital.records[:3]
    with start_orthanc(tmp_path / "own", [each.path for each in some], peers) as own:
        assert own.file(some[1].sop_uid) == some[1].path.read_bytes()
        own.delete_instance(some[1].sop_uid)
        assert own.count() == 2
        left = find(own, "IMAGE", StudyInstanceUID="", SeriesInstanceUID="", SOPInstanceUID="")
    assert {each.SOPInstanceUID for each in left} == {some[0].sop_uid, some[2].sop_uid}


def test_a_stored_replacement_leaves_the_files_of_the_hospital_alone(tmp_path, hospital, peers):
    import subprocess

    record = hospital.records[0]
    before = record.path.read_bytes()
    with start_dcmqrscp(tmp_path / "own", [record.path], peers) as own:
        argv = [find_binary("storescu"), "-aet", own.our_aet, "-aec", own.aet, own.address, str(own.port)]
        subprocess.run([*argv, str(record.path)], check=True)
    assert record.path.read_bytes() == before


def test_a_stopped_server_is_gone(tmp_path, peers):
    own = start_dcmqrscp(tmp_path / "own", [], peers)
    own.stop()
    assert own.process.returncode is not None
    assert not own.echo()


def test_a_missing_binary_fails_with_its_name():
    with pytest.raises(RuntimeError, match="no-such-program is not installed"):
        find_binary("no-such-program")


def test_ports_are_never_given_out_twice():
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50


def test_the_raw_scp_takes_the_first_syntax_of_its_list(hospital):
    from pynetdicom import AE

    private_class = "1.2.826.0.1.3680043.10.1"
    port = free_port()
    entity = AE(ae_title="SOMEONE")
    entity.add_requested_context(private_class, ["1.2.840.10008.1.2.4.91", RLE, "1.2.840.10008.1.2"])
    with RawScp("RAW", port, [private_class]):
        association = entity.associate(LOOPBACK, port, ae_title="RAW")
        (accepted,) = association.accepted_contexts
        association.release()
    assert accepted.transfer_syntax == ["1.2.840.10008.1.2"]


@pytest.mark.parametrize("start", [start_dcmqrscp, start_orthanc])
def test_each_pacs_can_hold_a_private_class(start, tmp_path, hospital, peers):
    private_class = "1.2.826.0.1.3680043.10.1.4.1"
    instance = pydicom.dcmread(hospital.records[0].path)
    instance.SOPClassUID = instance.file_meta.MediaStorageSOPClassUID = private_class
    instance.save_as(tmp_path / "private.dcm")
    own_hospital = Hospital(tmp_path, (read_record(tmp_path / "private.dcm"),))
    with start(tmp_path / "own", own_hospital.files, peers) as own:
        ((syntax, data_set),) = capture(own, own_hospital).values()
    assert parse(syntax, data_set).SOPClassUID == private_class


def test_what_a_capture_tells_apart_is_not_only_equal_to_itself(sent, hospital):
    """Guards the comparison above: another instance's values are not equal."""
    one, two = hospital.records[:2]
    assert parse(*sent[one.sop_uid]) != pydicom.Dataset(pydicom.dcmread(two.path))
