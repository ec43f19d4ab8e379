"""The confidentiality profile: which action each tag gets under the options.

The rules are data: DICOM PS3.15 Table E.1-1, and a few rows of our own.

A new rule is one row in `data/`. Source: PS3.15 Annex E; the head of `data/table_e1_1.txt` names the editions.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path

from pacsifier.deidentify.engine.dictionary import keyword

_DATA = Path(__file__).with_name("data")

TEXT_VRS = frozenset(("LO", "SH", "ST", "LT", "UT", "UC", "UR"))
_DESCRIPTOR_VRS = frozenset(("LO", "SH"))

# Code strings that a person types: content label, graphic layer.
_TYPED_LABELS = frozenset((0x00700080, 0x00700002))
_LOWEST_GROUP = 0x0008
PATIENT_NAME, PATIENT_ID, PATIENT_BIRTH_DATE = 0x00100010, 0x00100020, 0x00100030


class Action(Enum):
    """What becomes of an element."""

    KEEP = "kept"
    REMOVE = "removed"
    EMPTY = "emptied"
    DUMMY = "replaced by a dummy"
    UID = "mapped"
    DESCEND = "its items are de-identified"
    SHIFT = "date shifted"
    CLEAN = "cleaned word by word"
    CHECK = "kept unless it names the patient"
    CONSTANT = "defined by a maker or the standard: kept without the patient's dates"
    CHECK_MADE = "made by a machine: kept unless it names the patient in full"
    DERIVE = "replaced by a name derived from it"
    NEW_ID = "the pseudonym"
    NEW_NAME = "the pseudonym as a name"
    BIRTH_DATE = "birth date shifted or emptied"
    AGE = "age capped"


@dataclass(frozen=True)
class Options:
    """What the user chose; the defaults are the documented ones."""

    basic: bool = False
    fuzz_dates: bool = False
    remove_private: bool = False
    safe_private: bool = False
    delete_identifiable: bool = False
    keep_sr: bool = False
    retain_device_identity: bool = False
    retain_institution: bool = False
    retain_uids: bool = False
    retain_descriptors: bool = False

    @property
    def columns(self) -> frozenset[str]:
        """The options of Table E.1-1 that are on, by their names in the data file."""
        chosen = set() if self.basic else {"characteristics", "descriptors", "structured", "graphics"}
        if self.fuzz_dates:
            chosen.add("modified_dates")
        elif not self.basic:
            chosen.add("full_dates")
        for name, holds in (
            ("device", self.retain_device_identity),
            ("institution", self.retain_institution),
            ("uids", self.retain_uids),
            ("descriptors", self.retain_descriptors),
        ):
            if holds:
                chosen.add(name)
        return frozenset(chosen)


@dataclass(frozen=True)
class Row:
    """One row of the table: the actions of the Basic Profile and of the options, in the standard's letters."""

    tag: str
    keyword: str
    vr: str
    basic: str
    options: tuple[tuple[str, str], ...]


@cache
def read_table(name: str = "table_e1_1.txt") -> tuple[Row, ...]:
    """Every row of a data file of rules, in the file's order."""
    rows = []
    for line in data_lines(name):
        tag, name_of_tag, *rest = line.split("\t")
        vr = rest.pop(0) if name == "table_e1_1.txt" else "-"
        options = (each.partition("=") for each in "".join(rest[1:]).split())
        rows.append(Row(tag, name_of_tag, vr, rest[0], tuple((key, letter) for key, _, letter in options)))
    return tuple(rows)


@cache
def read_words(name: str) -> frozenset[str]:
    """Every word of a data file."""
    return frozenset().union(*map(str.split, data_lines(name)))


@cache
def safe_private() -> frozenset[tuple[str, int, int]]:
    """The private elements that hold no identity: creator, group, element within the block."""
    return frozenset(
        (creator, int(group, 16), int(element, 16))
        for creator, group, elements in (line.split("\t") for line in data_lines("safe_private.txt"))
        for element in elements.split()
    )


def data_parts(name: str) -> dict[str, list[str]]:
    """The lines of a data file by the `[title]` above them."""
    parts: dict[str, list[str]] = {}
    for line in data_lines(name):
        if line.startswith("["):
            part = parts.setdefault(line.strip("[]"), [])
        else:
            part.append(line)
    return parts


def data_lines(name: str) -> list[str]:
    """The lines of a data file, without comments."""
    text = (_DATA / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def data_bytes(name: str) -> bytes:
    """The content of a data file that is no text."""
    return (_DATA / name).read_bytes()


class Profile:
    """The action for each public element under the chosen options; `private` decides about private ones."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._columns = options.columns
        self._rows = {
            int(row.tag, 16): row
            for name in ("table_e1_1.txt", "beyond_table.txt")
            for row in read_table(name)
            if row.tag != "private" and "xx" not in row.tag
        }
        self._constants = read_words("constants.txt")
        self._kept_text = read_words("kept_text.txt")
        self._of_people = read_words("people_sequences.txt")
        self._kept_uids = read_words("kept_uids.txt")
        self._known: dict[tuple[int, str], Action] = {}

    def action(self, tag: int, vr: str) -> Action:
        """The action for a public element of this VR, at any depth."""
        action = self._known.get((tag, vr))
        if action is None:
            action = self._known[tag, vr] = self._decide(tag, vr)
        return action

    def speaks_of_people(self, tag: int) -> bool:
        """Whether a sequence names people or an institution."""
        return keyword(tag) in self._of_people

    def fallback(self, tag: int) -> Action:
        """What becomes of a descriptor when none of its words may stay."""
        row = self._rows.get(tag)
        return Action.DUMMY if row is None else _basic_action(row.basic, "LO", tag)

    def _decide(self, tag: int, vr: str) -> Action:
        if tag == PATIENT_ID:
            return Action.NEW_ID
        if tag == PATIENT_NAME:
            return Action.NEW_NAME
        if tag == PATIENT_BIRTH_DATE:
            return Action.EMPTY if self.options.basic else Action.BIRTH_DATE
        group = tag >> 16
        if group < _LOWEST_GROUP:
            # Belongs to messages, the file meta information or a DICOMDIR, not to an instance.
            return Action.REMOVE
        if (
            tag & 0xFFFF == 0
            or group in (0xFFFA, 0xFFFC)
            or group & 0xFF01 == 0x5000
            or group & 0xFF01 == 0x6000
        ):
            return Action.REMOVE
        row = self._rows.get(tag)
        return self._of_vr(tag, vr) if row is None else self._of_row(row, tag, vr)

    def _of_row(self, row: Row, tag: int, vr: str) -> Action:
        options = dict(row.options)
        if "modified_dates" in self._columns and options.get("modified_dates") == "C":
            if vr in ("DA", "DT"):
                return Action.SHIFT
            if vr in ("TM", "SH"):
                return Action.KEEP
            return _basic_action(row.basic, vr, tag)
        letters = {letter for name, letter in row.options if name in self._columns}
        if "K" in letters:
            return self._kept(vr)
        if "C" in letters:
            return self._cleaned(vr, options)
        return _basic_action(row.basic, vr, tag)

    def _kept(self, vr: str) -> Action:
        if vr == "SQ":
            return Action.DESCEND
        if vr == "AS":
            return Action.AGE
        return Action.CHECK if vr in TEXT_VRS else Action.KEEP

    def _cleaned(self, vr: str, options: dict[str, str]) -> Action:
        if vr == "SQ":
            return Action.DESCEND
        if vr in TEXT_VRS:
            return (
                Action.CHECK if self.options.retain_descriptors and "descriptors" in options else Action.CLEAN
            )
        return Action.KEEP if vr in ("AE", "CS") else Action.REMOVE

    def _of_vr(self, tag: int, vr: str) -> Action:
        if vr == "UI":
            kept = keyword(tag) in self._kept_uids or self.options.retain_uids
            return Action.KEEP if kept else Action.UID
        if vr in TEXT_VRS:
            return self._of_unlisted_text(tag, vr)
        if vr == "CS" and tag in _TYPED_LABELS:
            return Action.CHECK
        if vr in ("DA", "DT"):
            return self._of_unlisted_date()
        simple = {"SQ": Action.DESCEND, "PN": Action.EMPTY, "AE": Action.REMOVE, "AS": Action.AGE}
        # Public bytes that the dictionary does not know may hold anything.
        return Action.REMOVE if vr in ("UN", "OB", "OW") and not keyword(tag) else simple.get(vr, Action.KEEP)

    def _of_unlisted_text(self, tag: int, vr: str) -> Action:
        if keyword(tag) in self._constants:
            return Action.CONSTANT
        if keyword(tag) in self._kept_text:
            return Action.CHECK_MADE
        return self.of_typed_text(vr)

    def of_typed_text(self, vr: str) -> Action:
        """The action for a text that a person typed and that no table names."""
        if vr not in _DESCRIPTOR_VRS:
            return Action.REMOVE
        if "descriptors" not in self._columns:
            return Action.DUMMY
        return Action.CHECK if self.options.retain_descriptors else Action.CLEAN

    def _of_unlisted_date(self) -> Action:
        if self.options.fuzz_dates:
            return Action.SHIFT
        return Action.EMPTY if self.options.basic else Action.KEEP


def _basic_action(letters: str, vr: str, tag: int) -> Action:
    """The least destructive letter that keeps a type 1 or type 2 element valid wherever it stands."""
    if letters == "U":
        return Action.UID
    if letters == "T":
        return Action.DERIVE
    if "U" in letters:
        return Action.DESCEND
    if "D" in letters:
        return Action.DESCEND if vr == "SQ" else Action.DUMMY
    if "Z" in letters:
        # The study that an image refers to is of type 3 or 1C everywhere: an empty one would be invalid.
        return Action.REMOVE if tag == 0x00081110 else Action.EMPTY
    return Action.REMOVE


# What Table E.1-1's options are called in CID 7050 of PS3.16.
CODES = {
    "basic": ("113100", "Basic Application Confidentiality Profile"),
    "pixels": ("113101", "Clean Pixel Data Option"),
    "graphics": ("113103", "Clean Graphics Option"),
    "structured": ("113104", "Clean Structured Content Option"),
    "descriptors": ("113105", "Clean Descriptors Option"),
    "full_dates": ("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
    "modified_dates": ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    "characteristics": ("113108", "Retain Patient Characteristics Option"),
    "device": ("113109", "Retain Device Identity Option"),
    "uids": ("113110", "Retain UIDs Option"),
    "safe_private": ("113111", "Retain Safe Private Option"),
    "institution": ("113112", "Retain Institution Identity Option"),
}


METHOD = "pacsifier: PS3.15 Table E.1-1 edition 2026c"
"""The first value of De-identification Method on every file that this engine has written."""


def codes(options: Options) -> tuple[tuple[str, str], ...]:
    """The codes (DCM) of the profile and options that are applied, sorted."""
    names = {"basic", *options.columns}
    if options.retain_descriptors:
        names.discard("descriptors")
    if options.safe_private and not options.remove_private:
        names.add("safe_private")
    return tuple(sorted(CODES[name] for name in names))


def method(options: Options) -> tuple[str, ...]:
    """The values of De-identification Method: engine, edition, and every deviation in plain words."""
    said = [METHOD]
    if not options.basic:
        said.append("birth date shifted by up to 30 days or emptied")
    if not (options.remove_private or options.safe_private):
        said.append("private attributes retained, known identifiers replaced")
    if options.retain_descriptors:
        said.append("descriptors retained, known identifiers removed")
    if options.fuzz_dates:
        said.append("dates shifted, times of day retained")
    return tuple(said)
