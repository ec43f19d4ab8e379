"""The one table of DICOM attributes that pacsifier asks for, checks, matches and writes down.

A new attribute is one row of `_ROWS`; columns, matching keys, checks and CSV headers follow from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

Level = Literal["STUDY", "SERIES", "IMAGE"]

QUERY_COLUMNS: Final[tuple[str, ...]] = (
    "StudyDate",
    "StudyTime",
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "SeriesDescription",
    "ProtocolName",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "AcquisitionDate",
    "DeviceSerialNumber",
    "SeriesNumber",
    "StudyDescription",
    "AccessionNumber",
    "SequenceName",
    "ImageType",
)
"""The columns of a query file, in the order of the documentation."""

INFO_COLUMNS: Final[tuple[str, ...]] = (
    "StudyDate",
    "StudyTime",
    "SeriesDescription",
    "PatientID",
    "ProtocolName",
    "StudyInstanceUID",
    "PatientName",
    "PatientBirthDate",
    "SeriesInstanceUID",
    "DeviceSerialNumber",
    "Modality",
    "ImageType",
    "SeriesNumber",
    "StudyDescription",
    "AccessionNumber",
    "SequenceName",
    "AcquisitionDate",
)
"""The columns of an info CSV: the order of PACSIFIER 1.0.0, AcquisitionDate joins at the end."""

_RANGE_COLUMNS: Final = frozenset({"StudyDate", "AcquisitionDate"})

# PS3.5 table 6.2-1, in characters. CS and UI count each value, PN each component group.
_MAX_LENGTHS: Final[Mapping[str, int]] = {
    "CS": 16,
    "DA": 8,
    "IS": 12,
    "LO": 64,
    "PN": 64,
    "SH": 16,
    "TM": 14,
    "UI": 64,
}

_ROWS: Final[tuple[tuple[str, int, str, Level], ...]] = (
    ("SpecificCharacterSet", 0x00080005, "CS", "STUDY"),
    ("ImageType", 0x00080008, "CS", "IMAGE"),
    ("SOPClassUID", 0x00080016, "UI", "IMAGE"),
    ("SOPInstanceUID", 0x00080018, "UI", "IMAGE"),
    ("StudyDate", 0x00080020, "DA", "STUDY"),
    ("AcquisitionDate", 0x00080022, "DA", "IMAGE"),
    ("StudyTime", 0x00080030, "TM", "STUDY"),
    ("AccessionNumber", 0x00080050, "SH", "STUDY"),
    ("QueryRetrieveLevel", 0x00080052, "CS", "STUDY"),
    ("InstanceAvailability", 0x00080056, "CS", "SERIES"),
    ("Modality", 0x00080060, "CS", "SERIES"),
    ("ModalitiesInStudy", 0x00080061, "CS", "STUDY"),
    ("SOPClassesInStudy", 0x00080062, "UI", "STUDY"),
    ("StudyDescription", 0x00081030, "LO", "STUDY"),
    ("SeriesDescription", 0x0008103E, "LO", "SERIES"),
    ("AvailableTransferSyntaxUID", 0x00083002, "UI", "IMAGE"),
    ("PatientName", 0x00100010, "PN", "STUDY"),
    ("PatientID", 0x00100020, "LO", "STUDY"),
    ("IssuerOfPatientID", 0x00100021, "LO", "STUDY"),
    ("PatientBirthDate", 0x00100030, "DA", "STUDY"),
    ("SequenceName", 0x00180024, "SH", "IMAGE"),
    ("DeviceSerialNumber", 0x00181000, "LO", "IMAGE"),
    ("ProtocolName", 0x00181030, "LO", "IMAGE"),
    ("StudyInstanceUID", 0x0020000D, "UI", "STUDY"),
    ("SeriesInstanceUID", 0x0020000E, "UI", "SERIES"),
    ("SeriesNumber", 0x00200011, "IS", "SERIES"),
    ("InstanceNumber", 0x00200013, "IS", "IMAGE"),
    ("NumberOfStudyRelatedSeries", 0x00201206, "IS", "STUDY"),
    ("NumberOfStudyRelatedInstances", 0x00201208, "IS", "STUDY"),
    ("NumberOfSeriesRelatedInstances", 0x00201209, "IS", "SERIES"),
    ("LossyImageCompression", 0x00282110, "CS", "IMAGE"),
)


@dataclass(frozen=True)
class Attribute:
    """One attribute: its place in the standard and what a user may do with it.

    `level` is the query/retrieve level of the Study Root model at which it is a matching key (PS3.4 C.6.2);
    patient attributes count as STUDY. SpecificCharacterSet and QueryRetrieveLevel belong to every level.
    `max_length` is in characters, of one value (CS, UI), one component group (PN) or the whole value.
    """

    keyword: str
    tag: int
    vr: str
    level: Level
    max_length: int
    query_column: bool
    range_allowed: bool


def _attribute(keyword: str, tag: int, vr: str, level: Level) -> Attribute:
    return Attribute(
        keyword=keyword,
        tag=tag,
        vr=vr,
        level=level,
        max_length=_MAX_LENGTHS[vr],
        query_column=keyword in QUERY_COLUMNS,
        range_allowed=keyword in _RANGE_COLUMNS,
    )


ATTRIBUTES: Final[Mapping[str, Attribute]] = MappingProxyType({row[0]: _attribute(*row) for row in _ROWS})
"""Every attribute by its keyword, in the order of the tags."""
