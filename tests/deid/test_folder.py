"""Trees of files: nothing lost, nothing mixed up, nothing identifying beside the images, safe against any end."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from commands import glimpse
from pydicom.dataset import Dataset

from deid import corpus, helpers
from pacsifier.deidentify.engine import dates
from pacsifier.deidentify.engine.identifiers import Identifiers
from pacsifier.deidentify.engine.instance import deidentify
from pacsifier.deidentify.engine.profile import Options
from pacsifier.deidentify.engine.subject import Subject
from pacsifier.deidentify.folder import deidentify_folder
from pacsifier.deidentify.key import Key, key_path, opened, read
from pacsifier.deidentify.model import Maps
from pacsifier.deidentify.reviewed import Reviewed
from pacsifier.deidentify.verify import Verifier
from pacsifier.errors import InputError
from pacsifier.maps import read_day_shifts, read_new_ids
from pacsifier.query import Shard

ROOT = Path(__file__).parents[2]


def person(number: int, *, instance: int = 1, study: str = "20190307", **values: object) -> Dataset:
    """An MR image of one of many patients."""
    ds = corpus.mr(number * 100 + instance)
    ds.PatientID, ds.PatientName = (
        f"PAT{number:04d}",
        f"Familyname{chr(96 + number) * 3}^Given{chr(96 + number) * 3}",
    )
    ds.StudyInstanceUID, ds.SeriesInstanceUID = corpus.uid(1, number, study), corpus.uid(2, number, study)
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = study
    ds.OtherPatientIDs = ds.AccessionNumber = f"ACC{number:04d}X{study}"
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def put(folder: Path, *datasets: Dataset) -> None:
    for ds in datasets:
        home = folder / f"sub-{ds.PatientID}" / f"ses-{ds.StudyDate}" / "00003-T1"
        corpus.save(ds, home / f"MR.{ds.SOPInstanceUID}")


def report_of(out: Path) -> list[dict[str, str]]:
    with out.with_name(f"{out.name}.deidentification_report.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def by_patient(out: Path) -> dict[str, list[Dataset]]:
    found: dict[str, list[Dataset]] = {}
    for path in helpers.outputs(out):
        ds = helpers.read(path)
        found.setdefault(str(ds.PatientID), []).append(ds)
    return found


@pytest.fixture
def two(tmp_path) -> Path:
    """Two patients, two images each."""
    put(tmp_path / "in", person(1), person(1, instance=2), person(2), person(2, instance=2))
    return tmp_path / "in"


# --- who becomes who ------------------------------------------------------------


def test_patients_are_numbered_and_the_tree_is_rebuilt_from_new_values(two, tmp_path):
    totals = helpers.run(two, tmp_path / "out", verify=True)
    assert (totals.written, totals.failures, totals.hits) == (4, 0, 0)
    assert sorted(by_patient(tmp_path / "out")) == ["000001", "000002"]
    for path in helpers.outputs(tmp_path / "out"):
        ds = helpers.read(path)
        assert path.relative_to(tmp_path / "out").parts == (
            f"sub-{ds.PatientID}",
            "ses-20190307101112_123",
            "00003-T1_MPRAGE_sag",
            f"{ds.SOPInstanceUID}.dcm",
        )
        assert ds.PatientName == f"{ds.PatientID}^sub"


@pytest.mark.parametrize("prefix", ["", "sub-"])
def test_the_map_names_patients_with_and_without_sub(prefix, two, tmp_path):
    path = tmp_path / "map.json"
    path.write_text(json.dumps({f"{prefix}PAT0001": "P0001", f"{prefix}PAT0002": "sub-P0002"}))
    helpers.run(two, tmp_path / "out", maps=Maps(read_new_ids(path)))
    assert sorted(by_patient(tmp_path / "out")) == ["P0001", "P0002"]


def test_a_patient_missing_from_the_map_stops_the_run_before_anything_is_written(two, tmp_path):
    with pytest.raises(InputError, match="PAT0002"):
        helpers.run(two, tmp_path / "out", maps=Maps({"PAT0001": "P0001"}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_a_patient_missing_from_the_day_shifts_stops_the_run(two, tmp_path):
    with pytest.raises(InputError, match="PAT0002"):
        helpers.run(two, tmp_path / "out", Options(fuzz_dates=True), maps=Maps(None, {"sub-PAT0001": 3}))
    assert not (tmp_path / "out").exists()


def test_two_patients_never_become_one(two, tmp_path):
    with pytest.raises(InputError, match="would become one"):
        helpers.run(two, tmp_path / "out", maps=Maps({"PAT0001": "P1", "PAT0002": "p1"}))


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"a": ""}', '{"a": "x\\\\y"}', '{"a": 5}', '{"a": "Zo\\u00e9"}']
)
def test_a_faulty_map_is_named(text, tmp_path):
    (tmp_path / "map.json").write_text(text)
    with pytest.raises(InputError, match=r"map\.json"):
        read_new_ids(tmp_path / "map.json")


@pytest.mark.parametrize("text", ['{"a": "x"}', '{"a": 1.5}', '{"a": true}', '{"a": 999999}'])
def test_a_faulty_day_shift_is_named(text, tmp_path):
    (tmp_path / "shift.json").write_text(text)
    with pytest.raises(InputError, match=r"shift\.json"):
        read_day_shifts(tmp_path / "shift.json")


def test_new_id_txt_in_the_folder_of_the_patient_counts(two, tmp_path):
    (two / "sub-PAT0001" / "new_id.txt").write_text("N77\n")
    helpers.run(two, tmp_path / "out")
    assert sorted(by_patient(tmp_path / "out")) == ["000001", "N77"]
    assert not list((tmp_path / "out").rglob("new_id.txt"))


def test_a_folder_with_two_patients_is_refused_and_the_others_go_on(two, tmp_path):
    corpus.save(person(3), two / "sub-PAT0001" / "strange.dcm")
    totals = helpers.run(two, tmp_path / "out")
    assert (totals.written, totals.failures) == (2, 3)
    assert len(by_patient(tmp_path / "out")) == 1
    reasons = {row["reason"] for row in report_of(tmp_path / "out") if row["status"] == "left out"}
    assert reasons == {"refused: a folder with more than one patient: in sub-PAT0001: PAT0001 and PAT0003"}


def test_a_series_number_that_is_a_name_reaches_no_path(tmp_path):
    path = corpus.save(person(1), tmp_path / "in" / "a.dcm")
    path.write_bytes(path.read_bytes().replace(b"\x20\0\x11\0IS\2\x003 ", b"\x20\0\x11\0IS\4\0Doe "))
    helpers.run(tmp_path / "in", tmp_path / "out")
    (written,) = helpers.outputs(tmp_path / "out")
    assert written.parent.name == "00000-T1_MPRAGE_sag"


def test_a_uid_that_is_a_path_leaves_no_folder(tmp_path):
    ds = person(1)
    corpus.save(ds, tmp_path / "in" / "a.dcm")
    old, new = ds.SOPInstanceUID.encode(), b"../../../../../../../escaped"
    raw = (tmp_path / "in" / "a.dcm").read_bytes()
    (tmp_path / "in" / "a.dcm").write_bytes(raw.replace(old, new.ljust(len(old), b"x")))
    totals = helpers.run(tmp_path / "in", tmp_path / "out", Options(retain_uids=True))
    assert totals.written == 1
    (written,) = helpers.outputs(tmp_path / "out")
    assert written.name.startswith("malformed_")
    assert not list(tmp_path.parent.rglob("escaped*"))


def test_a_flat_folder_with_many_patients_is_sorted_by_headers(tmp_path):
    for number in (1, 2, 3):
        corpus.save(person(number), tmp_path / "in" / f"IM{number}")
    totals = helpers.run(tmp_path / "in", tmp_path / "out")
    assert (totals.written, totals.failures) == (3, 0)
    assert len(by_patient(tmp_path / "out")) == 3


def test_one_patient_id_of_two_issuers_is_two_people(tmp_path):
    put(tmp_path / "in" / "a", person(1, IssuerOfPatientID="HospitalA"))
    put(tmp_path / "in" / "b", person(1, instance=2, IssuerOfPatientID="HospitalB"))
    helpers.run(tmp_path / "in", tmp_path / "numbered")
    assert sorted(by_patient(tmp_path / "numbered")) == ["000001", "000002"]
    totals = helpers.run(tmp_path / "in", tmp_path / "mapped", maps=Maps({"PAT0001": "P1"}))
    assert (totals.written, totals.failures) == (0, 2)
    helpers.run(
        tmp_path / "in", tmp_path / "apart", maps=Maps({"HospitalA|PAT0001": "A1", "HospitalB|PAT0001": "B1"})
    )
    assert sorted(by_patient(tmp_path / "apart")) == ["A1", "B1"]


def test_one_patient_id_with_two_names_and_birth_dates_is_refused(tmp_path):
    put(
        tmp_path / "in",
        person(1),
        person(1, instance=2, PatientName="Otherperson^X", PatientBirthDate="19800101"),
        person(2),
    )
    totals = helpers.run(tmp_path / "in", tmp_path / "out")
    assert (totals.written, totals.failures) == (1, 2)


def test_keep_patient_dir_names_keeps_folders_but_not_headers(two, tmp_path):
    helpers.run(two, tmp_path / "out", keep_patient_dir_names=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["sub-PAT0001", "sub-PAT0002"]
    assert sorted(by_patient(tmp_path / "out")) == ["000001", "000002"]


# --- the key ------------------------------------------------------------


def test_the_key_lies_beside_the_output_and_only_its_owner_may_read_it(two, tmp_path):
    helpers.run(two, tmp_path / "out", write_mapper=False, verify=True)
    key = tmp_path / "out.key.json"
    assert key.read_text(encoding="utf-8").splitlines()[0].startswith('{"keep_apart": "Keep this file apart')
    for path in tmp_path.iterdir():
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name
    assert {path.name for path in tmp_path.iterdir()} == {
        *("in", "out", "out.key.json", "out.deidentification_report.csv", "out.deidentification_summary.txt"),
        *("out.descriptor_words.csv", "out.verify_report.csv"),
    }
    assert read(key).pseudonyms == {"PAT0001": "000001", "PAT0002": "000002"}


def test_a_key_inside_the_output_is_refused(tmp_path):
    for chosen in (tmp_path / "out" / "key.json", tmp_path / "out" / "deep" / "key.json"):
        with pytest.raises(InputError, match="must not lie in the output"):
            key_path(tmp_path / "out", chosen)


def test_something_that_is_no_key_is_never_overwritten(two, tmp_path):
    (tmp_path / "out.key.json").write_text('{"secret": "00"}')
    with pytest.raises(InputError, match="no key"):
        helpers.run(two, tmp_path / "out")
    assert (tmp_path / "out.key.json").read_text() == '{"secret": "00"}'


def test_a_later_export_with_the_key_fits_the_first(tmp_path):
    put(tmp_path / "first", person(1), person(2))
    put(tmp_path / "later", person(2, instance=9, study="20200101"), person(3))
    helpers.run(tmp_path / "first", tmp_path / "out1", Options(fuzz_dates=True))
    helpers.run(
        tmp_path / "later", tmp_path / "out2", Options(fuzz_dates=True), key=tmp_path / "out1.key.json"
    )
    one, two = by_patient(tmp_path / "out1"), by_patient(tmp_path / "out2")
    assert sorted(two) == ["000002", "000003"]
    before, after = one["000002"][0], two["000002"][0]
    assert before.FrameOfReferenceUID == after.FrameOfReferenceUID
    assert before.PatientBirthDate == after.PatientBirthDate
    days = [dates.parse(ds.StudyDate) for ds in (before, after)]
    assert (days[1] - days[0]).days == 300


def test_without_the_key_nothing_fits_and_nothing_is_overwritten(tmp_path):
    put(tmp_path / "first", person(1))
    put(tmp_path / "other", person(2))
    helpers.run(tmp_path / "first", tmp_path / "out", key=tmp_path / "a.json")
    before = helpers.digests(tmp_path / "out")
    helpers.run(tmp_path / "other", tmp_path / "out", key=tmp_path / "b.json")
    after = helpers.digests(tmp_path / "out")
    assert before.items() <= after.items()
    assert sorted(by_patient(tmp_path / "out")) == ["000001", "000002"]


def test_mapper_and_offsets_are_written_only_when_asked(two, tmp_path):
    helpers.run(two, tmp_path / "plain")
    assert not list((tmp_path / "plain").glob("*.*"))
    helpers.run(two, tmp_path / "asked", write_mapper=True)
    assert json.loads((tmp_path / "asked" / "mapper.json").read_text()) == {
        "000001": "PAT0001",
        "000002": "PAT0002",
    }
    with (tmp_path / "asked" / "date_offsets.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["new_id"] for row in rows] == ["000001", "000002"]
    assert all(1 <= abs(int(row["birth_date_offset_days"])) <= 30 for row in rows)


# --- dates and ages ------------------------------------------------------------


def test_the_birth_date_is_always_shifted_within_30_days_and_never_by_0(tmp_path):
    put(tmp_path / "in", *(person(number) for number in range(1, 13)))
    helpers.run(tmp_path / "in", tmp_path / "out")
    old = dates.parse(corpus.BIRTH_DATE)
    shifts = [
        (dates.parse(ds[0].PatientBirthDate) - old).days for ds in by_patient(tmp_path / "out").values()
    ]
    assert len(shifts) == 12
    assert all(1 <= abs(shift) <= 30 for shift in shifts)
    assert len(set(shifts)) > 3


def test_day_shifts_are_used_as_given_and_a_0_still_moves_the_birth_date(two, tmp_path):
    helpers.run(
        two, tmp_path / "out", Options(fuzz_dates=True), maps=Maps(None, {"sub-PAT0001": -40, "PAT0002": 0})
    )
    one, other = (by_patient(tmp_path / "out")[name][0] for name in ("000001", "000002"))
    assert (one.StudyDate, other.StudyDate) == ("20190126", "20190307")
    assert one.PatientBirthDate == "19610205"
    assert other.PatientBirthDate not in ("", corpus.BIRTH_DATE)


@pytest.mark.parametrize(
    ("birth", "age", "new_age"),
    [
        ("19250101", "094Y", "090Y"),
        ("20180601", "009M", "009M"),
        ("", "001M", "001M"),
        ("19250101", "", None),
    ],
)
def test_very_old_and_very_young_lose_the_birth_date_in_all_of_their_files(birth, age, new_age, tmp_path):
    telling = person(1, study="20190307", PatientBirthDate=birth, PatientAge=age)
    other = person(1, instance=2, study="20120307", PatientBirthDate=birth or "20181201", PatientAge="045Y")
    put(tmp_path / "in", telling, other, person(2))
    helpers.run(tmp_path / "in", tmp_path / "out")
    files = by_patient(tmp_path / "out")
    assert [ds.PatientBirthDate for ds in files["000001"]] == ["", ""]
    assert new_age is None or new_age in [ds.PatientAge for ds in files["000001"]]
    assert files["000002"][0].PatientBirthDate


# --- what stays out ------------------------------------------------------------


def test_delete_identifiable_leaves_out_of_the_output_and_never_touches_the_input(tmp_path):
    corpus.build(tmp_path / "in")
    before = helpers.digests(tmp_path / "in")
    totals = helpers.run(tmp_path / "in", tmp_path / "out", Options(delete_identifiable=True))
    assert helpers.digests(tmp_path / "in") == before
    left = {row["reason"] for row in report_of(tmp_path / "out") if row["status"] == "left out"}
    assert left == {
        "--delete_identifiable: BurnedInAnnotation is YES",
        "--delete_identifiable: screen save",
        "--delete_identifiable: structured report (--keep_sr keeps it, cleaned)",
        "encapsulated document: nobody reads its text",
    }
    assert totals.failures == 0
    kept = helpers.run(tmp_path / "in", tmp_path / "sr", Options(delete_identifiable=True, keep_sr=True))
    assert kept.written == totals.written + 1


def test_dose_captures_go_and_derived_ct_images_and_key_objects_stay(tmp_path):
    dose = corpus.secondary_capture(1)
    dose.ImageType, dose.SeriesDescription = ["DERIVED", "SECONDARY"], "Patient Dose Report"
    plain = corpus.secondary_capture(2)
    plain.ImageType = ["DERIVED", "SECONDARY"]
    derived = corpus.ct(3)
    derived.ImageType = ["DERIVED", "SECONDARY", "MPR"]
    key_object = corpus.report(4)
    key_object.SOPClassUID = key_object.file_meta.MediaStorageSOPClassUID = f"{corpus.STORAGE}88.59"
    for number, ds in enumerate((dose, plain, derived, key_object)):
        corpus.save(ds, tmp_path / "in" / "sub-x" / str(number))
    totals = helpers.run(tmp_path / "in", tmp_path / "out", Options(delete_identifiable=True))
    assert totals.written == 3
    assert dict(totals.left_out) == {"--delete_identifiable: dose or protocol page": 1}


def test_what_is_not_dicom_cut_or_odd_is_listed_never_copied_and_told(two, tmp_path):
    (two / "sub-PAT0001" / "notes.txt").write_text("Familynameaaa")
    (two / "sub-PAT0001" / "00003-T1.csv").write_text("PatientID\nPAT0001\n")
    (two / "logs").mkdir()
    (two / "logs" / "pacsifier_log.csv").write_text("PatientID\nPAT0001\n")
    (two / "DICOMDIR").write_bytes(b"x" * 200)
    whole = (corpus.save(person(1, instance=7), two / "sub-PAT0001" / "cut")).read_bytes()
    (two / "sub-PAT0001" / "cut").write_bytes(whole[:-400])
    (two / "link").symlink_to(two / "sub-PAT0001")
    totals = helpers.run(two, tmp_path / "out")
    assert totals.written == 4
    assert totals.failures == 3  # the notes, the cut file, the link
    assert totals.found == 4 + 6
    assert {path.suffix for path in (tmp_path / "out").rglob("*") if path.is_file()} == {".dcm"}
    left = {row["input"]: row["reason"] for row in report_of(tmp_path / "out") if row["status"] == "left out"}
    assert set(left) == {
        *(
            "sub-PAT0001/notes.txt",
            "sub-PAT0001/00003-T1.csv",
            "logs/pacsifier_log.csv",
            "DICOMDIR",
            "sub-PAT0001/cut",
        ),
        "link",
    }
    assert "cut at byte" in left["sub-PAT0001/cut"]


def test_the_same_instance_twice_goes_out_once_and_a_contradiction_not_at_all(tmp_path):
    put(tmp_path / "in", person(1), person(1, instance=2))
    corpus.save(person(1), tmp_path / "in" / "sub-PAT0001" / "again.dcm")
    other = person(1, instance=2)
    other.PixelData = b"\1" * len(other.PixelData)
    corpus.save(other, tmp_path / "in" / "sub-PAT0001" / "other.dcm")
    totals = helpers.run(tmp_path / "in", tmp_path / "out")
    assert (totals.written, totals.failures) == (1, 2)
    assert dict(totals.left_out) == {
        "the same instance once more": 1,
        "one SOP Instance UID with different data sets": 2,
    }


def test_identity_removed_is_not_claimed_where_nobody_looked(tmp_path):
    capture, screen, scan = corpus.secondary_capture(1), corpus.ultrasound(2), corpus.ct(3)
    for ds in (capture, screen, scan):
        corpus.save(ds, tmp_path / "in" / "sub-x" / str(ds.InstanceNumber))
    totals = helpers.run(tmp_path / "in", tmp_path / "out")
    marks = {ds.InstanceNumber: ds.PatientIdentityRemoved for ds in by_patient(tmp_path / "out")["000001"]}
    assert marks == {1: "NO", 2: "NO", 3: "YES"}
    assert totals.unclaimed == 2
    helpers.run(
        tmp_path / "in", tmp_path / "seen", reviewed=Reviewed(frozenset((capture.SOPInstanceUID, "sub-x/2")))
    )
    assert {ds.PatientIdentityRemoved for ds in by_patient(tmp_path / "seen")["000001"]} == {"YES"}


def test_an_overlay_inside_compressed_pixels_keeps_the_file_out(tmp_path):
    ds = corpus.compressed(1, "1.2.840.10008.1.2.5")
    ds.add_new(0x60000102, "US", 15)
    corpus.save(ds, tmp_path / "in" / "a.dcm")
    totals = helpers.run(tmp_path / "in", tmp_path / "out")
    assert (totals.written, totals.failures) == (0, 1)


# --- descriptions ------------------------------------------------------------


def test_words_of_three_patients_stay_and_are_remembered_and_a_person_may_accept_more(tmp_path):
    texts = ["T1 Kwidzo head", "Kwidzo T2", "Kwidzo", "T1 Rarity"]
    put(tmp_path / "in", *(person(number, SeriesDescription=text) for number, text in enumerate(texts, 1)))
    helpers.run(tmp_path / "in", tmp_path / "out")
    said = {name: ds[0].get("SeriesDescription") for name, ds in by_patient(tmp_path / "out").items()}
    assert said == {
        "000001": "T1 Kwidzo head",
        "000002": "Kwidzo T2",
        "000003": "Kwidzo",
        "000004": "T1",
    }
    review = (tmp_path / "out.descriptor_words.csv").read_text().splitlines()
    assert "0008103E,rarity,1,left out because it is not in the vocabulary" in review
    assert "0008103E,kwidzo,3,kept because 3 patients share it" in review
    put(tmp_path / "later", person(4, instance=2, SeriesDescription="Kwidzo Rarity"))
    more = {"key": tmp_path / "out.key.json"}
    helpers.run(tmp_path / "later", tmp_path / "out2", **more)
    assert by_patient(tmp_path / "out2")["000004"][0].SeriesDescription == "Kwidzo"
    helpers.run(tmp_path / "later", tmp_path / "out3", kept_words=frozenset(("Rarity",)), **more)
    assert by_patient(tmp_path / "out3")["000004"][0].SeriesDescription == "Kwidzo Rarity"


def test_a_name_that_many_patients_share_in_descriptions_does_not_stay(tmp_path):
    put(
        tmp_path / "in",
        *(
            person(number, SeriesDescription="T1 Drossel", OperatorsName="Drossel^Amsel")
            for number in range(1, 5)
        ),
    )
    helpers.run(tmp_path / "in", tmp_path / "out")
    assert {ds[0].SeriesDescription for ds in by_patient(tmp_path / "out").values()} == {"T1"}


def review_of(out: Path) -> list[tuple[str, ...]]:
    with (out.parent / f"{out.name}.descriptor_words.csv").open(encoding="utf-8") as file:
        return [tuple(row) for row in csv.reader(file)]


def test_a_name_that_three_patients_share_is_told_and_never_stays_behind_a_title(tmp_path):
    texts = [
        "Knie Hauswirth",
        "Hauswirth Thorax",
        "T1 Hauswirth",
        "Kopf Dr. Aebischer",
        "Aebischer",
        "Aebischer T1",
    ]
    put(tmp_path / "in", *(person(number, SeriesDescription=text) for number, text in enumerate(texts, 1)))
    totals = helpers.run(tmp_path / "in", tmp_path / "out")
    said = {name: ds[0].get("SeriesDescription") for name, ds in by_patient(tmp_path / "out").items()}
    assert list(said.values()) == [*texts[:3], "Kopf", None, "T1"]
    review = review_of(tmp_path / "out")
    assert ("0008103E", "hauswirth", "3", "kept because 3 patients share it") in review
    assert ("0008103E", "aebischer", "1", "left out because it stands behind a title") in review
    assert any("kept that may be names" in line for line in totals.lines())


def test_a_word_like_a_person_or_a_place_of_the_run_does_not_stay_for_its_spread(tmp_path):
    put(
        tmp_path / "in",
        *(
            person(
                number,
                SeriesDescription="T1 Zimmerli Rossbodn Quantor",
                ReferringPhysicianName="Zimmerlin^A" if number == 1 else "",
                InstitutionName="Spital Rossboden" if number == 2 else "",
            )
            for number in range(1, 5)
        ),
    )
    helpers.run(tmp_path / "in", tmp_path / "out")
    assert {ds[0].SeriesDescription for ds in by_patient(tmp_path / "out").values()} == {"T1 Quantor"}


def test_staff_of_one_patient_goes_from_the_descriptions_of_all_even_if_called_as_what_is_imaged(tmp_path):
    put(
        tmp_path / "in",
        person(1, SeriesDescription="T1 sag", OperatorsName="Kopf^Ursula"),
        person(2, SeriesDescription="Kopf Thorax"),
        person(3, SeriesDescription="Hand ap", PatientName="Thorax^Li"),
    )
    helpers.run(tmp_path / "in", tmp_path / "out")
    said = [ds[0].SeriesDescription for ds in by_patient(tmp_path / "out").values()]
    assert said == ["T1 sag", "Thorax", "Hand ap"]


def test_descriptions_that_became_equal_are_told(tmp_path):
    put(
        tmp_path / "in",
        person(1, SeriesDescription="T1 Hauswirth"),
        person(1, instance=2, SeriesDescription="T1 Aebischer"),
        person(1, instance=3, SeriesDescription="T2"),
    )
    helpers.run(tmp_path / "in", tmp_path / "out")
    equal = [row for row in review_of(tmp_path / "out") if row[3].startswith("became equal")]
    assert equal == [
        ("0008103E", text, "1", "became equal to another one: T1")
        for text in ("T1 Aebischer", "T1 Hauswirth")
    ]


@pytest.mark.parametrize("plain", [True, False])
def test_regions_inside_one_object_stay_apart(plain, tmp_path):
    names = ["GTV Hauswirth", "GTV Aebischer", "Lung_L", "Lung_R", "Hauswirth", "Aebischer", "GTV"]
    ds = person(1)
    ds.StructureSetROISequence = [Dataset() for _ in names]
    for item, name in zip(ds.StructureSetROISequence, names, strict=True):
        item.ROIName = name
    source = corpus.save(ds, tmp_path / "in.dcm")
    done = deidentify(source, tmp_path / "new.dcm", helpers.rules(), plain=plain)
    assert done.by_pydicom is plain
    said = [item.ROIName for item in helpers.read(tmp_path / "new.dcm").StructureSetROISequence]
    assert said[:4] == ["GTV 2", "GTV 3", "Lung_L", "Lung_R"]
    assert said[-1] == "GTV"
    assert len(set(said)) == len(names)


# --- the proof ------------------------------------------------------------


def test_verify_finds_what_is_left_in_text_in_bytes_in_uids_and_in_names(tmp_path):
    ds = corpus.mr(1)
    ds.PatientName, ds.ImageComments = "P1^sub", "seen with Quetzaltenango"
    corpus.save(ds, tmp_path / "sub-Quetzaltenango" / "a.dcm")
    known = Identifiers()
    known.add_name("Quetzaltenango^Ysolde")
    subject = Subject("x", "P1", 0, 1, False, known)
    verifier = Verifier(tmp_path, names_kept=False, old_uids=frozenset((corpus.uid(3),)))
    _, hits = verifier((subject, ("sub-Quetzaltenango/a.dcm",)))
    found = {(tag, what) for _, tag, what in hits}
    assert ("name of the file", "known identifier") in found
    assert ("(0020,4000)", "known identifier") in found
    assert ("(0020,0052)", "old UID") in found
    assert not any("Quetzal" in f"{tag}{what}" for _, tag, what in hits)
    del ds.ImageComments
    for tag in [each.tag for each in ds if each.tag.is_private or each.VR == "SQ"]:
        del ds[tag]
    ds.add_new(0x00281201, "OW", b"..quetzaltenango")
    corpus.save(ds, tmp_path / "b" / "a.dcm")
    _, hits = verifier((subject, ("b/a.dcm",)))
    assert ("b/a.dcm", "raw bytes", "known identifier") in hits


# --- in place, resume, kills ------------------------------------------------------------


def test_in_place_replaces_the_originals_and_sets_aside_what_must_stay_out(two, tmp_path):
    (two / "sub-PAT0001" / "notes.txt").write_text("Familynameaaa")
    totals = helpers.run(two, two, verify=True)
    assert (totals.written, totals.hits) == (4, 0)
    assert sorted(path.name for path in two.iterdir()) == ["sub-000001", "sub-000002"]
    assert {path.suffix for path in two.rglob("*") if path.is_file()} == {".dcm"}
    assert (tmp_path / "in.left_out" / "sub-PAT0001" / "notes.txt").read_text() == "Familynameaaa"
    assert stat.S_IMODE((tmp_path / "in.left_out").stat().st_mode) == 0o700
    before = helpers.digests(two)
    again = helpers.run(two, two)
    assert (again.written, again.already) == (0, 4)
    assert helpers.digests(two) == before


def test_in_place_takes_new_id_txt_away_with_the_name_of_its_folder(two, tmp_path):
    (two / "sub-PAT0001" / "new_id.txt").write_text("N77")
    totals = helpers.run(two, two)
    assert totals.failures == 0
    assert sorted(path.name for path in two.iterdir()) == ["sub-000001", "sub-N77"]
    assert (tmp_path / "in.left_out" / "sub-PAT0001" / "new_id.txt").is_file()


def wait_for_group(group):
    """Until the processes of a group that was killed have ended; what only nobody waited for counts as ended."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        states = [
            fields[0]
            for stat in Path("/proc").glob("[0-9]*/stat")
            if (fields := _stat(stat)) and int(fields[2]) == group
        ]
        if set(states) <= {"Z", "X"}:
            return
        time.sleep(0.01)
    raise AssertionError("processes of a killed group still run")


def _stat(path):
    with contextlib.suppress(OSError):
        return path.read_text().rpartition(")")[2].split()
    return []


@pytest.mark.parametrize("delay", [0.15, 0.4, 0.8])
def test_in_place_survives_a_kill_at_any_moment(delay, tmp_path):
    """Every instance is there at every moment, as the original or as its successor; a second run ends the work."""
    home = tmp_path / "in"
    put(home, *(person(number, instance=each) for number in (1, 2, 3) for each in range(1, 41)))
    command = [
        sys.executable,
        "-m",
        "pacsifier.cli.anonymize",
        "-d",
        str(home),
        "-o",
        str(home),
        "--workers",
        "2",
    ]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 30
    while process.poll() is None and not glimpse(home, "**/*.dcm") and time.monotonic() < deadline:
        time.sleep(0.005)
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        # Its workers with it: they would still finish a file while the test looks.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        wait_for_group(process.pid)
    whole = [
        helpers.read(path).InstanceNumber
        for path in home.rglob("*")
        if path.suffix == ".dcm" or path.name[:3] == "MR."
    ]
    assert set(whole) == {number * 100 + each for number in (1, 2, 3) for each in range(1, 41)}
    run = subprocess.run(
        [*command, "--resume"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    files = helpers.outputs(home)
    assert len(files) == 120
    assert sorted(path.name for path in home.iterdir()) == ["sub-000001", "sub-000002", "sub-000003"]
    assert not [
        path for path in files if b"PAT000" in path.read_bytes() or b"Familyname" in path.read_bytes()
    ]


def test_workers_end_when_the_run_is_killed(tmp_path):
    put(tmp_path / "in", *(person(number, instance=each) for number in (1, 2) for each in range(1, 61)))
    command = [sys.executable, "-m", "pacsifier.cli.anonymize", "-d", "in", "-o", "out", "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 30
    children: list[int] = []
    while not children and process.poll() is None and time.monotonic() < deadline:
        children = [
            int(each) for each in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        ]
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert children
    while any(_runs(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not [child for child in children if _runs(child)]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def test_resume_writes_only_what_is_missing_and_only_with_the_same_options(two, tmp_path):
    helpers.run(two, tmp_path / "out")
    files = helpers.outputs(tmp_path / "out")
    before = helpers.digests(tmp_path / "out")
    stamps = {path: path.stat().st_mtime_ns for path in files[1:]}
    files[0].unlink()
    totals = helpers.run(two, tmp_path / "out", resume=True)
    assert (totals.written, totals.already) == (1, 3)
    assert [row["status"] for row in report_of(tmp_path / "out")].count("already there") == 3
    assert helpers.digests(tmp_path / "out") == before
    assert {path: path.stat().st_mtime_ns for path in files[1:]} == stamps
    with pytest.raises(InputError, match="options"):
        helpers.run(two, tmp_path / "out", Options(fuzz_dates=True), resume=True)


def images_without_a_key(two: Path, out: Path) -> list[Path]:
    helpers.run(two, out)
    out.with_name(f"{out.name}.key.json").unlink()
    helpers.outputs(out)[0].unlink()
    return sorted(out.parent.rglob("*"))


@pytest.mark.parametrize("left_of_it", [0, 0.5, 0.99])
def test_resume_writes_again_what_a_power_cut_has_left_in_part(two, tmp_path, left_of_it) -> None:
    helpers.run(two, tmp_path / "out")
    whole = helpers.digests(tmp_path / "out")
    hurt = helpers.outputs(tmp_path / "out")[0]
    content = hurt.read_bytes()
    hurt.write_bytes(content[: int(len(content) * left_of_it)])
    totals = helpers.run(two, tmp_path / "out", resume=True)
    assert (totals.written, totals.failures) == (1, 0)
    assert helpers.digests(tmp_path / "out") == whole


def test_resume_without_the_key_of_the_first_run_gives_nobody_a_second_pseudonym(two, tmp_path):
    before = images_without_a_key(two, tmp_path / "out")
    run = command(tmp_path, "--resume")
    assert run.returncode == 2, run.stderr
    assert f"there is none at {tmp_path / 'out.key.json'}" in run.stderr
    assert "--key" in run.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("options", [Options(), Options(retain_uids=True)], ids=["new UIDs", "the same UIDs"])
@pytest.mark.parametrize("keep", [False, True])
def test_resume_with_another_key_gives_nobody_a_second_pseudonym(two, tmp_path, options, keep):
    more = {"keep_patient_dir_names": keep}
    (tmp_path / "other").mkdir()
    # A key that knows the same persons, under swapped pseudonyms, by an output of the same name.
    maps = Maps(new_ids={"sub-PAT0001": "000002", "sub-PAT0002": "000001"})
    helpers.run(two, tmp_path / "other" / "out", options, maps=maps, **more)
    helpers.run(two, tmp_path / "out", options, **more)
    helpers.outputs(tmp_path / "out")[0].unlink()
    before = helpers.digests(tmp_path)
    with pytest.raises(InputError, match="is not the key") as refused:
        helpers.run(
            two, tmp_path / "out", options, key=tmp_path / "other" / "out.key.json", resume=True, **more
        )
    assert str(tmp_path / "other" / "out.key.json") in str(refused.value)
    assert helpers.digests(tmp_path) == before
    assert helpers.run(two, tmp_path / "out", options, resume=True, **more).written == 1


def test_resume_in_place_takes_the_key_of_the_first_run_only(two, tmp_path):
    (tmp_path / "other").mkdir()
    helpers.run(two, tmp_path / "other" / "in")
    helpers.run(two, two)
    put(two, person(3))
    before = helpers.digests(tmp_path)
    other = tmp_path / "other" / "in.key.json"
    with pytest.raises(InputError, match="is not the key"):
        helpers.run(two, two, key=other, resume=True)
    (tmp_path / "in.key.json").rename(tmp_path / "kept.json")
    with pytest.raises(InputError, match="there is none at"):
        helpers.run(two, two, resume=True)
    (tmp_path / "kept.json").rename(tmp_path / "in.key.json")
    assert helpers.digests(tmp_path) == before
    assert helpers.run(two, two, resume=True).written == 1


def test_resume_of_a_run_that_had_written_nothing_needs_no_key(two, tmp_path):
    (tmp_path / "out").mkdir()
    assert helpers.run(two, tmp_path / "out", resume=True).written == 4
    assert helpers.run(two, two, key=tmp_path / "new.json", resume=True).written == 4


def test_resume_after_the_input_was_replaced_goes_on_with_the_key(two, tmp_path):
    helpers.run(two, tmp_path / "out")
    put(tmp_path / "later", person(2, instance=9, study="20200101"), person(3))
    assert helpers.run(tmp_path / "later", tmp_path / "out", resume=True).written == 2
    assert sorted(by_patient(tmp_path / "out")) == ["000001", "000002", "000003"]


def test_resume_goes_on_with_a_key_that_does_not_name_its_studies(two, tmp_path):
    """As keys were until they did."""
    helpers.run(two, tmp_path / "out")
    key = tmp_path / "out.key.json"
    document = json.loads(key.read_text())
    assert document.pop("studies")
    key.write_text(json.dumps(document))
    helpers.outputs(tmp_path / "out")[0].unlink()
    assert helpers.run(two, tmp_path / "out", resume=True).written == 1
    other = tmp_path / "elsewhere.json"
    other.write_text(json.dumps({**document, "secret": "00" * 32, "pseudonyms": {"X": "X1"}}))
    with pytest.raises(InputError, match="is not the key"):
        helpers.run(two, tmp_path / "out", key=other, resume=True)


def test_resume_knows_the_images_of_a_patient_without_patient_id(tmp_path):
    nameless = person(1)
    del nameless.PatientID
    corpus.save(nameless, tmp_path / "in" / "a.dcm")
    helpers.run(tmp_path / "in", tmp_path / "out")
    assert helpers.run(tmp_path / "in", tmp_path / "out", resume=True).failures == 0


@pytest.mark.parametrize("empty", [False, True], ids=["absent", "empty"])
@pytest.mark.parametrize("keep", [False, True])
def test_resume_finds_the_images_without_patient_id_that_are_there(empty, keep, tmp_path):
    """A person to each study, and each series of it in one folder; nothing is written a second time."""
    for number, instance in ((1, 1), (1, 2), (2, 1)):
        ds = person(number, instance=instance)
        ds.SeriesInstanceUID, ds.SeriesNumber = corpus.uid(2, number, instance), instance
        if empty:
            ds.PatientID = ""
        else:
            del ds.PatientID
        corpus.save(ds, tmp_path / "in" / f"{number}-{instance}.dcm")
    helpers.run(tmp_path / "in", tmp_path / "out", keep_patient_dir_names=keep)
    before = helpers.digests(tmp_path / "out")
    assert len({name.partition("/")[0] for name in before}) == 2
    helpers.outputs(tmp_path / "out")[0].unlink()
    totals = helpers.run(tmp_path / "in", tmp_path / "out", keep_patient_dir_names=keep, resume=True)
    assert (totals.written, totals.already) == (1, 2)
    assert helpers.digests(tmp_path / "out") == before


def test_a_part_is_resumed_with_the_key_of_all_parts_and_with_no_other(tmp_path):
    put(tmp_path / "in", *(person(number, instance=each) for number in range(8) for each in (1, 2)))
    key = tmp_path / "key.json"
    for number in (1, 2):
        helpers.run(tmp_path / "in", tmp_path / f"part-{number}", key=key, shard=Shard(number, 2))
    for number in (1, 2):
        more = {"shard": Shard(number, 2), "resume": True}
        helpers.outputs(tmp_path / f"part-{number}")[0].unlink()
        assert helpers.run(tmp_path / "in", tmp_path / f"part-{number}", key=key, **more).written == 1
        with pytest.raises(InputError, match="there is none at"):
            helpers.run(tmp_path / "in", tmp_path / f"part-{number}", **more)


def test_two_runs_into_one_folder_keep_out_of_each_others_way(two, tmp_path):
    from pacsifier.disk.lock import OutputLock

    with OutputLock(tmp_path / "out"), pytest.raises(InputError, match="in use"):
        helpers.run(two, tmp_path / "out")


def test_one_worker_and_two_give_the_same_files(tmp_path):
    corpus.build(tmp_path / "in")
    put(tmp_path / "in", *(person(number, instance=each) for number in (1, 2) for each in range(1, 41)))
    helpers.run(tmp_path / "in", tmp_path / "one", key=tmp_path / "key.json")
    helpers.run(tmp_path / "in", tmp_path / "two", key=tmp_path / "key.json", workers=2)
    assert helpers.digests(tmp_path / "one") == helpers.digests(tmp_path / "two")
    assert len(helpers.digests(tmp_path / "one")) == 80 + 19


def test_a_full_disk_ends_the_run_and_leaves_no_half_file(two, tmp_path, monkeypatch):
    import errno

    from pacsifier.dicom import splice

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(splice, "write_all", full)
    with pytest.raises(OSError, match="No space"):
        helpers.run(two, tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_an_output_below_the_input_is_not_its_own_input(two):
    helpers.run(two, two / "anonymous")
    totals = helpers.run(two, two / "anonymous")
    assert (totals.found, totals.written) == (4, 4)


def test_a_folder_that_does_not_exist_is_said(tmp_path):
    with pytest.raises(InputError, match="no folder"):
        deidentify_folder(helpers.request(tmp_path / "absent", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_the_secret_of_a_new_key_is_drawn_each_time():
    assert Key(b"x" * 32) != Key(b"y" * 32)


# --- the command ------------------------------------------------------------------------------------------------


def command(home: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "pacsifier.cli.anonymize", "-d", "in", "-o", "out", *options]
    return subprocess.run(
        argv, cwd=home, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_good_run_ends_with_0_and_says_where_the_key_lies_and_nobodys_name(two, tmp_path):
    run = command(tmp_path, "-a", "-p", "-i", "--verify")
    assert run.returncode == 0, run.stderr
    assert "files: 4 found, 4 written, 0 already there, 0 left out" in run.stderr
    assert "verify: 4 files read again, 0 hits" in run.stderr
    assert "out.key.json (keep it apart from the images)" in run.stderr
    assert "PAT0" not in run.stderr
    assert "amily" not in run.stderr
    assert run.stdout == ""


def test_a_file_that_is_no_instance_makes_the_exit_status_1(two, tmp_path):
    (two / "sub-PAT0001" / "Familynameaaa.txt").write_text("x")
    run = command(tmp_path)
    assert run.returncode == 1
    assert "left out: 1 (not DICOM)" in run.stderr
    assert "amily" not in run.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-n", "absent.json"], "absent.json"),
        (["--day_shift", "absent.json"], "absent.json"),
        (["--keep_words", "absent.txt"], "absent.txt"),
        (["--key", "out/key.json"], "must not lie in the output"),
        (["--key", "absent/key.json"], "cannot be written there"),
        (["-p", "--safe_private"], "cannot be used together"),
        (["--workers", "0"], "a whole number from 1"),
        (["--profile", "other"], "invalid choice"),
    ],
)
def test_a_mistake_ends_with_2_before_anything_is_written(options, said, two, tmp_path):
    run = command(tmp_path, *options)
    assert (run.returncode, said in run.stderr) == (2, True), run.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_words_that_a_person_accepts_stay(tmp_path):
    put(tmp_path / "in", person(1, SeriesDescription="T1 Zwetschge Holunder"))
    (tmp_path / "words.txt").write_text("Zwetschge\nHolunder Quitte\n")
    assert command(tmp_path, "--keep_words", "words.txt").returncode == 0
    assert by_patient(tmp_path / "out")["000001"][0].SeriesDescription == "T1 Zwetschge Holunder"


# --- parts --------------------------------------------------------------------------------------------------------


def test_parts_side_by_side_bring_every_patient_once_as_one_run_would(tmp_path):
    put(tmp_path / "in", *(person(number, instance=each) for number in range(8) for each in (1, 2)))
    (tmp_path / "in" / "notes.txt").write_text("no image")
    key = tmp_path / "key.json"

    def part(number: int) -> int:
        options = ("--shard", f"{number}/3", "--key", str(key), "-o", f"part-{number}")
        return command(tmp_path, *options).returncode

    with ThreadPoolExecutor(3) as pool:
        ends = sorted(pool.map(part, (1, 2, 3)))
    assert ends == [0, 0, 1], "one part has the file that is of nobody"
    whole = helpers.run(tmp_path / "in", tmp_path / "whole", key=key)
    assert whole.written == 16
    together = {
        path.name: path.read_bytes()
        for number in (1, 2, 3)
        for path in helpers.outputs(tmp_path / f"part-{number}")
    }
    assert together == {path.name: path.read_bytes() for path in helpers.outputs(tmp_path / "whole")}
    names = [patient for number in (1, 2, 3) for patient in by_patient(tmp_path / f"part-{number}")]
    assert len(names) == len(set(names)) == 8
    rows = [row["input"] for number in (1, 2, 3) for row in report_of(key.with_name(f"part-{number}"))]
    assert sorted(rows) == sorted(row["input"] for row in report_of(tmp_path / "whole"))


def test_a_folder_of_two_patients_is_refused_in_whatever_parts_they_are(tmp_path):
    for number in range(6):
        corpus.save(person(number), tmp_path / "in" / "sub-X" / f"{number}.dcm")
    totals = [
        helpers.run(tmp_path / "in", tmp_path / f"part-{number}", shard=Shard(number, 2)) for number in (1, 2)
    ]
    assert [each.written for each in totals] == [0, 0]
    assert sum(each.failures for each in totals) == 6


def test_a_key_waits_for_its_turn_and_its_lock_leaves_nothing(tmp_path):
    path = tmp_path / "key.json"
    seen = []

    def add(number: int) -> None:
        with opened(path) as key:
            seen.append(len(key.pseudonyms))
            key.pseudonyms[f"P{number}"] = f"{number:06d}"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    assert sorted(seen) == list(range(40)), "one took the key while another held it"
    assert [each.name for each in tmp_path.iterdir()] == ["key.json"]
