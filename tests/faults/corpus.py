"""Instances whose values nobody would wish for, written byte by byte so that no library tidies them up."""

from __future__ import annotations

import struct
from pathlib import Path

from pacsifier.query import ATTRIBUTES

TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
ROOT = "2.25.7001"


def write_instance(path: Path, study: int, instance: int = 1, /, **values: str) -> Path:
    """Write a small instance (no pixels) of study `ROOT.study`, series `.1`; `values` by keyword, as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(instance_bytes(study, instance, **values))
    return path


def instance_bytes(study: int, instance: int = 1, /, **values: str) -> bytes:
    """Return a Part 10 file in Explicit VR Little Endian; text as UTF-8 and declared so."""
    uid = f"{ROOT}.{study}"
    values = {
        "TransferSyntaxUID": EXPLICIT_LE,
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": TEXT_SR,
        "SOPInstanceUID": f"{uid}.1.{instance}",
        "StudyInstanceUID": uid,
        "SeriesInstanceUID": f"{uid}.1",
        "StudyDate": "20200101",
        "StudyTime": "120000",
        "Modality": "SR",
        "SeriesNumber": "1",
        "PatientID": f"P{study}",
    } | values
    meta = b"".join(
        _element(tag, "UI", values[keyword])
        for tag, keyword in (
            (0x00020002, "SOPClassUID"),
            (0x00020003, "SOPInstanceUID"),
            (0x00020010, "TransferSyntaxUID"),
        )
    )
    del values["TransferSyntaxUID"]
    attributes = sorted((ATTRIBUTES[keyword].tag, ATTRIBUTES[keyword].vr, keyword) for keyword in values)
    body = b"".join(_element(tag, vr, values[keyword]) for tag, vr, keyword in attributes)
    length = struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(meta))
    return bytes(128) + b"DICM" + length + meta + body


def _element(tag: int, vr: str, text: str) -> bytes:
    value = text.encode("utf-8")
    value += (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value
