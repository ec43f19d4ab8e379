"""Shifts and reads dates and ages as DICOM spells them (PS3.5 section 6.2)."""

from __future__ import annotations

import re
from datetime import date, timedelta

_DA = re.compile(r"(\d{4})([.-]?)(\d{2})?(?:\2(\d{2}))?")
_DT = re.compile(r"(\d{4}(?:\d{2}){0,2})(\d{0,6}(?:\.\d{1,6})?)([+-]\d{4})?")
_AGE = re.compile(r"(\d{3})([DWMY])")
_TM = re.compile(rb"[0-9.:\- \0\\]*")
OLDEST_AGE_YEARS = 89
YOUNGEST_AGE_YEARS = 2


def shift_date(text: str, days: int) -> str | None:
    """Moves a DA (partial or full, with or without dots, or a range) by `days`; None if it is not a date.

    A partial date moves with the middle of its month or year, and stays partial.
    """
    if "-" in text and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        ends = [end and shift_date(end, days) for end in text.split("-")]
        return (
            "-".join(end or "" for end in ends) if len(ends) == 2 and None not in ends and any(ends) else None
        )
    match = _DA.fullmatch(text)
    if not match:
        return None
    year, separator, month, day = match.groups()
    try:
        moved = date(int(year), int(month or 7), int(day or (15 if month else 2))) + timedelta(days)
    except (ValueError, OverflowError):
        return None
    parts = [f"{moved.year:04d}", f"{moved.month:02d}", f"{moved.day:02d}"]
    return separator.join(parts[: 1 + bool(month) + bool(day)])


def shift_datetime(text: str, days: int) -> str | None:
    """Moves a DT (or a range) by `days`; time of day, fraction and zone stay. None if it is not a DT."""
    match = _DT.fullmatch(text)
    if match:
        day, time, zone = match.groups()
        if time and len(day) < 8:
            return None
        moved = shift_date(day, days)
        return None if moved is None else moved + time + (zone or "")
    ends = text.split("-")
    if len(ends) != 2 or not any(ends):
        return None
    moved_ends = [end and shift_datetime(end, days) for end in ends]
    return None if None in moved_ends else "-".join(end or "" for end in moved_ends)


def valid_time(raw: bytes) -> bool:
    """Whether a TM value holds only digits and the punctuation of times and ranges."""
    return _TM.fullmatch(raw) is not None


def capped_age(text: str) -> str | None:
    """Returns an AS with ages above 89 years as 090Y; None if it is not an age."""
    match = _AGE.fullmatch(text)
    if not match:
        return None
    return "090Y" if match[2] == "Y" and int(match[1]) > OLDEST_AGE_YEARS else text


def age_in_years(text: str) -> float | None:
    """An AS in years; None if it is not an age."""
    match = _AGE.fullmatch(text.strip())
    return int(match[1]) / {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}[match[2]] if match else None


def parse(text: str) -> date | None:
    """The day of a full DA; None for anything else."""
    match = _DA.fullmatch(text.strip())
    if not match or not match[4]:
        return None
    try:
        return date(int(match[1]), int(match[3]), int(match[4]))
    except ValueError:
        return None


def years_between(birth: date, day: date) -> int:
    """Completed years of life on a day."""
    return day.year - birth.year - ((day.month, day.day) < (birth.month, birth.day))


_MONTHS = tuple(
    names.split()
    for names in (
        "jan january januar janvier gennaio enero",
        "feb february februar fevrier febbraio febrero",
        "mar march marz maerz mrz mars marzo",
        "apr april avril aprile abril",
        "may mai maggio mayo",
        "jun june juni juin giugno junio",
        "jul july juli juillet luglio julio",
        "aug august aout agosto",
        "sep sept september septembre settembre septiembre",
        "oct october okt oktober octobre ottobre octubre",
        "nov november novembre noviembre",
        "dec december dez dezember decembre dicembre diciembre",
    )
)


def in_words(text: str) -> set[str]:
    """How people write the day of a full DA without zeros or with the month's name; folded."""
    day = parse(text)
    if day is None:
        return set()
    dom, month, year = day.day, day.month, day.year
    marks = {f"{dom}.{month}.{year}", f"{month}/{dom}/{year}", f"{year}/{month}/{dom}"}
    for name in _MONTHS[month - 1]:
        marks |= {f"{each} {name} {year}" for each in (dom, f"{dom:02d}")}
        marks |= {f"{name} {each} {year}" for each in (dom, f"{dom:02d}")}
    return marks


def spellings(text: str) -> set[str]:
    """How people write the day of a full DA."""
    day = parse(text)
    if day is None:
        return {text} if len(text) >= 8 else set()
    year, month, dom = f"{day.year:04d}", f"{day.month:02d}", f"{day.day:02d}"
    marks = [f"{dom}{sign}{month}{sign}{year}" for sign in ".-/"]
    marks += [f"{year}{sign}{month}{sign}{dom}" for sign in ".-/"]
    return {f"{year}{month}{dom}", f"{dom}{month}{year}", *marks, f"{month}/{dom}/{year}"}
