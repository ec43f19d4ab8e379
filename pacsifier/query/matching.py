"""Matching again on this side: does what the PACS found answer the row?

PACS ignore keys, match them in their own way, or leave them out of the answer. A row is rejected only where
that is certain; what matched by tolerance only is named, so that the user can look.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Final

from pacsifier.query.attributes import ATTRIBUTES
from pacsifier.query.columns import Query
from pacsifier.query.names import family_name, is_structured
from pacsifier.query.spreadsheet import PLAIN

PADDING: Final = " \0"
_FOUND_DATE: Final = re.compile(r"([0-9]{4})([.\-/]?)([0-9]{2})\2([0-9]{2})")
_FOUND_TIME: Final = re.compile(r"[0-9]{2}(?:[0-9]{2}(?:[0-9]{2}(?:\.[0-9]{1,6})?)?)?")
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,12}")


class Match(Enum):
    """Three results: NO is said only where it is certain."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class _Cell(Enum):
    """The result of one column."""

    EXACT = "exact"
    LENIENT = "lenient"
    UNKNOWN = "unknown"
    NO = "no"


@dataclass(frozen=True)
class Verdict:
    """The result of one row against one answer, and the columns that led to it.

    `lenient` are the columns that match by tolerance only (case, accents, padding, precision ...).
    """

    result: Match
    rejected_by: tuple[str, ...]
    unknown: tuple[str, ...]
    lenient: tuple[str, ...]


def matches(query: Query, found: Mapping[str, str | None], keywords: Collection[str]) -> Verdict:
    """Whether an answer satisfies the cells of a query among `keywords`.

    A keyword that `found` lacks or holds as None was not returned by the PACS; "" was returned empty. Both
    leave the column unknown; one column that certainly differs rejects the answer all the same.
    """
    results = {
        column: _compare(column, asked, found.get(column) or "")
        for column, asked in query.cells.items()
        if column in keywords
    }

    def columns(result: _Cell) -> tuple[str, ...]:
        return tuple(column for column, cell in results.items() if cell is result)

    rejected_by, unknown, lenient = columns(_Cell.NO), columns(_Cell.UNKNOWN), columns(_Cell.LENIENT)
    verdict = Match.NO if rejected_by else Match.UNKNOWN if unknown else Match.YES
    return Verdict(verdict, rejected_by, unknown, lenient)


def _compare(column: str, asked: str, found: str) -> _Cell:
    """One cell against one value as the PACS sent it, padding included."""
    if not found.strip(PADDING):
        return _Cell.UNKNOWN
    if column == "ImageType":
        return _compare_image_type(asked, found)
    compare = {
        "DA": _compare_date,
        "IS": _compare_integer,
        "PN": _compare_name,
        "TM": _compare_time,
        "UI": _compare_uid,
    }.get(ATTRIBUTES[column].vr, _compare_text)
    return compare(asked, found)


def _compare_uid(asked: str, found: str) -> _Cell:
    return _exact_if(asked == found.strip(PADDING))


def _exact_if(condition: bool) -> _Cell:
    return _Cell.EXACT if condition else _Cell.NO


def _compare_date(asked: str, found: str) -> _Cell:
    """Digits against digits, so that `2015.05.12` of old equipment counts; what is no date is unknown."""
    match = _FOUND_DATE.fullmatch(found.strip(PADDING))
    if not match or not _exists(match[1], match[3], match[4]):
        return _Cell.UNKNOWN
    day = match[1] + match[3] + match[4]
    start, hyphen, end = asked.partition("-")
    if not hyphen:
        return _exact_if(day == asked)
    return _exact_if((not start or start <= day) and (not end or day <= end))


def _exists(year: str, month: str, day: str) -> bool:
    try:
        date(int(year), int(month), int(day))
    except ValueError:
        return False
    return True


def _compare_time(asked: str, found: str) -> _Cell:
    """At the shorter precision; lenient where the answer is the shorter one."""
    found = found.strip(PADDING).replace(":", "")
    if not _FOUND_TIME.fullmatch(found):
        return _Cell.UNKNOWN
    asked_digits, found_digits = asked.replace(".", ""), found.replace(".", "")
    shorter = min(len(asked_digits), len(found_digits))
    if asked_digits[:shorter] != found_digits[:shorter]:
        return _Cell.NO
    return _Cell.EXACT if shorter == len(asked_digits) else _Cell.LENIENT


def _compare_integer(asked: str, found: str) -> _Cell:
    """As numbers: `3`, `03` and `+3` are one series number."""
    found = found.strip(PADDING)
    if not _INTEGER.fullmatch(found):
        return _Cell.UNKNOWN
    return _exact_if(int(asked) == int(found))


def _compare_text(asked: str, found: str) -> _Cell:
    """With wildcards; lenient where only folded text, or one of several values, matches."""
    if _wildcard_match(asked, found):
        return _Cell.EXACT
    pattern = fold(asked)
    values = [fold(found), *(fold(value) for value in found.split("\\"))]
    return _Cell.LENIENT if any(_wildcard_match(pattern, value) for value in values) else _Cell.NO


def _compare_image_type(asked: str, found: str) -> _Cell:
    """Every asked component stands somewhere in the found value, or the pattern matches the whole of it."""
    components = [component.strip() for component in asked.split("\\") if component.strip()]

    def found_in(folded: bool) -> bool:
        whole = fold(found) if folded else found
        pattern = fold(asked) if folded else asked
        values = [value.strip() for value in whole.split("\\")]
        asked_values = [fold(component) if folded else component for component in components]
        return _wildcard_match(pattern, whole) or all(
            any(_wildcard_match(component, value) for value in values) for component in asked_values
        )

    if found_in(folded=False):
        return _Cell.EXACT
    return _Cell.LENIENT if found_in(folded=True) else _Cell.NO


def _compare_name(asked: str, found: str) -> _Cell:
    """Component groups against each other; one that matches is enough, lenient where another differs."""
    groups = [group.strip(PADDING) for group in found.split("=")]
    if not any(group.strip("^ ") for group in groups):
        return _Cell.UNKNOWN
    if not is_structured(asked):
        return _compare_family(family_name(asked), groups)
    if _wildcard_match(asked, found):
        return _Cell.EXACT
    asked_groups = [group for group in asked.split("=") if group.strip("^ ")]
    if len(asked_groups) == 1 and any(_wildcard_match(asked_groups[0], group) for group in groups):
        return _Cell.EXACT
    pairs = ((fold(pattern), fold(group)) for pattern in asked_groups for group in groups if group)
    return _Cell.LENIENT if any(_group_matches(pattern, group) for pattern, group in pairs) else _Cell.NO


def _group_matches(pattern: str, group: str) -> bool:
    """A folded component group against its pattern: trailing `^` do not count, and empty components may be
    left out; a pattern without `^` may ask for the family name alone."""
    bare = group.rstrip("^ ")
    padded = bare + "^" * (pattern.count("^") - bare.count("^"))
    values = [bare, padded]
    if "^" not in pattern:
        values.append(bare.partition("^")[0].strip())
    return any(_wildcard_match(text, value) for text in (pattern, pattern.rstrip("^ ")) for value in values)


def _compare_family(family: str, groups: list[str]) -> _Cell:
    if any(_has_family(family, group) for group in groups):
        return _Cell.EXACT
    folded = fold(family)
    return _Cell.LENIENT if any(_has_family(folded, fold(group)) for group in groups) else _Cell.NO


def _has_family(family: str, group: str) -> bool:
    """Whether a component group's family name ends in `family`; a group without `^` may have it as a word."""
    family_component, caret, _ = group.partition("^")
    words = [] if caret else family_component.replace(",", " ").split()
    return family_component.strip().endswith(family) or family in words


def fold(text: str) -> str:
    """The text without what systems change in passing: case, accents and their composition, dashes, quotes, padding."""
    decomposed = unicodedata.normalize("NFD", text.strip(PADDING).translate(PLAIN))
    bare = "".join(character for character in decomposed if not unicodedata.combining(character))
    return unicodedata.normalize("NFC", bare.casefold())


def _wildcard_match(pattern: str, text: str) -> bool:
    """`*` for any run of characters, `?` for one (PS3.4 C.2.2.2.4); everything else is literal.

    Piece by piece between the `*`, each at its first place: the time stays linear, whatever the pattern.
    """
    first, *rest = (re.escape(piece).replace(r"\?", ".") for piece in pattern.split("*"))
    if not rest:
        return re.fullmatch(first, text, re.DOTALL) is not None
    start = re.match(first, text, re.DOTALL)
    if not start:
        return False
    position = start.end()
    for piece in rest[:-1]:
        place = re.compile(piece, re.DOTALL).search(text, position)
        if not place:
            return False
        position = place.end()
    return re.compile(f"(?:{rest[-1]})\\Z", re.DOTALL).search(text, position) is not None
