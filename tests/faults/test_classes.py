"""What a user could lose since an object is of a rare SOP class, or in a transfer syntax that few receive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pydicom
import pynetdicom
import pytest
from pacs.runs import Run
from pacs.servers import RLE, Record, find_binary, read_record
from pydicom.encaps import encapsulate
from pydicom.uid import UID, UID_dictionary

from faults.test_far_side import (
    ECHO,
    EVERYONE,
    LOCALIZER,
    assert_complete,
    assert_holds,
    of,
    saved,
    uids,
    unexpected,
)
from faults.test_get import told
from pacsifier.dcmtk import negotiation
from pacsifier.dcmtk.toolbox import Toolbox
from pacsifier.demo import make_archive

EXPLICIT_LE, MR, CT = "1.2.840.10008.1.2.1", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.2"
DERMOSCOPY = "1.2.840.10008.5.1.4.1.1.77.1.7"
PRIVATE = [f"1.3.12.2.1107.5.9.{number}" for number in (1, 77, 78)]
CLASSES = sorted({*negotiation.storage_classes(), *PRIVATE})
# No object of a study can be in these: no PACS has one.
NO_OBJECTS = ("MIME", "XML", "SMPTE", "Papyrus", "Private")
SYNTAXES = sorted(
    uid
    for uid, entry in UID_dictionary.items()
    if entry[1] == "Transfer Syntax" and not any(word in entry[0] for word in NO_OBJECTS)
)
UNTOLD = {"omitted_keys": ("SOPClassesInStudy", "SOPClassUID")}


def made(folder: Path, patient: str, number: int, sop_class: str = MR, syntax: str = EXPLICIT_LE) -> Record:
    """A series of one instance, of this class and in this transfer syntax."""
    dataset = pydicom.Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, f"1.2.3.{patient}.{number}.1"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"1.2.3.{patient}", f"1.2.3.{patient}.{number}"
    dataset.StudyDate, dataset.StudyTime, dataset.Modality = "20200101", "120000", "OT"
    dataset.PatientID, dataset.PatientName, dataset.SeriesNumber = patient, "RARE^CASE", number
    dataset.SeriesDescription = f"s{number}"
    uid = UID(syntax)
    known = uid.is_transfer_syntax and not uid.is_private
    encapsulated = known and uid.is_encapsulated
    dataset.Rows, dataset.Columns, dataset.BitsAllocated, dataset.SamplesPerPixel = 2, 2, 8, 1
    dataset.PixelData = encapsulate([b"\xff\x4f\xff\x51"]) if encapsulated else bytes(4)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = encapsulated
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    path = folder / f"{patient}-{number}.dcm"
    folder.mkdir(exist_ok=True)
    implicit, little = syntax == "1.2.840.10008.1.2", syntax != "1.2.840.10008.1.2.2"
    dataset.save_as(path, enforce_file_format=True, implicit_vr=implicit, little_endian=little)
    return read_record(path)


def rows(records: Iterable[Record]) -> list[Mapping[str, str]]:
    return [{"PatientID": patient} for patient in dict.fromkeys(each.patient_id for each in records)]


def reasons(done: Run) -> dict[str, str]:
    return {row["SeriesInstanceUID"]: row["Reason"] for row in done.log if row["Completed"] == "False"}


@pytest.fixture(scope="module")
def received() -> tuple[str, ...]:
    """The transfer syntaxes that the DCMTK here receives."""
    with Toolbox(Path(find_binary("storescp")).parent) as toolbox:
        return negotiation.received_syntaxes(toolbox.binary("storescp").version)


# --- SOP classes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quirks", [{}, UNTOLD], ids=["the PACS tells the classes", "it tells none"])
def test_every_storage_class_of_the_standard_and_private_ones_come(quirky, tmp_path, quirks):
    """More than a receiver takes at a time; the PACS says 0xA801 where it can send nothing."""
    records = [
        made(tmp_path / "archive", f"{1 + number // 60}", 1 + number, each)
        for number, each in enumerate(CLASSES)
    ]
    assert len(records) > negotiation.MAX_CONTEXTS + 60
    pacs = quirky([each.path for each in records], none_accepted="A801", **quirks)
    assert_complete(saved(pacs, tmp_path, *rows(records)), records)


@pytest.mark.parametrize("none_accepted", ["", "A801", "A702", "A900", "C000", "0000", "reset"])
@pytest.mark.parametrize("beside", [(), (MR,)], ids=["alone", "beside an MR"])
def test_a_rare_class_comes_whatever_the_pacs_says_that_cannot_send_it(
    quirky, tmp_path, none_accepted, beside
):
    records = [
        made(tmp_path / "archive", "7", number, each) for number, each in enumerate((*beside, DERMOSCOPY), 1)
    ]
    pacs = quirky([each.path for each in records], none_accepted=none_accepted, **UNTOLD)
    done = saved(pacs, tmp_path, *rows(records), options=("--retry_wait", "30"))
    assert_complete(done, records)
    assert len(pacs.moves) <= 3, "the PACS was asked in vain"


# --- transfer syntaxes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("none_accepted", ["", "A801", "reset"])
def test_every_transfer_syntax_comes_as_it_is_held_or_is_named(quirky, tmp_path, received, none_accepted):
    records = [made(tmp_path / "archive", "7", number, CT, each) for number, each in enumerate(SYNTAXES, 1)]
    pacs = quirky([each.path for each in records], none_accepted=none_accepted)
    done = saved(pacs, tmp_path, *rows(records), options=("--retry_wait", "30"))
    come = [each for each in records if each.transfer_syntax in received]
    assert len(come) > 30
    assert done.status == 1, done.stderr
    assert_holds(done, come)
    assert unexpected(done) == []
    told = reasons(done)
    assert told.keys() == {each.series_uid for each in records if each not in come}
    for each in records:
        if each not in come:
            assert each.transfer_syntax in told[each.series_uid]
            assert UID(each.transfer_syntax).name in told[each.series_uid]


def test_a_series_of_which_a_part_cannot_come_names_the_syntax(quirky, tmp_path):
    folder, htj2k = tmp_path / "archive", "1.2.840.10008.1.2.4.205"
    first = made(folder, "7", 1, CT)
    other = made(folder, "7", 2, CT, htj2k)
    dataset = pydicom.dcmread(other.path)
    dataset.SeriesInstanceUID = first.series_uid
    dataset.save_as(other.path)
    done = saved(quirky([first.path, other.path]), tmp_path, {"PatientID": "7"})
    assert done.status == 1, done.stderr
    assert_holds(done, [first])
    assert f"{htj2k} ({UID(htj2k).name})" in reasons(done)[first.series_uid]


def test_the_dictionary_that_is_swept_holds_the_newest_syntaxes() -> None:
    assert pynetdicom.__version__
    assert "1.2.840.10008.1.2.4.110" in SYNTAXES


# --- one object in two encodings -----------------------------------------------------------------------------------


def assert_each_once(done: Run, records: Sequence[Record]) -> None:
    """All is there, in one of two encodings."""
    assert done.status == 0, done.stderr
    assert sorted(done.files) == uids(records)
    assert unexpected(done) == []


def test_an_object_that_comes_again_in_another_encoding_without_loss_contradicts_nothing(
    quirky, hospital, tmp_path
):
    records = of(hospital, LOCALIZER)
    done = saved(quirky(twice=tuple(uids(records)), twice_as="rle"), tmp_path, LOCALIZER)
    assert_each_once(done, records)
    assert {row["Reason"] for row in done.log} == {""}


def test_an_object_that_comes_again_with_other_pixels_contradicts_in_any_encoding(quirky, hospital, tmp_path):
    records = of(hospital, LOCALIZER)
    pacs = quirky(twice=(records[0].sop_uid,), twice_differs=True, twice_as="rle")
    done = saved(pacs, tmp_path, LOCALIZER)
    assert done.status == 1, done.stderr
    assert sorted(done.files) == uids(records)
    assert len(unexpected(done)) == 1
    assert "two different objects" in str(done.log)


def test_an_object_that_comes_again_with_loss_is_not_compared_and_the_first_kept(quirky, hospital, tmp_path):
    records = of(hospital, LOCALIZER)
    done = saved(quirky(twice=(records[0].sop_uid,), twice_as="lossy"), tmp_path, LOCALIZER)
    assert_each_once(done, records)
    assert "1 objects came again in another encoding: the first was kept, not compared" in [
        row["Reason"] for row in done.log
    ]


# --- an archive that converts ----------------------------------------------------------------------------------------


def test_an_archive_that_decompresses_is_told_of_with_the_setting_that_ends_it(quirky, hospital, tmp_path):
    records = of(hospital, ECHO, LOCALIZER)
    pacs = quirky(decompresses=True, index_says=told(records))
    done = saved(pacs, tmp_path, ECHO, LOCALIZER)
    assert done.status == 0, done.stderr
    assert sorted(done.files) == uids(records)
    said = {row["SeriesInstanceUID"]: row["Reason"] for row in done.log if row["Reason"]}
    assert said == {
        each.series_uid: f"1 instances came as {EXPLICIT_LE} (Explicit VR Little Endian), though the PACS holds "
        f"them as {RLE} (RLE Lossless)"
        for each in of(hospital, ECHO)
    }
    assert '"TranscodeDicomProtocol": false' in done.stderr
    asked = [each for each in pacs.finds("IMAGE") if each["keys"].get("SOPInstanceUID")]
    assert len(asked) == 2, "one object of each class and study"


@pytest.mark.parametrize("tells", [True, False])
def test_an_archive_that_sends_what_it_holds_is_asked_no_more_than_needed(quirky, hospital, tmp_path, tells):
    records = of(hospital, *EVERYONE)
    pacs = quirky(index_says=told(records) if tells else {})
    done = saved(pacs, tmp_path, *EVERYONE)
    assert_complete(done, records)
    assert "convert" not in done.stderr
    asked = [each for each in pacs.finds("IMAGE") if each["keys"].get("SOPInstanceUID")]
    native = {(each.study_uid, each.sop_class) for each in records if each.transfer_syntax != RLE}
    assert len(asked) == (len(native) if tells else 1)


# --- an archive that says Success before it sends ---------------------------------------------------------------------


@pytest.mark.parametrize("late", [999, 3])
def test_what_is_on_its_way_is_not_asked_for_again(quirky, tmp_path, late):
    """Several studies in one request, whose objects come only after its final response."""
    files = make_archive(tmp_path / "archive", 4, 2, 2, 4, 8)
    records = list(map(read_record, files))
    pacs = quirky(files, late=late, late_s=0.4, pace=200)
    done = saved(pacs, tmp_path, *rows(records), options=("--settle_time", "3"))
    assert_complete(done, records)
    assert len(pacs.sent) == len(set(pacs.sent)), "sent twice"
