"""Numbers in private elements: days and seconds since 1970 in them move, and which may stay under --safe_private.

Source: the note of PS3.15 section E.3.10: numbers of known VR hold no identity, unless they are dates or identifiers.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from pacsifier.deidentify.engine import dates
from pacsifier.deidentify.engine.dictionary import private_groups, private_name
from pacsifier.deidentify.engine.identifiers import NEAR_DAYS, SHORTEST_IN_BYTES, SHORTEST_WORD, Identifiers
from pacsifier.deidentify.engine.replacing import GONE, Knowledge, Replacement, Value, is_number, padded

NUMBERS = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
"""The VRs of binary numbers, by their letters in `struct`."""
_TOO_SMALL = frozenset(("US", "SS"))  # for a day or for seconds since 1970
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_DAY_S = 86400
_FIRST_S, _LAST_S = 5 * 365 * _DAY_S, 1 << 32  # from 1975 on
_UNITS = (1, 1000, 1_000_000)
_SMALLEST_DATE = 100_000  # below, a number that is called a date counts something else
_ANY_DAYS = 200 * 366
_DATED = re.compile(r"(?i:\bdate|time ?of ?day|\bclock\b|\bepoch)|Date")
_LONGEST = 1 << 14  # bytes of numbers that are looked at; what is longer is no date
_STAMP = re.compile(r"(?i)time ?stamp")
_NUMBERED = re.compile(
    r"\bIDs?\b|I[Dd]$|(?i:ident|\buid|accession|serial n|patient n|exam n|study n|exam(ination)? num)"
)
_NO_DATE = re.compile(r"(?i)out of date|bytes per|in unit")

_Number = int | float


def number(value: Value, creator: str, knowledge: Knowledge) -> Replacement:
    """The numbers with the days in them moved or gone, as the profile says."""
    if value.vr in _TOO_SMALL or len(value.raw) > _LONGEST or not _is_plain_number(value):
        return Replacement(value.raw, "")
    return _number(value, _called(value, creator), knowledge)


def number_of_unknown_vr(raw: bytes, knowledge: Knowledge) -> bytes:
    """Bytes that are, as a whole, a day as a number in little endian, moved; others as they are."""
    for letter in {4: "L", 8: "Qd"}.get(len(raw), ""):
        (old,) = struct.unpack(f"<{letter}", raw)
        new = _moved(old, "", knowledge, NEAR_DAYS)
        if new != old:
            return struct.pack(f"<{letter}", new)
    return raw


def safe_number(value: Value, creator: str, knowledge: Knowledge) -> Replacement:
    """The same for a number that no table calls safe; gone where it may be a date, an identifier, or no number."""
    name = private_name(value.tag, creator)
    # Where the list does not know the block, nobody says what its numbers are.
    if (
        value.tag >> 16 not in private_groups(creator)
        or _NUMBERED.search(name)
        or not _is_plain_number(value)
    ):
        return GONE
    if called := _called(value, creator):
        return _number(value, called, knowledge) if _can_move(value, knowledge) else GONE
    if any(_is_identifier(each, knowledge.subject.known) for each in _values(value)):
        return GONE
    return _number(value, "", knowledge, near=_ANY_DAYS)


def is_safe(text: str, knowledge: Knowledge) -> bool:
    """Whether a number within a listed element stays: it is no day, and no identifier of the patient."""
    number = _read(text)
    return not _as_day(number) and not _is_identifier(number, knowledge.subject.known)


def _called(value: Value, creator: str) -> str:
    """Whether a dictionary calls a number a date or a time stamp; "" for neither."""
    name = private_name(value.tag, creator)
    if _NO_DATE.search(name):
        return ""
    return "date" if _DATED.search(name) else "time stamp" if _STAMP.search(name) else ""


def _is_plain_number(value: Value) -> bool:
    if value.vr in NUMBERS:
        return len(value.raw) % struct.calcsize("=" + NUMBERS[value.vr]) == 0
    return value.vr in ("DS", "IS") and is_number(value.raw)


def _can_move(value: Value, knowledge: Knowledge) -> bool:
    """Whether a number that is called a date is one that can be moved as the profile says."""
    return (
        value.vr not in _TOO_SMALL
        and (not knowledge.options.basic or knowledge.options.fuzz_dates)
        and all(_unit_of_seconds(each) or _as_day(each) for each in _values(value) if each)
    )


def _number(value: Value, called: str, knowledge: Knowledge, near: int = NEAR_DAYS) -> Replacement:
    olds = _values(value)
    news = [_moved(each, called, knowledge, near) for each in olds]
    if news == olds:
        return Replacement(_without_known(value, knowledge), "cleaned")
    return Replacement(_spelled(value, olds, news), "cleaned")


def _values(value: Value) -> list[_Number]:
    if value.vr in NUMBERS:
        letter = NUMBERS[value.vr]
        count = len(value.raw) // struct.calcsize("=" + letter)
        return list(struct.unpack_from(f"{'>' if value.big else '<'}{count}{letter}", value.raw))
    return [_read(each) for each in value.raw.decode("latin_1").strip(" \0").split("\\")]


def _read(text: str) -> _Number:
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return 0


def _moved(old: _Number, called: str, knowledge: Knowledge, near: int) -> _Number:
    """What is written instead of a number."""
    if text := _as_day(old):
        moved = knowledge.matcher.number_moved(text, near)
        return type(old)(_read(moved)) if moved else old
    if not called or abs(old) < _SMALLEST_DATE:
        return old
    unit = _unit_of_seconds(old)
    if unit:
        return _seconds_moved(old, unit, knowledge)
    # Time stamps also count from the start of a scan.
    stays = called == "time stamp" or not (knowledge.subject.date_shift_days or knowledge.options.basic)
    return old if stays else type(old)(0)


def _as_day(old: _Number) -> str:
    """A number that begins with a day, in digits; "" for other numbers."""
    if not 19000101 <= old < 10**21:
        return ""
    text = str(int(old))
    return text if dates.DAY_AS_NUMBER.fullmatch(text) and dates.parse(text[:8]) else ""


def _unit_of_seconds(old: _Number) -> int:
    """How many of its units are a second, where a number counts them since 1970; 0 where it does not."""
    return next((unit for unit in _UNITS if _FIRST_S * unit <= old < _LAST_S * unit), 0)


def _seconds_moved(old: _Number, unit: int, knowledge: Knowledge) -> _Number:
    subject, options = knowledge.subject, knowledge.options
    day = f"{_EPOCH + timedelta(seconds=int(old / unit)):%Y%m%d}"
    if day in subject.known.births or (options.basic and not options.fuzz_dates):
        return type(old)(0)
    moved = old + subject.date_shift_days * _DAY_S * unit
    return moved if _unit_of_seconds(moved) == unit else type(old)(0)


def _is_identifier(number: _Number, known: Identifiers) -> bool:
    if not math.isfinite(number) or number != int(number):
        return False
    text = str(abs(int(number)))
    shortest = SHORTEST_WORD if isinstance(number, int) else SHORTEST_IN_BYTES
    return len(text) >= shortest and (
        text in known.words or any(word.lstrip("0") == text for word in known.words)
    )


def _without_known(value: Value, knowledge: Knowledge) -> bytes:
    """A DS or IS without the numbers that are, as a whole, an identifier of the patient."""
    if value.vr not in ("DS", "IS"):
        return value.raw
    words = knowledge.subject.known.words
    texts = [each.strip() for each in value.raw.decode("latin_1").strip("\0").split("\\")]
    if not any(len(each) >= SHORTEST_IN_BYTES and each in words for each in texts):
        return value.raw
    return padded("\\".join("0" if each in words else each for each in texts))


def _spelled(value: Value, olds: Sequence[_Number], news: Sequence[_Number]) -> bytes:
    if value.vr in NUMBERS:
        return struct.pack(f"{'>' if value.big else '<'}{len(news)}{NUMBERS[value.vr]}", *news)
    texts = [each.strip() for each in value.raw.decode("latin_1").strip("\0").split("\\")]
    return padded(
        "\\".join(text if old == new else str(new) for text, old, new in zip(texts, olds, news, strict=True))
    )
