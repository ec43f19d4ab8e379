"""What one cell of a query file says, and what is wrong with it by the rules of its VR.

Every message says what is allowed, and the right spelling where there can be only one.
Source: PS3.5 6.2 (VRs), PS3.4 C.2.2.2 (matching).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Final, NamedTuple

from pacsifier.query.attributes import ATTRIBUTES, Attribute
from pacsifier.query.spreadsheet import (
    DAY_FIRST,
    MADE_DATE,
    YEAR_FIRST,
    as_typed,
    day_of_number,
    invisible,
    made_date,
    plain,
)

NEW_IDS: Final = "new_ids"
NUMBER_COLUMNS: Final = frozenset({"PatientID", "AccessionNumber", "DeviceSerialNumber", NEW_IDS})
FREE_COLUMNS: Final = frozenset(
    {"PatientName", "SeriesDescription", "ProtocolName", "StudyDescription", "SequenceName"}
)
_NEW_ID_LENGTH: Final = 64

_DATE: Final = re.compile(r"[0-9]{8}")
_RANGE: Final = re.compile(r"([0-9]{8})?-([0-9]{8})?")
_TIME: Final = re.compile(r"[0-9]{2}(?:[0-9]{2}(?:[0-9]{2}(?:\.[0-9]{1,6})?)?)?")
_ZERO_DROPPED: Final = re.compile(r"(?:[0-9]|[0-9]{3}|[0-9]{5}(?:\.[0-9]{1,6})?)")
_COLONS: Final = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")
_UID: Final = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_CODE: Final = re.compile(r"[A-Z0-9 _*?]+")

# What divides a value into the parts that its VR limits, and how a message calls them.
_PARTS: Final = {"CS": ("\\", " a component"), "PN": ("=", " a component group")}
_DATE_FORMS: Final = "YYYYMMDD, a date that exists"
_RANGE_FORMS: Final = "YYYYMMDD, YYYYMMDD-YYYYMMDD, YYYYMMDD- or -YYYYMMDD, with dates that exist"
_TIME_FORMS: Final = "HH, HHMM, HHMMSS or HHMMSS.F (24 hours; 1 to 6 digits of a fraction)"


class Cell(NamedTuple):
    """What a cell says, "" where it is empty, and every problem of it; a tuple, since there may be millions."""

    text: str
    problems: tuple[str, ...] = ()


def read_cell(column: str, raw: str, *, dated: bool = False) -> Cell:
    """One cell of a query column or of `new_ids`, as its author meant it; `dated`: a workbook holds it as a date."""
    if dated and column in NUMBER_COLUMNS:
        return Cell(raw, (MADE_DATE,))
    typed = as_typed(raw, free=column in FREE_COLUMNS, number=column in NUMBER_COLUMNS)
    if typed.problem or not typed.text:
        return Cell(typed.text, (typed.problem,) if typed.problem else ())
    problems = _new_id_problems if column == NEW_IDS else _cell_problems
    return Cell(typed.text, tuple(problems(column, typed.text)))


def re_formatted(column: str, text: str) -> str:
    """What a spreadsheet made of a date or time that a table held in DICOM's own form; "": nothing that shows."""
    attribute = ATTRIBUTES[column]
    year_first = YEAR_FIRST.fullmatch(text)
    if year_first and year_first[2] == ".":
        # Old equipment writes so itself (ACR-NEMA).
        return ""
    if attribute.vr == "DA" and (_readings(text) or made_date(text) or day_of_number(text)):
        return _date_problem(attribute, text) or ""
    if attribute.vr == "TM" and (_COLONS.fullmatch(text) or _ZERO_DROPPED.fullmatch(text)):
        return _time_problem(attribute, text) or ""
    return ""


def _cell_problems(column: str, text: str) -> Iterator[str]:
    attribute = ATTRIBUTES[column]
    yield from _character_problems(attribute, text)
    yield from _value_problems(attribute, text)


def _new_id_problems(_column: str, text: str) -> Iterator[str]:
    """Every problem of a pseudonym: it becomes a PatientID and a folder name."""
    yield from invisible(text, free=False)
    if "\\" in text:
        yield "a backslash is not allowed"
    if len(text) > _NEW_ID_LENGTH:
        yield f"{len(text)} characters, at most {_NEW_ID_LENGTH} are allowed"
    plain_text = unicodedata.normalize("NFKD", text)
    if not any(character.isascii() and character.isalnum() for character in plain_text):
        yield "names no folder: a letter or digit (A-Z, a-z, 0-9) is needed"


def _character_problems(attribute: Attribute, text: str) -> Iterator[str]:
    """Characters that the VR, or a query, cannot hold."""
    yield from invisible(text, free=attribute.keyword in FREE_COLUMNS)
    if "\\" in text and attribute.keyword != "ImageType":
        yield "a backslash is not allowed: one value per cell, further values in rows of their own"
    if "*" in text and not text.strip("*\\ "):
        yield "the wildcard * alone is not accepted: leave the cell empty, or write more of the value"
    elif attribute.vr in _FORMS and ("*" in text or "?" in text):
        instead = f"; allowed: {_RANGE_FORMS}" if attribute.range_allowed else ": write the whole value"
        yield f"a wildcard is not allowed in this column (VR {attribute.vr}){instead}"


def _value_problems(attribute: Attribute, text: str) -> Iterator[str]:
    """What the VR, or Modality, does not allow in a value."""
    if attribute.vr in _FORMS:
        if "*" not in text and "?" not in text:
            yield from filter(None, [_form_problem(attribute, text)])
        return
    if attribute.keyword == "Modality":
        yield from filter(None, [_modality_problem(text)])
    yield from _length_problems(attribute, text)


def _form_problem(attribute: Attribute, text: str) -> str | None:
    """What is wrong with a value of a strict form; the right one where its digits are of another kind."""
    problem = _FORMS[attribute.vr](attribute, text)
    right = plain(text) if problem else text
    meant = right != text and _FORMS[attribute.vr](attribute, right) is None
    return f"{problem}: write {right}" if meant and f"write {right}" not in str(problem) else problem


def _length_problems(attribute: Attribute, text: str) -> Iterator[str]:
    """Values longer than their VR allows; wildcards count as characters."""
    if len(text) <= attribute.max_length and attribute.vr not in _PARTS:
        return
    separator, unit = _PARTS.get(attribute.vr, (None, ""))
    parts = text.split(separator) if separator else [text]
    longest = max(map(len, parts))
    if longest > attribute.max_length:
        yield f"{longest} characters, at most {attribute.max_length}{unit} are allowed (VR {attribute.vr})"
    if attribute.vr == "PN" and len(parts) > 3:
        yield f"{len(parts)} component groups (=), at most 3 are allowed"
    if separator and not any(part.strip(" ^") for part in parts):
        yield "holds separators only: write a value"


def _date_problem(attribute: Attribute, text: str) -> str | None:
    """A date that is malformed, does not exist, or a range that may not stand here or runs backwards."""
    forms = _RANGE_FORMS if attribute.range_allowed else _DATE_FORMS
    limits = _RANGE.fullmatch(text)
    if not (_DATE.fullmatch(text) or (limits and any(limits.groups()))):
        return f"allowed: {forms}{_right_date(attribute, text)}"
    if limits and not attribute.range_allowed:
        return f"a range is not supported in this column; allowed: {_DATE_FORMS}"
    for day in re.findall(_DATE, text):
        if not _exists(day):
            return f"the date {day} does not exist; allowed: {forms}"
    if limits and all(limits.groups()) and limits[1] > limits[2]:
        return f"the range runs backwards: write {limits[2]}-{limits[1]}"
    return None


def _exists(day: str) -> bool:
    try:
        date(int(day[:4]), int(day[4:6]), int(day[6:]))
    except ValueError:
        return False
    return True


def _right_date(attribute: Attribute, text: str) -> str:
    """`: write 20150512` for another spelling; both readings where day and month could be swapped."""
    joined = re.sub(r"\s*[-\u2010-\u2015\u2212]\s*", "-", text)
    if joined != text and _date_problem(attribute, joined) is None:
        return f": write {joined}"
    days = _readings(joined)
    counted = day_of_number(joined)
    if counted:
        return f": a number of a day in the spreadsheet, was {counted} meant?"
    return f": write {' or '.join(days)}" if days else ""


def _readings(text: str) -> list[str]:
    """The dates that `2015-05-12`, `12.05.2015` or `05/12/2015` can stand for."""
    match = YEAR_FIRST.fullmatch(text)
    if match:
        readings = [(match[1], match[3], match[4])]
    else:
        match = DAY_FIRST.fullmatch(text)
        if not match:
            return []
        readings = [(match[4], match[3], match[1])]
        if match[2] != ".":  # with a slash or hyphen the month may come first
            readings.append((match[4], match[1], match[3]))
    days = [f"{year}{int(month):02}{int(day):02}" for year, month, day in readings]
    return [day for day in dict.fromkeys(days) if _exists(day)]


def _time_problem(attribute: Attribute, text: str) -> str | None:
    """A time that is malformed or that no clock shows (second 60 is the leap second of PS3.5)."""
    if _TIME.fullmatch(text):
        if int(text[:2]) < 24 and int(text[2:4] or 0) < 60 and int(text[4:6] or 0) <= 60:
            return None
        return f"no time of a day; allowed: {_TIME_FORMS}"
    colons = _COLONS.fullmatch(text)
    if colons:
        return f"allowed: {_TIME_FORMS}: write {int(colons[1]):02}{colons[2]}{colons[3] or ''}"
    if _ZERO_DROPPED.fullmatch(text) and _time_problem(attribute, f"0{text}") is None:
        return f"a leading zero seems dropped: was 0{text} meant? allowed: {_TIME_FORMS}"
    return f"allowed: {_TIME_FORMS}"


def _uid_problem(attribute: Attribute, text: str) -> str | None:
    if len(text) > attribute.max_length:
        return f"{len(text)} characters, at most {attribute.max_length} are allowed in a UID"
    if not _UID.fullmatch(text):
        return "no UID: digits in components joined by single dots are allowed"
    return None


def _integer_problem(attribute: Attribute, text: str) -> str | None:
    if len(text) > attribute.max_length:
        return f"{len(text)} characters, at most {attribute.max_length} are allowed (VR IS)"
    if not _INTEGER.fullmatch(text) or not -(2**31) <= int(text) < 2**31:
        return "allowed: a whole number from -2147483648 to 2147483647"
    return None


def _modality_problem(text: str) -> str | None:
    if text != text.upper():
        return f"modalities are upper case: write {text.upper()}"
    if not _CODE.fullmatch(text) and "\\" not in text:
        return "a modality has capital letters, digits, blank and underscore; one modality per row"
    return None


# The VRs of a strict form: no wildcards, and a number that a spreadsheet reformatted is always damage.
_FORMS: Final[Mapping[str, Callable[[Attribute, str], str | None]]] = {
    "DA": _date_problem,
    "IS": _integer_problem,
    "TM": _time_problem,
    "UI": _uid_problem,
}
