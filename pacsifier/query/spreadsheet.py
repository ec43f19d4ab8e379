"""What spreadsheets, and texts pasted into them, make of a cell: what is understood, and what is damage.

A text may be written so that a spreadsheet leaves it alone: `="0012345"`, or with an apostrophe before it. Such a text
is meant as it stands, and is the way out where a value only looks damaged.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final, NamedTuple

from pacsifier.query.csvtext import BLANKS

_DOUBLE: Final = '"\u201c\u201d\u201e\u201f\u00ab\u00bb\uff02'
_SINGLE: Final = "'\u2018\u2019\u201a\u201b\u2032\u00b4`\uff07"
# Those that a spreadsheet takes for "this is text", or makes of it.
_APOSTROPHES: Final = "'\u2018\u2019\u201b\uff07"
# Quotes in a text are doubled: `="00"&"123"` is a formula.
_LITERAL: Final = re.compile(
    rf"=\s*([{_DOUBLE}]+)((?:[^{_DOUBLE}]|[{_DOUBLE}]{{2}})*?)[{_DOUBLE}]+", re.DOTALL
)
_DIGITS: Final = re.compile(rf"[{_SINGLE}]([0-9]+)[{_SINGLE}]?")
# A spreadsheet saves the result of a function, so that its call is a text that somebody wrote.
_CALL: Final = re.compile(r"=[+-]?[A-Z][A-Z0-9.]*\(.*\)", re.DOTALL)
_REFERENCE: Final = re.compile(r"=[+-]?(?:[^!\s]+!)?\$?[A-Z]{1,3}\$?[0-9]+", re.DOTALL)
_QUOTED: Final = re.compile(rf"[{_DOUBLE}](.*)[{_DOUBLE}]", re.DOTALL)

# `#REF!`, `#N/A`, and what they are called in other languages (`#NOM?`, `#WERT!`, `#\u00a1REF!`, `#N/D`, `#NV`);
# `####` of a narrow column; `Err:502` of LibreOffice.
_ERROR_VALUE: Final = re.compile(
    r"#(?:[\u00a1\u00bf]?[^\W\d_a-z][^\Wa-z]*(?:/[^\Wa-z]+)?[!?]|[^\W\d_a-z]/[^\W\d_a-z]!?|NV|YOK|HI\u00c1NYZIK|"
    r"GETTING_DATA|##+)|Err:[0-9]{3}"
)
_LOGICAL: Final = re.compile(
    "TRUE|FALSE|WAHR|FALSCH|VRAI|FAUX|VERO|FALSO|VERDADER[AO]|VERDADEIR[AO]|WAAR|ONWAAR"
)
_SCIENTIFIC: Final = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+[eE][+-]?[0-9]+|[eE]\+[0-9]{2,})")
_FLOAT: Final = re.compile(r"([0-9]+)[.,]0")
_FLOAT_OF_TWO: Final = re.compile(r"([0-9]+)[.,]00")
# One group is enough for a separator that nothing else has; a point or blank may belong to the value.
_THOUSANDS: Final = re.compile(
    rf"[+-]?[0-9]{{1,3}}(?:(?:([,{_SINGLE}\u00a0\u2009\u202f])[0-9]{{3}}(?:\1[0-9]{{3}})*)|"
    r"(?:([. ])[0-9]{3}(?:\2[0-9]{3})+))(?P<fraction>[.,]0{1,2})?"
)
DAY_FIRST: Final = re.compile(r"([0-9]{1,2})([./-])([0-9]{1,2})\2([0-9]{4})(?: 0?0:00(?::00)?)?")
YEAR_FIRST: Final = re.compile(r"([0-9]{4})([./-])([0-9]{1,2})\2([0-9]{1,2})(?:[ T]0?0:00(?::00)?)?")
_MONTHS: Final = re.compile(
    "jan|ene|gen|feb|fev|mar|mrz|mrt|apr|avr|abr|may|mai|mag|mei|jun|jui|giu|jul|lug|aug|aou|ago|sep|set|oct|okt|ott|out|"
    "nov|dec|dez|dic"
)
# Capitals only are no month of a spreadsheet: MAR-12 is an identifier.
_MONTH: Final = re.compile(
    r"[0-9]{1,4}[-./ ]{1,2}([^\W\d_][^\W\d_A-Z]{2,4})\.?(?:[-./ ][0-9]{2,4})?|"
    r"([^\W\d_][^\W\d_A-Z]{2,4})\.?[-./ ][0-9]{1,4}"
)
_DAY_NUMBER: Final = re.compile(r"[2-5][0-9]{4}(?:[.,][0-9]+)?")
_DAY_ZERO: Final = date(1899, 12, 30)
# No value is longer; what is refused for its length needs no pattern to be tried on it.
_LONGEST: Final = 1000
_JOINERS: Final = "\u200c\u200d"

_AS_TEXT: Final = 'format the column as text and enter the value again, or write ="..." around it'
MADE_DATE: Final = f"a date that the spreadsheet may have made of it: {_AS_TEXT}"
_DASHES: Final = dict.fromkeys([*range(0x2010, 0x2016), 0x2212, 0xFE58, 0xFE63, 0xFF0D], "-")
PLAIN: Final = str.maketrans(
    {
        **_DASHES,
        # A grave accent stands on keyboards.
        **dict.fromkeys(map(ord, _SINGLE.replace("`", "")), "'"),
        **dict.fromkeys(map(ord, _DOUBLE), '"'),
        **dict.fromkeys([0xA0, 0x2007, 0x2009, 0x202F], " "),
    }
)
"""What word processors and web pages put in the place of the characters of a keyboard."""


class Typed(NamedTuple):
    """A cell as its author meant it, and what is wrong with it; "" : nothing. A tuple, as `Cell` is."""

    text: str
    problem: str = ""


def as_typed(cell: str, *, free: bool = False, number: bool = True) -> Typed:
    """What a cell says, without the blanks around it and without the signs that save a text from a spreadsheet.

    `free`: a column of free text, in which a number is no damage, and an apostrophe belongs to the text (`'t Hart^Jan`)
    unless digits only follow; `number`: an identifier, whose digits all count.
    """
    text = cell.strip(BLANKS)
    if (
        not text
        or len(text) > _LONGEST
        or (text.isascii() and text.isalnum() and (free or not text.isalpha()))
    ):
        return Typed(text)
    saved = _saved(text, free=free)
    if saved == "":
        return Typed(text, "holds an empty text (quotes only): empty the cell, or write the value")
    meant = saved or text
    if meant[0] in "#E" and _ERROR_VALUE.fullmatch(meant):
        return Typed(meant, "an error value of the spreadsheet: restore the cell")
    return Typed(meant, "" if saved else _damage(text, free=free, number=number) or "")


def _saved(text: str, *, free: bool) -> str | None:
    """The text that is written so that no spreadsheet would change it; None: it is not written so."""
    if text[0] == "=" and (found := _LITERAL.fullmatch(text)):
        return found[2].strip(BLANKS)
    if text[0] in _SINGLE:
        if digits := _DIGITS.fullmatch(text):
            return digits[1]
        if not free and text[0] in _APOSTROPHES:
            return text[1:].rstrip(_SINGLE).strip(BLANKS)
    return None


def _damage(text: str, *, free: bool, number: bool) -> str | None:
    """The traces of a spreadsheet that recalculated, rounded or hid a value."""
    if text[0] == "=" and not _CALL.fullmatch(text) and (_REFERENCE.fullmatch(text) or not free):
        return "a formula: paste its result as a value instead, or write the value as text"
    if (quoted := _QUOTED.fullmatch(text)) and not re.search(f"[{_DOUBLE}]", quoted[1]):
        return f'stands in quotation marks: write {quoted[1]}, or ="..." around it where they belong to the value'
    if free:
        return None
    return _damaged_number(text) or (_damaged_identifier(text) if number else None)


def _damaged_number(text: str) -> str | None:
    if text[0] not in "+-0123456789":
        known = _LOGICAL.fullmatch(text)
        return f"a logical value of the spreadsheet: {_AS_TEXT}" if known else None
    if _SCIENTIFIC.fullmatch(text):
        return f"rounded by the spreadsheet, digits are lost: {_AS_TEXT}"
    return _number_of(text, _FLOAT)


def _number_of(text: str, form: re.Pattern[str]) -> str | None:
    whole = form.fullmatch(text)
    return f"a number of the spreadsheet: {_AS_TEXT} (was {whole[1]} meant?)" if whole else None


def _damaged_identifier(text: str) -> str | None:
    if thousands := _THOUSANDS.fullmatch(text):
        digits = re.sub("[^0-9]", "", thousands[0].removesuffix(thousands["fraction"] or ""))
        return f"a number with separators of thousands: {_AS_TEXT} (was {digits} meant?)"
    if number := _number_of(text, _FLOAT_OF_TWO):
        return number
    if made_date(text):
        return MADE_DATE
    right = plain(text)
    if right != text and right.isascii():
        return f'holds characters that only look like those of a keyboard: write {right}, or ="..." around it'
    return None


def _is_date(text: str) -> bool:
    """Whether a text reads as a date of our times, in any order of day and month; 12-34-5678 does not."""
    found, first = YEAR_FIRST.fullmatch(text), DAY_FIRST.fullmatch(text)
    if found:
        year, *others = int(found[1]), int(found[3]), int(found[4])
    elif first:
        year, *others = int(first[4]), int(first[1]), int(first[3])
    else:
        return False
    return 1900 <= year < 2100 and 1 <= min(others) <= 12 and max(others) <= 31


def made_date(text: str) -> bool:
    """Whether a text reads as a date that a spreadsheet made of something else."""
    return _is_date(text) or _names_month(text)


def _names_month(text: str) -> bool:
    found = _MONTH.fullmatch(text)
    word = found and unicodedata.normalize("NFKD", found[1] or found[2])
    letters = "".join(each for each in word or "" if not unicodedata.combining(each))
    return _MONTHS.fullmatch(letters[:3].casefold()) is not None


def plain(text: str) -> str:
    """The text in the digits, letters, dashes and quotes of a keyboard, where it has others that look like them."""
    digits = (str(unicodedata.decimal(each, each)) for each in text.translate(PLAIN))
    return unicodedata.normalize("NFKC", "".join(digits)).translate(PLAIN)


def day_of_number(text: str) -> str | None:
    """The date that a spreadsheet shows for the number of a day; None: the text is no such number."""
    if not _DAY_NUMBER.fullmatch(text):
        return None
    return f"{_DAY_ZERO + timedelta(days=int(text[:5])):%Y%m%d}"


def _beside_ascii(text: str, joiner: str) -> bool:
    """Whether a joiner stands where nothing is to be joined: at an end, or beside a character of ASCII."""
    inner = re.findall(f"(?=([^\0-\x7f]){joiner}[^\0-\x7f])", text)
    return len(inner) < text.count(joiner)


def invisible(text: str, *, free: bool) -> Iterator[str]:
    """Line breaks, tabs and other characters that nobody sees and no PACS matches; in free text joiners are script."""
    if text.isascii() and text.isprintable():
        return
    for character in dict.fromkeys(text):
        category = unicodedata.category(character)
        joins = character in _JOINERS and (free or not _beside_ascii(text, character))
        if category in {"Cc", "Zl", "Zp"} or (category == "Cf" and not joins):
            name = unicodedata.name(character, "a control character or line break")
            yield f"an invisible character is not allowed: U+{ord(character):04X}, {name}"
        elif category == "Zs" and character != " " and not free:
            name = unicodedata.name(character)
            yield f"a blank of another kind is not allowed: U+{ord(character):04X}, {name}: write a plain one, or none"
