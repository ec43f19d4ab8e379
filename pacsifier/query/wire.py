"""What goes over the wire: keys as PACS understand them, wider than the row where PACS differ.

What is asked too widely here is matched again by `pacsifier.query.matching`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from datetime import date, timedelta
from typing import Final

from pacsifier.query.attributes import ATTRIBUTES
from pacsifier.query.columns import Query
from pacsifier.query.names import family_name, is_structured

_FIRST_DAY: Final = date(1900, 1, 1)
_LATEST_TIME: Final = "235959.999999"
_UID: Final = re.compile(r"[0-9]+(?:\.[0-9]+)*")
# Printable ASCII without blank, wildcards and the backslash that would make two values of one.
_SINGLE_KEY: Final = re.compile(r"[!-)+->@-\[\]-~]{1,128}")


def study_keys(query: Query) -> tuple[Mapping[str, str], ...]:
    """The matching keys of each C-FIND at STUDY level that together find what the row asks for.

    A PatientName without `^ * ?` needs two, the family name in upper case and as typed: PACS differ in
    whether case counts. StudyTime becomes a range that covers its fractions. Everything else goes as typed.
    """
    keys = {column: text for column, text in query.cells.items() if ATTRIBUTES[column].level == "STUDY"}
    if "StudyTime" in keys:
        keys["StudyTime"] = _time_range(keys["StudyTime"])
    name = keys.get("PatientName")
    if name is None or is_structured(name):
        return (keys,)
    return tuple(keys | {"PatientName": pattern} for pattern in _family_patterns(family_name(name)))


def _family_patterns(family: str) -> tuple[str, ...]:
    """`*KENOBI*` and `*Kenobi*`; cut so that the wildcards fit into the component group."""
    longest = ATTRIBUTES["PatientName"].max_length - 2
    return tuple(dict.fromkeys(f"*{name[:longest]}*" for name in (family.upper(), family)))


def _time_range(time: str) -> str:
    """`140500-140500.999999` for `140500`: as typed it would miss every time stored with a fraction."""
    first = time + "000000"[len(time) :]
    last = time + _LATEST_TIME[len(time) :]
    return f"{first}-{last}"


def is_uid(text: str) -> bool:
    """Whether a text is a UID: digits in components joined by single dots, at most 64 characters (PS3.5 9.1)."""
    return len(text) <= ATTRIBUTES["SOPInstanceUID"].max_length and _UID.fullmatch(text) is not None


def is_single_key(uid: str) -> bool:
    """Whether a UID that a PACS told can be asked for and means this one object, though it may be malformed."""
    return _SINGLE_KEY.fullmatch(uid) is not None


def ascii_wildcards(text: str) -> str:
    """The text with every run of non-ASCII characters as `*`, for a PACS that does not match accents.

    Decomposed accents are composed first: a bare `e` would not match a stored `é`. Wildcards beside the run
    become one with it, so that a text without any ASCII becomes `*`.
    """
    return re.sub(r"\*?(?:[^\x00-\x7f]+\*?)+", "*", unicodedata.normalize("NFC", text))


def halves(study_date: str | None, today: str) -> tuple[str, str] | None:
    """Two ranges that cover exactly the days of a StudyDate key, without overlap; None when it is one day.

    `None` asks for all days; open ends stay open and count as 1900-01-01 and `today` (YYYYMMDD). Studies
    without any StudyDate are in no range: who splits `None` loses them.
    """
    start, hyphen, end = ("", "-", "") if study_date is None else study_date.partition("-")
    first = _day(start) if start else _FIRST_DAY
    last = _day(end or today)
    if not hyphen or last <= first:
        return None
    middle = first + (last - first) // 2
    return f"{start}-{_text(middle)}", f"{_text(middle + timedelta(days=1))}-{end}"


def around(study_date: str | None, days: Collection[str]) -> tuple[str, ...]:
    """Ranges of a StudyDate key, both sides of the middle of some `days` in it; beside the day where it is only one.

    None where the key is of one day, or no day is a date. Whoever holds answers of these days, and only a part of all,
    will be told of others in one of the ranges.
    """
    start, hyphen, end = ("", "-", "") if study_date is None else study_date.partition("-")
    known = sorted(filter(_is_day, set(days)))
    if not hyphen or not known:
        return ()
    lower = known[(len(known) - 1) // 2]
    upper = lower
    if len(known) == 1:
        lower = _shifted(lower, -1)
    first = f"{start}-{lower}" if start <= lower else ""
    second = f"{_shifted(upper, 1)}-{end}" if not end or upper < end else ""
    return tuple(filter(None, (first, second)))


def _is_day(text: str) -> bool:
    """Whether what a PACS tells is a date that has neighbours."""
    try:
        return len(text) == 8 and text.isascii() and text.isdigit() and 1 < _day(text).year < 9999
    except ValueError:
        return False


def _shifted(text: str, days: int) -> str:
    return _text(_day(text) + timedelta(days=days))


def _day(text: str) -> date:
    return date(int(text[:4]), int(text[4:6]), int(text[6:8]))


def _text(day: date) -> str:
    return f"{day.year:04}{day.month:02}{day.day:02}"
