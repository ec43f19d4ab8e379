# ruff: noqa: RUF001 - names in many scripts
"""Objects in which archives differ, small and made here: kinds of objects, compressed pixels, ten character sets.

The compressed pixels are those of files that ship with pydicom. Each compressed transfer syntax has a storage class of
its own: dcmqrscp holds one syntax a class. The same call always writes the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacsifier.demo import demo_uid

STORAGE = "1.2.840.10008.5.1.4.1.1"
TEXT_SR = "88.11"


@dataclass(frozen=True)
class Trap:
    """One instance in a series of its own; `storage` ends its SOP Class UID, `pixels_of` is a file of pydicom's."""

    name: str
    patient_id: str
    modality: str
    storage: str
    pixels_of: str = ""
    character_set: str = ""
    patient_name: str = "TRAP"
    description: str = ""


OBJECTS = (
    Trap("multi-frame", "TRAP-OBJECTS", "OT", "7.3"),
    Trap("RT structure set", "TRAP-OBJECTS", "RTSTRUCT", "481.3"),
    Trap("RT plan", "TRAP-OBJECTS", "RTPLAN", "481.5"),
    Trap("text SR", "TRAP-OBJECTS", "SR", TEXT_SR),
    Trap("PDF", "TRAP-OBJECTS", "DOC", "104.1"),
)
COMPRESSED = (
    Trap("JPEG Baseline", "TRAP-PIXELS", "XC", "77.1.4", "SC_rgb_jpeg_dcmtk.dcm"),
    Trap("JPEG Extended", "TRAP-PIXELS", "RF", "12.2", "JPGExtended.dcm"),
    Trap("JPEG Lossless", "TRAP-PIXELS", "OT", "7", "SC_rgb_jpeg_gdcm.dcm"),
    Trap("JPEG-LS", "TRAP-PIXELS", "CR", "1", "MR_small_jpeg_ls_lossless.dcm"),
    Trap("JPEG-LS near-lossless", "TRAP-PIXELS", "XA", "12.1", "JPEGLSNearLossless_16.dcm"),
    Trap("JPEG 2000 lossless", "TRAP-PIXELS", "DX", "1.1", "MR_small_jp2klossless.dcm"),
    Trap("JPEG 2000", "TRAP-PIXELS", "MG", "1.2", "693_J2KI.dcm"),
    Trap("RLE multi-frame", "TRAP-PIXELS", "OT", "7.4", "SC_rgb_rle_2frame.dcm"),
    Trap("deflated", "TRAP-PIXELS", "PT", "128", "image_dfl.dcm"),
    Trap("big endian", "TRAP-PIXELS", "NM", "20", "MR_small_bigendian.dcm"),
)
_NAMES = (
    ("ISO_IR 100", "Müller^Zoë", "Thorax artériel"),
    ("ISO_IR 101", "Łukasz^Žofie", "Głowa"),
    ("ISO_IR 109", "Ġużè^Ħal", "Rożarju"),
    ("ISO_IR 144", "Иванова^Анна", "Голова"),
    ("ISO_IR 127", "قباني^لنزار", "رأس"),
    ("ISO_IR 126", "Διονυσιος^Άννα", "Κεφάλι"),
    ("ISO_IR 138", "שרון^דבורה", "ראש"),
    ("ISO_IR 148", "Çavuşoğlu^Işık", "Baş"),
    ("GB18030", "王^小东", "头部"),
    ("ISO_IR 192", "Šimůnek^王", "Αρχή 頭"),
)
CHARACTER_SETS = tuple(
    Trap(
        f"name in {character_set}", f"TRAP-NAME-{number}", "SR", TEXT_SR, "", character_set, name, description
    )
    for number, (character_set, name, description) in enumerate(_NAMES)
)
TRAPS = (*OBJECTS, *COMPRESSED, *CHARACTER_SETS)

_PIXEL_MODULE = (
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel"),
    *("PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "PixelData"),
)


def make_traps(folder: Path, seed: str = "") -> dict[str, Path]:
    """Write all traps below `folder` as Part 10 files: name -> file; another `seed` gives other UIDs."""
    folder.mkdir(parents=True, exist_ok=True)
    return {trap.name: _write(folder, number, trap, seed) for number, trap in enumerate(TRAPS, 1)}


def _write(folder: Path, number: int, trap: Trap, seed: str) -> Path:
    dataset = _header(trap, number, seed)
    if trap.pixels_of:
        _add_pixels_of(dataset, trap.pixels_of)
    elif trap.name == "multi-frame":
        _add_frames(dataset)
    elif trap.name == "PDF":
        dataset.EncapsulatedDocument = b"%PDF-1.4\n%%EOF\n\0"
        dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    elif trap.modality == "SR":
        dataset.ValueType, dataset.CompletionFlag, dataset.VerificationFlag = (
            "CONTAINER",
            "COMPLETE",
            "UNVERIFIED",
        )
    path = folder / f"TRAP{number:02d}"
    dataset.save_as(path, enforce_file_format=True)
    return path


def _header(trap: Trap, number: int, seed: str) -> Any:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    dataset = Dataset()
    if trap.character_set:
        dataset.SpecificCharacterSet = trap.character_set
    values = {
        "SOPClassUID": f"{STORAGE}.{trap.storage}",
        "SOPInstanceUID": demo_uid("trap", trap.name, "instance", seed),
        "StudyInstanceUID": demo_uid("trap", trap.patient_id, "study", seed),
        "SeriesInstanceUID": demo_uid("trap", trap.name, "series", seed),
        "PatientID": trap.patient_id + seed,
        "PatientName": trap.patient_name,
        "PatientBirthDate": "19700101",
        "PatientSex": "O",
        "StudyDate": "20210304",
        "StudyTime": "101500",
        "StudyID": "1",
        "StudyDescription": "Traps",
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        "Modality": trap.modality,
        "SeriesNumber": number,
        "SeriesDescription": trap.description or trap.name,
        "InstanceNumber": 1,
        "Manufacturer": "Synthetic",
    }
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    meta = dataset.file_meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
        dataset.SOPClassUID,
        dataset.SOPInstanceUID,
    )
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = demo_uid("implementation")
    return dataset


def _add_pixels_of(dataset: Any, name: str) -> None:
    import pydicom
    from pydicom.data import get_testdata_file

    source = pydicom.dcmread(str(get_testdata_file(name, download=False)))
    dataset.file_meta.TransferSyntaxUID = source.file_meta.TransferSyntaxUID
    for keyword in _PIXEL_MODULE:
        if keyword in source:
            dataset[keyword] = source[keyword]
    if source.file_meta.TransferSyntaxUID.is_encapsulated:
        # Some of these files have OW there (PS3.5 A.4: OB).
        dataset["PixelData"].VR = "OB"


def _add_frames(dataset: Any) -> None:
    rows, columns, frames = 8, 8, 5
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames, dataset.SamplesPerPixel = rows, columns, frames, 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = b"".join(number.to_bytes(2, "little") for number in range(rows * columns * frames))
    dataset["PixelData"].VR = "OW"
