"""The data dictionary that findscu and movescu get: the elements that they write and are answered with.

DCMTK reads its own, 5,000 lines, at each start of a tool: 10 ms, more than everything else in a start.
"""

from __future__ import annotations

from typing import Final

from pacsifier.query.attributes import ATTRIBUTES

# PS3.7 tables E.1-1 and 7.1-1 (file meta information: PS3.10); what C-FIND and C-MOVE use of them.
_ELEMENTS: Final[tuple[tuple[int, str, str], ...]] = (
    (0x00000000, "UL", "CommandGroupLength"),
    (0x00000002, "UI", "AffectedSOPClassUID"),
    (0x00000100, "US", "CommandField"),
    (0x00000110, "US", "MessageID"),
    (0x00000120, "US", "MessageIDBeingRespondedTo"),
    (0x00000600, "AE", "MoveDestination"),
    (0x00000700, "US", "Priority"),
    (0x00000800, "US", "CommandDataSetType"),
    (0x00000900, "US", "Status"),
    (0x00000901, "AT", "OffendingElement"),
    (0x00000902, "LO", "ErrorComment"),
    (0x00000903, "US", "ErrorID"),
    (0x00001000, "UI", "AffectedSOPInstanceUID"),
    (0x00001020, "US", "NumberOfRemainingSuboperations"),
    (0x00001021, "US", "NumberOfCompletedSuboperations"),
    (0x00001022, "US", "NumberOfFailedSuboperations"),
    (0x00001023, "US", "NumberOfWarningSuboperations"),
    (0x00020000, "UL", "FileMetaInformationGroupLength"),
    (0x00020001, "OB", "FileMetaInformationVersion"),
    (0x00020002, "UI", "MediaStorageSOPClassUID"),
    (0x00020003, "UI", "MediaStorageSOPInstanceUID"),
    (0x00020010, "UI", "TransferSyntaxUID"),
    (0x00020012, "UI", "ImplementationClassUID"),
    (0x00020013, "SH", "ImplementationVersionName"),
    (0x00080054, "AE", "RetrieveAETitle"),
    (0x00080058, "UI", "FailedSOPInstanceUIDList"),
)


def dictionary_text() -> str:
    """The text of the dictionary: tag, VR, keyword, multiplicity, version; separated by tabs (DCMTK's datadict.txt)."""
    queried = ((each.tag, each.vr, each.keyword) for each in ATTRIBUTES.values())
    lines = (
        f"({tag >> 16:04X},{tag & 0xFFFF:04X})\t{vr}\t{keyword}\t1-n\tDICOM"
        for tag, vr, keyword in sorted({*_ELEMENTS, *queried})
    )
    return "\n".join(lines) + "\n"
