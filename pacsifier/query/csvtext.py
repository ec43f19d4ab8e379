"""CSV as spreadsheets write it: from the bytes of a file to numbered rows of text.

The file may be UTF-8 (with or without byte order mark), UTF-16 with a byte order mark, or Windows-1252; its
separator may be a comma, a semicolon or a tab, or what a first line such as `sep=|` names.
Raises InputError for what is no CSV file.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

from pacsifier.errors import Fault, InputError

BLANKS: Final = (
    " \t\n\x0b\x0c\r\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d"
    "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u202f\u205f\u2060\u2066\u2067\u2068\u2069\u3000\ufeff"
)
"""What means nothing around a cell: blanks of every width, and marks of none, that copying and pasting leave behind."""

_OLD_WORKBOOK_MAGIC: Final = b"\xd0\xcf\x11\xe0"
EMPTY: Final = "is empty: a header with column names and a row at least are expected"
_SEPARATORS: Final = (",", ";", "\t")
# A first line for Excel, which does not show it as a row.
_NAMED_SEPARATOR: Final = re.compile(r'"?sep=([^\w\s"]|\t)"?[,;\t ]*(?:\n|\Z)', re.IGNORECASE)


class NumberedRow(NamedTuple):
    """One row: its number in a spreadsheet (from 1), and its cells as they stand in the file.

    `dates` are the indexes of cells that a workbook holds as a date or time.
    """

    number: int
    cells: tuple[str, ...]
    dates: frozenset[int] = frozenset()


def read_csv(path: Path, known_columns: Collection[str], empty: str = EMPTY) -> Iterator[NumberedRow]:
    """Yields the rows that are not blank, the header first; `known_columns` tell the separator of the header.

    Rows are as long as they are in the file. Raises InputError; `empty` is what it says of an empty file.
    """
    source = str(path)
    text = _decode(source, _read_bytes(path), empty)
    named = _NAMED_SEPARATOR.match(text)
    separator = named[1] if named else _separator(text, {name.lower() for name in known_columns})
    filled = False
    for number, row in enumerate(_parse(source, text, named.end() if named else 0, separator), start=1):
        if len(row) > 1 or any(cell.strip(BLANKS) for cell in row):
            filled = True
            yield NumberedRow(number, row)
    if not filled:
        raise InputError(Fault(source, empty))


def _read_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(Fault(str(path), f"cannot be read: {error.strerror or error}")) from error
    if data.startswith(_OLD_WORKBOOK_MAGIC):
        problem = "is an old workbook (.xls) or locked by a password: save it as .xlsx, or export it as CSV"
        raise InputError(Fault(str(path), problem))
    return data


def _decode(source: str, data: bytes, empty: str) -> str:
    """The text of a file, line ends as \\n; raises InputError when it is empty or no text."""
    try:
        text = _text(data)
    except UnicodeDecodeError as error:
        problem = f"is neither UTF-8 nor Windows-1252 text (byte {error.start + 1}): export it as CSV UTF-8"
        raise InputError(Fault(source, problem)) from error
    text = text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    # Files that were joined have a mark at the start of each of them.
    text = text.replace("\n\ufeff", "\n")
    if "\0" in text:
        place = f"first in line {text[: text.index(chr(0))].count(chr(10)) + 1}"
        problem = f"holds NUL characters ({place}), so it is no CSV text: export it as CSV UTF-8"
        raise InputError(Fault(source, problem))
    if not text.strip(BLANKS + "\n"):
        raise InputError(Fault(source, empty))
    return text


def _text(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252")


def _separator(text: str, known_columns: Collection[str]) -> str:
    """The separator under which the header holds the most known columns, then the most columns."""
    header = next((line for line in text.split("\n") if line.strip(BLANKS)), "")

    def columns(separator: str) -> tuple[int, int]:
        names = [name.strip(BLANKS + '"').lower() for name in header.split(separator)]
        return sum(name in known_columns for name in names), len(names)

    return max(_SEPARATORS, key=columns)


def _parse(source: str, text: str, start: int, separator: str) -> Iterator[tuple[str, ...]]:
    """Every row from a place of the text on as its cells, exactly as written; a blank line has none.

    The standard library's reader, not pandas: that one fills short rows and stops at long ones, so that it tells
    neither a blank line from a row of empty cells nor each row that is too long; and it takes half a second to start.
    """
    # A quote that is never closed swallows this last row of our own.
    end = "end of file"
    lines = chain(_lines(text, start), (end,))
    last: tuple[str, ...] | None = None
    number = 0
    try:
        for row in csv.reader(lines, delimiter=separator, skipinitialspace=True):
            number += 1
            if last is not None:
                yield last
            last = tuple(row)
    except csv.Error as error:
        raise InputError(Fault(source, f"cannot be understood as CSV: {error}", row=number + 1)) from error
    if last != (end,):
        raise InputError(Fault(source, 'a quote (") is opened in this row and never closed', row=number))


def _lines(text: str, start: int) -> Iterator[str]:
    """The lines of a text from a place on, one by one: io.StringIO would hold it four times as large."""
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield f"{text[start:end]}\n"
        start = end + 1
