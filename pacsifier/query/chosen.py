"""The series table (`logs/series.csv`): its columns, and how a cell of it is read when a person gives it back.

Whoever deletes rows of it, or adds a column `new_ids`, chooses what is fetched: there both UIDs of a row decide alone.
What else stands in a row asks for nothing; what a spreadsheet did to it is told, and stops nobody.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from pacsifier.query.attributes import ATTRIBUTES, INFO_COLUMNS
from pacsifier.query.cells import FREE_COLUMNS, NEW_IDS, NUMBER_COLUMNS, Cell, re_formatted, read_cell
from pacsifier.query.csvtext import BLANKS
from pacsifier.query.spreadsheet import MADE_DATE, as_typed, invisible, made_date
from pacsifier.query.wire import is_single_key

RUN_COLUMNS: Final = (
    *("announced", "listed", "arrived", "bytes", "folder", "status", "reason", "query_rows", "run"),
)
SERIES_COLUMNS: Final = (*INFO_COLUMNS, *RUN_COLUMNS)
"""The columns of every series table, in their order; a person's own columns follow them."""

UIDS: Final = ("StudyInstanceUID", "SeriesInstanceUID")
DECIDING: Final = (*UIDS, NEW_IDS)
"""The columns that are read by rules; no other one asks for anything."""

_SIGNS: Final = frozenset({*UIDS, "status", "query_rows"})
# What comes near a UID begins with a letter or digit, holds a digit, and no sign of a number, a time or a formula.
_NEAR_UID: Final = re.compile(r"(?=.*[0-9])[0-9A-Za-z][^,:;=+'\"&%#]*")
_NUMBER: Final = re.compile(r"([0-9]+)[.,]?([0-9]*)")
_EXPONENT: Final = re.compile(r"[0-9][.,]?[0-9]*[eE][+-]?[0-9]+")
_AS_TEXT: Final = "take the value from the table as it was written, and format the column as text"
# Spreadsheets keep 15 digits of a number.
_EXACT_DIGITS: Final = 15


def is_series_table(names: Collection[str]) -> bool:
    """Whether a header is that of a series table, whatever else stands in it."""
    return set(names) >= _SIGNS


def read_deciding(column: str, raw: str, *, dated: bool = False) -> Cell:
    """A cell of a column that decides; any UID that the PACS told is good as it stands, a damaged one is not."""
    if column == NEW_IDS:
        return read_cell(column, raw, dated=dated)
    if dated:
        return Cell(raw, (MADE_DATE,))
    typed = as_typed(raw, number=False)
    if typed.problem:
        return Cell(typed.text, (typed.problem,))
    if not typed.text:
        return Cell("", ("is empty: both UIDs of a series say which it is: restore them, or remove the row",))
    saved = typed.text != raw.strip(BLANKS)
    problem = ("" if saved else _uid_damage(typed.text)) or _uid_problem(typed.text)
    return Cell(typed.text, (problem,) if problem else ())


def _uid_problem(text: str) -> str:
    unseen = next(invisible(text, free=False), "")
    if unseen:
        return unseen
    # What a PACS told may be malformed.
    if is_single_key(text) and _NEAR_UID.fullmatch(text):
        return ""
    return "no UID: digits in components joined by single dots are allowed"


def _uid_damage(text: str) -> str:
    """The traces of a spreadsheet that took a UID for a number or a date."""
    if _EXPONENT.fullmatch(text):
        return f"rounded by the spreadsheet, digits are lost: {_AS_TEXT}"
    if made_date(text):
        return MADE_DATE
    number = _NUMBER.fullmatch(text)
    digits = (number[1] + number[2]).lstrip("0") if number else ""
    if len(digits.rstrip("0")) <= _EXACT_DIGITS <= len(digits):
        return f"a number of {_EXACT_DIGITS} digits: the spreadsheet cut the others off: {_AS_TEXT}"
    return ""


def noticed(column: str, raw: str) -> str:
    """What a spreadsheet did to a cell of an information column, which asks for nothing; "": nothing that shows."""
    if column not in INFO_COLUMNS:
        return ""
    typed = as_typed(raw, free=column in FREE_COLUMNS, number=column in NUMBER_COLUMNS)
    return typed.problem or (re_formatted(column, typed.text) if column in ATTRIBUTES else "")
