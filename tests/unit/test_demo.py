"""The synthetic hospital: valid, deterministic, and with every trap that it promises."""

from __future__ import annotations

import csv
import fnmatch
import io
import subprocess
import sys
from collections import Counter

import numpy as np
import pydicom
import pytest

from pacsifier import demo

EXPLICIT_LE, RLE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"
ULTRASOUND_MULTIFRAME = "1.2.840.10008.5.1.4.1.1.3.1"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return demo.make_hospital(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def instances(files):
    with pytest.MonkeyPatch.context() as strict:
        strict.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.RAISE)
        found = [pydicom.dcmread(path) for path in files]
        for instance in found:
            instance.decode()  # every element, so that each value is checked
    return found


def of_patient(instances, patient_id):
    return [each for each in instances if each.PatientID == patient_id]


def test_importing_the_module_imports_neither_pydicom_nor_numpy():
    code = "import sys, pacsifier.demo; print({'pydicom', 'numpy'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_the_same_call_writes_the_same_bytes(files, tmp_path):
    again = demo.make_hospital(tmp_path)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in files]


def test_the_hospital_stays_small(files):
    assert 80 <= len(files) <= 200
    assert sum(path.stat().st_size for path in files) < 8_000_000


def test_file_names_are_dicom_file_ids(files):
    for path in files:
        assert all(len(part) <= 8 and part.isalnum() and part.isupper() for part in path.parts[-4:])


def test_at_least_four_patients_have_two_studies_each(instances):
    studies = {each.PatientID: set() for each in instances}
    for each in instances:
        studies[each.PatientID].add(each.StudyInstanceUID)
    assert len(studies) >= 4
    assert {len(uids) for uids in studies.values()} == {2}


def test_every_instance_has_its_own_uid_and_says_so_in_its_file_meta(instances):
    assert len({each.SOPInstanceUID for each in instances}) == len(instances)
    for each in instances:
        assert each.file_meta.MediaStorageSOPInstanceUID == each.SOPInstanceUID
        assert each.file_meta.MediaStorageSOPClassUID == each.SOPClassUID
        assert pydicom.uid.UID(each.SOPInstanceUID).is_valid
        assert len(each.SOPInstanceUID) == 44


def test_a_series_belongs_to_one_study_and_a_study_to_one_patient(instances):
    for inner, outer in (("SeriesInstanceUID", "StudyInstanceUID"), ("StudyInstanceUID", "PatientID")):
        pairs = {(each[inner].value, each[outer].value) for each in instances}
        assert max(Counter(uid for uid, _ in pairs).values()) == 1


def test_there_are_mr_ct_us_and_reports(instances):
    assert {each.Modality for each in instances} == {"MR", "CT", "US", "SR"}


def test_required_attributes_are_there(instances):
    """Types 1 and 2 of the modules; dciodvfy of dicom3tools finds no error in them either (run by hand)."""
    everywhere = (
        "PatientName PatientID PatientBirthDate PatientSex StudyInstanceUID StudyDate StudyTime StudyID"
    )
    everywhere += (
        " ReferringPhysicianName AccessionNumber Modality SeriesInstanceUID SeriesNumber Manufacturer"
    )
    everywhere += " InstanceNumber SOPClassUID SOPInstanceUID"
    slices = (
        "FrameOfReferenceUID PositionReferenceIndicator PixelSpacing ImageOrientationPatient SliceThickness"
    )
    slices += " ImagePositionPatient ImageType PatientPosition"
    own = {
        "MR": f"{slices} ScanningSequence SequenceVariant ScanOptions MRAcquisitionType EchoTime EchoTrainLength"
        " RepetitionTime SequenceName",
        "CT": f"{slices} KVP AcquisitionNumber RescaleIntercept RescaleSlope",
        "US": "NumberOfFrames FrameTime FrameIncrementPointer",
        "SR": "CompletionFlag VerificationFlag ContentDate ContentTime ReferencedPerformedProcedureStepSequence"
        " PerformedProcedureCodeSequence CurrentRequestedProcedureEvidenceSequence ContentSequence",
    }
    for each in instances:
        missing = [keyword for keyword in f"{everywhere} {own[each.Modality]}".split() if keyword not in each]
        assert not missing
        assert "IssuerOfPatientID" not in each


def test_names_survive_their_character_sets(files, instances):
    for character_set, name, encoded in (
        ("ISO_IR 100", "Müller^Zoé", "Müller^Zoé".encode("latin-1")),
        ("ISO_IR 192", "Šimůnek^Łucja", "Šimůnek^Łucja".encode()),
        (None, "KENOBI^OBI-WAN", b"KENOBI^OBI-WAN"),
    ):
        own = [n for n, each in enumerate(instances) if str(each.PatientName) == name]
        assert own
        assert {instances[n].get("SpecificCharacterSet") for n in own} == {character_set}
        assert all(encoded in files[n].read_bytes() for n in own)


def test_twin_series_share_number_and_description_in_one_study(instances):
    series = {
        (each.SeriesInstanceUID, each.StudyInstanceUID, each.SeriesNumber, each.get("SeriesDescription"))
        for each in instances
    }
    twins = Counter(key[1:] for key in series)
    assert [(count, key[1:]) for key, count in twins.items() if count > 1] == [(2, (3, "DWI b1000"))]


def test_one_series_has_no_description_and_one_is_hard_to_name_a_folder_after(instances):
    descriptions = {each.get("SeriesDescription") for each in instances}
    assert None in descriptions
    assert 'T1 "axial" [3D]/été' in descriptions


def test_one_patient_id_begins_with_zeros(instances):
    assert "00123" in {each.PatientID for each in instances}


def test_some_study_time_has_a_fraction(instances):
    assert any("." in each.StudyTime for each in instances)


def test_only_one_class_is_compressed_and_it_is_compressed_throughout(instances):
    syntaxes = {(each.SOPClassUID, each.file_meta.TransferSyntaxUID) for each in instances}
    assert {sop_class for sop_class, syntax in syntaxes if syntax != EXPLICIT_LE} == {ULTRASOUND_MULTIFRAME}
    assert (ULTRASOUND_MULTIFRAME, RLE) in syntaxes
    assert (ULTRASOUND_MULTIFRAME, EXPLICIT_LE) not in syntaxes


def test_the_compressed_series_decodes_to_the_phantom(instances):
    (echo,) = [each for each in instances if each.Modality == "US"]
    assert echo.pixel_array.shape == (6, demo.SIZE, demo.SIZE)
    for number, frame in enumerate(echo.pixel_array):
        assert np.array_equal(frame, demo.phantom(demo.SIZE, 2 * number / 5 - 1) // 16)


def test_a_picture_shows_something_that_changes_from_slice_to_slice(instances):
    pictures = [each.pixel_array for each in instances if each.Modality in ("MR", "CT")]
    assert {(each.shape, each.dtype.str, int(each.max())) for each in pictures} == {
        ((128, 128), "<u2", demo.PEAK)
    }
    mprage = [each.pixel_array for each in instances if each.get("SeriesDescription") == "T1 MPRAGE sag"]
    assert len({each.tobytes() for each in mprage}) >= len(mprage) // 2


def test_slices_lie_one_behind_the_other(instances):
    mprage = [each for each in instances if each.get("SeriesDescription") == "T1 MPRAGE sag"]
    assert [each.ImagePositionPatient[2] for each in mprage] == [5 * n for n in range(6)]
    assert [each.InstanceNumber for each in mprage] == [1, 2, 3, 4, 5, 6]
    assert len({each.FrameOfReferenceUID for each in mprage}) == 1


def test_reports_have_a_content_tree_that_refers_to_an_image_of_their_study(instances):
    by_uid = {each.SOPInstanceUID: each for each in instances}
    reports = [each for each in instances if each.Modality == "SR"]
    assert reports
    for report in reports:
        items = list(content_items(report))
        assert {item.ValueType for item in items} == {"CODE", "PNAME", "CONTAINER", "TEXT", "NUM", "IMAGE"}
        (reference,) = [item.ReferencedSOPSequence[0] for item in items if item.ValueType == "IMAGE"]
        image = by_uid[reference.ReferencedSOPInstanceUID]
        assert image.StudyInstanceUID == report.StudyInstanceUID
        assert image.SOPClassUID == reference.ReferencedSOPClassUID


def content_items(item):
    for child in item.get("ContentSequence", []):
        yield child
        yield from content_items(child)


def test_the_report_text_names_the_patient_in_the_character_set_of_the_file(instances):
    (report,) = [each for each in of_patient(instances, "45322") if each.Modality == "SR"]
    texts = [item.TextValue for item in content_items(report) if item.ValueType == "TEXT"]
    assert any("Šimůnek" in text for text in texts)


def found(instances, **wanted):
    """Return the instances that match a row of a query table, by the file's own header."""
    return [each for each in instances if all(matches(each, key, value) for key, value in wanted.items())]


def matches(instance, keyword, wanted):
    value = str(instance.get(keyword, ""))
    if keyword == "StudyDate" and "-" in wanted:
        first, last = wanted.split("-")
        return first <= value <= last
    if keyword == "PatientName":
        return value.startswith(wanted)
    return fnmatch.fnmatchcase(value, wanted)


@pytest.mark.parametrize(
    "row",
    [
        {"StudyDate": "20150512", "PatientID": "123421"},
        {"PatientID": "45322"},
        {"StudyDate": "20180102"},
        {"StudyDate": "20150512-20150612", "PatientID": "124588"},
        {"ProtocolName": "BEAT_SelfNav*", "Modality": "CT", "PatientBirthDate": "19920611"},
    ],
)
def test_every_example_of_the_documentation_finds_something_and_not_everything(instances, row):
    assert 0 < len(found(instances, **row)) < len(instances) / 2


def test_every_row_of_the_demo_query_finds_something_and_together_they_find_every_patient(instances):
    rows = [
        {key: value for key, value in row.items() if value}
        for row in csv.DictReader(io.StringIO(demo.DEMO_QUERY))
    ]
    answers = [found(instances, **row) for row in rows]
    assert all(answers)
    assert {each.PatientID for answer in answers for each in answer} == {each.PatientID for each in instances}


def test_an_archive_has_the_numbers_that_were_asked_for(tmp_path):
    files = demo.make_archive(tmp_path, patients=2, studies=3, series=2, slices=4, size=16)
    instances = [pydicom.dcmread(path) for path in files]
    assert len(files) == 2 * 3 * 2 * 4
    for attribute, count in (("PatientID", 2), ("StudyInstanceUID", 6), ("SeriesInstanceUID", 12)):
        assert len({each[attribute].value for each in instances}) == count
    assert len({each.SOPInstanceUID for each in instances}) == len(files)


def test_an_archive_is_valid_and_consistent(tmp_path):
    files = demo.make_archive(tmp_path, patients=1, studies=2, series=2, slices=3, size=16)
    for path in files:
        instance = pydicom.dcmread(path)
        assert instance.file_meta.MediaStorageSOPInstanceUID == instance.SOPInstanceUID
        assert instance.pixel_array.shape == (16, 16)
        assert instance.SliceLocation == instance.ImagePositionPatient[2] == 5 * (instance.InstanceNumber - 1)
        assert not any(mark in path.read_bytes() for mark in (b"@PATIENT", b"ACCESSION@", b"DESCRIPTION@"))
        for uid in (instance.StudyInstanceUID, instance.SeriesInstanceUID, instance.FrameOfReferenceUID):
            assert len(uid) == 44
            assert uid.is_valid


def test_another_seed_gives_other_uids_and_the_same_seed_the_same_bytes(tmp_path):
    one, same, other = (
        demo.make_archive(tmp_path / name, 1, 1, 1, 2, 16, seed=seed)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in same]
    uids = [{pydicom.dcmread(path).SOPInstanceUID for path in paths} for paths in (one, other)]
    assert uids[0].isdisjoint(uids[1])
