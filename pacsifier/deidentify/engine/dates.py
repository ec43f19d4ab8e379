"""Shifts and reads dates and ages as DICOM spells them (PS3.5 section 6.2)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from datetime import date, timedelta
from functools import lru_cache
from math import ceil
from typing import NamedTuple

_DA = re.compile(r"(\d{4})([.-]?)(\d{2})?(?:\2(\d{2}))?")
_DT = re.compile(r"(\d{4}(?:\d{2}){0,2})(\d{0,6}(?:\.\d{1,6})?)([+-]\d{4})?")
_AGE = re.compile(r"(\d{3})([DWMY])")
_TM = re.compile(rb"[0-9.:\- \0\\]*")
# Digits that are more than a time of day, and dates with separators.
_MORE_THAN_TIME = re.compile(
    rb"(?<![0-9.])[0-9]{7}|[0-9]{4}[-.][0-9]{1,2}[-.][0-9]|[0-9]{1,2}[-.][0-9]{1,2}[-.][0-9]{4}"
)
GLUED_TIME = r"(?:[01]\d|2[0-3])(?:[0-5]\d(?:(?:[0-5]\d|60)\d*)?)?"
"""A time of day that follows a date without a sign between them, with any fraction of a second."""
_DAYS_OF_MONTH = 365.25 / 12
_DAYS_OF_UNIT = {
    **dict.fromkeys(("a", "a_j", "a_t", "a_g", "yr", "yrs", "y", "year", "years"), 365.25),
    **dict.fromkeys(("mo", "mo_j", "mo_g", "mo_s", "month", "months"), _DAYS_OF_MONTH),
    **dict.fromkeys(("wk", "w", "week", "weeks"), 7.0),
    **dict.fromkeys(("d", "day", "days"), 1.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 1 / 24),
    "min": 1 / 1440,
    "s": 1 / 86400,
}
_OLDEST_IN_DAYS = 1e11
IN_TEXT = re.compile(
    r"(?<![\d.])((?:19|20)\d\d)([-./]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])"
    + rf"(?={GLUED_TIME}(?!\d)|(?!\d))"
)
"""A day as machines write it in text: year, sign, month, sign, day."""
DAY_AS_NUMBER = re.compile(rf"(?:19|20)\d{{6}}(?:{GLUED_TIME})?(?:\.\d*)?")
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
    """Whether a TM value holds only digits and the punctuation of times and ranges, and no date."""
    return _TM.fullmatch(raw) is not None and _MORE_THAN_TIME.search(raw) is None


def capped_age(text: str) -> str | None:
    """An AS that says no more than what stays of the birth date; None if it is not an age.

    Whole months under 2 years, else whole years, up to 090Y.
    """
    match = _AGE.fullmatch(text)
    if not match:
        return None
    number, unit = int(match[1]), match[2]
    if unit == "Y":
        return "090Y" if number > OLDEST_AGE_YEARS else text
    months = number if unit == "M" else int(number * (7 if unit == "W" else 1) / _DAYS_OF_MONTH)
    if months < 12 * YOUNGEST_AGE_YEARS:
        return f"{months:03d}M"
    return f"{min(months // 12, OLDEST_AGE_YEARS + 1):03d}Y"


def capped_number(text: str, unit: str) -> str | None:
    """An age as a number of this unit (UCUM) that says no more than `capped_age` does; None if it is no age."""
    days_each = _DAYS_OF_UNIT.get(unit.strip("{}").lower())
    try:
        number = float(text)
    except ValueError:
        return None
    if days_each is None or not 0 <= number < _OLDEST_IN_DAYS:
        return None
    months = int(number * days_each / _DAYS_OF_MONTH + 1e-9)
    if months >= 12 * YOUNGEST_AGE_YEARS:
        months = 12 * min(months // 12, OLDEST_AGE_YEARS + 1)
    # Rounded up, so that it is read as the same month again.
    capped = ceil(months * _DAYS_OF_MONTH / days_each * 100 - 1e-6) / 100
    return text if capped == number else f"{capped:.2f}".rstrip("0").rstrip(".")


def age_in_years(text: str) -> float | None:
    """An AS in years; None if it is not an age."""
    match = _AGE.fullmatch(text.strip())
    return int(match[1]) / {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}[match[2]] if match else None


def is_full_date(text: str) -> bool:
    """Whether a text is one DA of today's form, a day that exists."""
    return len(text) == 8 and text.isdigit() and parse(text) is not None


@lru_cache(maxsize=4096)
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


_YEAR_FIRST = re.compile(r"(\d{4})([. /-]?)(\d{1,2})\2(\d{1,2})(?!\d)")
_GLUED = re.compile(rf"(\d{{4}})(\d{{2}})(\d{{2}})(?={GLUED_TIME}(?!\d))")


@lru_cache(maxsize=4096)
def readings(text: str) -> frozenset[str]:
    """The days that a birth date in whatever form may mean, as DA: of 03/02/1970 there are two."""
    text = text.strip(" \0").lower()
    found = set()
    if match := _GLUED.match(text):
        found.add((match[1], match[2], match[3]))
    elif match := _YEAR_FIRST.match(text):
        found.add((match[1], match[3], match[4]))
    spelled = {f"{year}{int(month):02d}{int(day):02d}" for year, month, day in found}
    spelled |= {day for each in days_in(text) for day in each.readings}
    if match := _SHORT_YEAR.match(text):
        spelled |= {century + day for day in _short_readings(match) for century in ("19", "20")}
    return frozenset(each for each in spelled if parse(each))


def with_glued_time(day: str) -> str:
    """A pattern for a day of digits alone that may have the time of day behind it."""
    return rf"(?<!\d){day}(?={GLUED_TIME}(?!\d)|(?!\d))"


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
_ACCENTED = {"février": 2, "märz": 3, "août": 8, "décembre": 12}
_NUMBER_OF_MONTH = {
    **{name: at for at, names in enumerate(_MONTHS, 1) for name in names},
    # As UTF-8 reads in bytes that are taken for Latin-1.
    **{
        form.encode().decode("latin_1").replace("Ã", "a").lower(): at
        for name, at in _ACCENTED.items()
        for form in (name, name.upper())
    },
}
_MONTH = "(" + "|".join(sorted(_NUMBER_OF_MONTH, key=len, reverse=True)) + ")"
_YEAR, _DAY_OF_MONTH = r"((?:19|20)\d\d)", r"(\d{1,2})"
_SIGNS, _GAP = r"([\W_]{1,3})", r"[\W_]{0,3}"
_NTH = "(?:st|nd|rd|th|er|o|ter|ten)?"
_OF = rf"(?:{_GAP}(?:of|the|de|del|di|d))?{_GAP}"
_CLOCK = r"(?:[\W_]{1,3}\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?[a-z]{2,5}){0,2})?"
_NAMED = tuple(
    (re.compile(pattern), order)
    for pattern, order in (
        (rf"(?<!\d){_DAY_OF_MONTH}{_NTH}{_OF}{_MONTH}{_CLOCK}{_OF}{_YEAR}(?!\d)", "dmy"),
        (rf"(?<![^\W\d_]){_MONTH}{_GAP}{_DAY_OF_MONTH}{_NTH}{_CLOCK}{_OF}{_YEAR}(?!\d)", "mdy"),
        (rf"(?<!\d){_YEAR}{_OF}{_MONTH}{_OF}{_DAY_OF_MONTH}{_NTH}(?!\d)", "ymd"),
    )
)
_DAY_FIRST = re.compile(rf"(?<!\d){_DAY_OF_MONTH}{_SIGNS}{_DAY_OF_MONTH}{_SIGNS}{_YEAR}(?!\d)")
_SPACED = re.compile(rf"(?<!\d){_YEAR}{_SIGNS}{_DAY_OF_MONTH}{_SIGNS}{_DAY_OF_MONTH}(?!\d)")
# With the day that stays, the weekday tells by how many days it moved.
_WEEKDAY = re.compile(
    r"(?<![^\W\d_])(?:"
    "mon|tue|tues|wed|thu|thur|thurs|fri|sat|sun|monday|tuesday|wednesday|thursday|friday|saturday|sunday|"
    "mo|di|mi|do|fr|sa|so|montag|dienstag|mittwoch|donnerstag|freitag|samstag|sonnabend|sonntag|"
    "lun|mar|mer|jeu|ven|sam|dim|lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche|"
    "gio|sab|dom|lunedi|martedi|mercoledi|giovedi|venerdi|sabato|domenica|"
    "mie|jue|vie|lunes|martes|miercoles|jueves|viernes|sabado|domingo"
    r")[\W_]{1,3}\Z"
)
_LONGEST_WEEKDAY = 13
_IN_A_NUMBER = re.compile(r"\d\.\Z|\.\d")
_SHORT_YEAR = re.compile(r"(?<![^\W_])(?<!\d[.,/-])(\d{1,2})([./-])(\d{1,2})\2(\d{1,2})(?![^\W_]|[.,/-]\d)")


class InWords(NamedTuple):
    """A day in a text: where it stands, the days (DA) that it may mean, and whether it can be nothing but a day."""

    start: int
    stop: int
    readings: frozenset[str]
    certain: bool


def days_in(text: str) -> Iterator[InWords]:
    """Days of a folded text with a year of four digits, in any order, with the month's name or with signs between.

    Days of eight digits are not among them; a weekday before a day is part of it.
    """
    for day in _days_in(text):
        weekday = _WEEKDAY.search(text, max(day.start - _LONGEST_WEEKDAY, 0), day.start)
        yield day._replace(start=weekday.start()) if weekday else day


def _days_in(text: str) -> Iterator[InWords]:
    for pattern, order in _NAMED:
        for match in pattern.finditer(text):
            parts = dict(zip(order, match.groups(), strict=True))
            day = _spelled(parts["y"], str(_NUMBER_OF_MONTH[parts["m"]]), parts["d"])
            if parse(day):
                yield InWords(*match.span(), frozenset((day,)), certain=True)
    for match in _DAY_FIRST.finditer(text):
        one, first, other, second, year = match.groups()
        yield from _numeric(match, {_spelled(year, other, one), _spelled(year, one, other)}, first, second)
    for match in _SPACED.finditer(text):
        year, first, month, second, day = match.groups()
        yield from _numeric(match, {_spelled(year, month, day)}, first, second)


def _numeric(match: re.Match[str], days: set[str], first: str, second: str) -> Iterator[InWords]:
    start, stop = match.span()
    found = frozenset(day for day in days if parse(day))
    if found:
        # Digits between points or blanks may be a version, or numbers in a row.
        around = match.string[max(start - 2, 0) : start], match.string[stop : stop + 2]
        alone = not (_IN_A_NUMBER.search(around[0]) or _IN_A_NUMBER.match(around[1]))
        yield InWords(start, stop, found, certain=alone and first == second and first in "-./")


def short_days_in(text: str, days: Collection[str]) -> Iterator[tuple[int, int]]:
    """Where some days (DA) stand with a year of two digits and signs between, in any order."""
    for match in _SHORT_YEAR.finditer(text):
        if not _short_readings(match).isdisjoint(day[2:] for day in days):
            yield match.span()


def _short_readings(match: re.Match[str]) -> set[str]:
    one, _, two, three = match.groups()
    orders = ((three, two, one), (three, one, two), (one, two, three))
    return {f"{int(year):02d}{int(month):02d}{int(day):02d}" for year, month, day in orders if len(year) == 2}


def _spelled(year: str, month: str, day: str) -> str:
    return f"{year}{int(month):02d}{int(day):02d}"


def glued(text: str) -> set[str]:
    """How the day of a full DA is written in digits alone."""
    day = parse(text)
    if day is None:
        return {text} if len(text) >= 8 else set()
    year, month, dom = f"{day.year:04d}", f"{day.month:02d}", f"{day.day:02d}"
    return {year + month + dom, dom + month + year, month + dom + year}
