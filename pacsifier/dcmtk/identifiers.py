"""Identifiers (PS3.4 C.2.2, C.4) as DICOM files in the working folder of a findscu, movescu or getscu."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from pacsifier.dicom import part10
from pacsifier.dicom.text import encode_text
from pacsifier.query.attributes import ATTRIBUTES

Keys = Mapping[str, str]
# A list of UIDs is one value of at most 65,534 bytes (PS3.5 7.1.2), a malformed UID up to 128 and its backslash.
LONGEST_UID_LIST: Final = 500
_TEXT_VRS = frozenset({"LO", "SH", "PN", "LT", "ST", "UT", "UC"})


def encode_identifier(keys: Keys) -> bytes:
    """An identifier as the bytes of a DICOM file; the character set is the least that holds all values.

    None for ASCII, ISO_IR 100 where it suffices, else ISO_IR 192 (PS3.5 6.1.2.3).
    """
    text = "".join(value for keyword, value in keys.items() if ATTRIBUTES[keyword].vr in _TEXT_VRS)
    character_set, _ = encode_text(text)
    codec = {"ISO_IR 100": "latin-1", "ISO_IR 192": "utf-8"}.get(character_set, "ascii")
    elements = [
        (ATTRIBUTES[keyword].tag, ATTRIBUTES[keyword].vr, value.encode(codec, "replace"))
        for keyword, value in keys.items()
    ]
    if character_set:
        elements.append((ATTRIBUTES["SpecificCharacterSet"].tag, "CS", character_set.encode()))
    return part10.encode(elements)


def write_identifiers(folder: Path, identifiers: Iterable[Keys]) -> list[str]:
    """Writes each identifier into a file of its own and returns their names, in that order."""
    names = []
    for number, keys in enumerate(identifiers):
        names.append(f"q{number:06d}.dcm")
        (folder / names[-1]).write_bytes(encode_identifier(keys))
    return names


def remove_folder(folder: Path) -> None:
    """Removes a working folder of files and at most one level of folders."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            remove_folder(path) if path.is_dir() else path.unlink()
        folder.rmdir()
