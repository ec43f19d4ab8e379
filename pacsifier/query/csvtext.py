"""CSV as spreadsheets write it: from the bytes of a file to numbered rows of text.

The file may be UTF-8 (with or without byte order mark), UTF-16 with a byte order mark, or Windows-1252; its
separator may be a comma, a semicolon or a tab, or what a first line such as `sep=|` names.
Raises InputError for what is no CSV file.
Tried instead: charset-normalizer 3.5. Of 605 short query files with accented names in Windows-1252 it read 530 as
something else, silently (as cp1250, cp775 or Big5 most often), for it guesses by language: a query file has none.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import re
from collections.abc import Collection, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from pacsifier.errors import Fault, InputError

BLANKS: Final = (
    " \t\n\x0b\x0c\r\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d"
    "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u202f\u205f\u2060\u2066\u2067\u2068\u2069\u3000\ufeff"
)
"""What means nothing around a cell: blanks of every width, and marks of none, that copying and pasting leave behind."""

_OLD_WORKBOOK_MAGIC: Final = b"\xd0\xcf\x11\xe0"
EMPTY: Final = "is empty: a header with column names and a row at least are expected"
_BLOCK: Final = 1 << 20
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

    Rows are as long as they are in the file. Raises InputError; `empty` is what it says of an empty file. The file is
    read twice, and never held as a whole: the table of 100,000 series has 50 MB.
    """
    source = str(path)
    try:
        with path.open("rb") as file:
            yield from rows_of(source, file, known_columns, empty)
    except OSError as error:
        raise InputError(Fault(source, f"cannot be read: {error.strerror or error}")) from error


def rows_of(
    source: str, file: BinaryIO, known_columns: Collection[str], empty: str = EMPTY
) -> Iterator[NumberedRow]:
    """As `read_csv`, of a file that is open, and stays so; from its start, wherever it stands."""
    file.seek(0)
    encoding = _encoding(source, file, empty)
    file.seek(0)
    lines, separator = _begun(_lines(file, encoding), {name.lower() for name in known_columns})
    filled = False
    for number, row in enumerate(_parse(source, lines, separator), start=1):
        if len(row) > 1 or any(cell.strip(BLANKS) for cell in row):
            filled = True
            yield NumberedRow(number, row)
    if not filled:
        raise InputError(Fault(source, empty))


def _encoding(source: str, file: BinaryIO, empty: str) -> str:
    """The encoding in which all of a file is text; raises InputError where it is none, or empty."""
    start = file.read(len(_OLD_WORKBOOK_MAGIC))
    if start == _OLD_WORKBOOK_MAGIC:
        problem = "is an old workbook (.xls) or locked by a password: save it as .xlsx, or export it as CSV"
        raise InputError(Fault(source, problem))
    wrong = 0
    for encoding in ("utf-16",) if start[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8", "cp1252"):
        file.seek(0)
        wrong = _first_wrong_byte(source, file, encoding, empty)
        if not wrong:
            return encoding
    problem = f"is neither UTF-8 nor Windows-1252 text (byte {wrong}): export it as CSV UTF-8"
    raise InputError(Fault(source, problem))


def _first_wrong_byte(source: str, file: BinaryIO, encoding: str, empty: str) -> int:
    """The number of the first byte that is no text in an encoding, from 1; 0: there is none.

    Raises InputError for text that is no CSV: it holds NUL, or nothing.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    taken, line, filled = 0, 1, False
    for block in chain(iter(partial(file.read, _BLOCK), b""), (b"",)):
        before = taken - len(decoder.getstate()[0])
        try:
            text = newlines.decode(decoder.decode(block, final=not block), final=not block)
        except UnicodeDecodeError as error:
            return before + error.start + 1
        taken += len(block)
        if "\0" in text:
            place = f"first in line {line + text[: text.index(chr(0))].count(chr(10))}"
            problem = f"holds NUL characters ({place}), so it is no CSV text: export it as CSV UTF-8"
            raise InputError(Fault(source, problem))
        line += text.count("\n")
        filled = filled or bool(text.strip(BLANKS + "\n"))
    if not filled:
        raise InputError(Fault(source, empty))
    return 0


def _lines(file: BinaryIO, encoding: str) -> Iterator[str]:
    """The lines of a file, ended by a line feed each, without the marks that stand where files begin or were joined."""
    text = io.TextIOWrapper(file, encoding=encoding)
    try:
        for number, line in enumerate(text):
            bare = line.lstrip("\ufeff") if number == 0 else line.removeprefix("\ufeff")
            yield bare if bare.endswith("\n") else f"{bare}\n"
    finally:
        # The file is its owner's to close, who may have done so.
        with contextlib.suppress(ValueError):
            text.detach()


def _begun(lines: Iterator[str], known_columns: Collection[str]) -> tuple[Iterator[str], str]:
    """The lines that are rows, and what separates their cells: named in a first line, or seen in the header."""
    first = next(lines, "")
    if named := _NAMED_SEPARATOR.match(first):
        return lines, named[1]
    before = [first]
    while not before[-1].strip(BLANKS) and (line := next(lines, "")):
        before.append(line)
    return chain(before, lines), _separator(before[-1], known_columns)


def _separator(header: str, known_columns: Collection[str]) -> str:
    """The separator under which a header holds the most known columns, then the most columns."""

    def columns(separator: str) -> tuple[int, int]:
        names = [name.strip(BLANKS + '"').lower() for name in header.split(separator)]
        return sum(name in known_columns for name in names), len(names)

    return max(_SEPARATORS, key=columns)


def _parse(source: str, lines: Iterator[str], separator: str) -> Iterator[tuple[str, ...]]:
    """Every row as its cells, exactly as written; a blank line has none.

    The standard library's reader, not pandas: that one fills short rows and stops at long ones, so that it tells
    neither a blank line from a row of empty cells nor each row that is too long; and it takes half a second to start.
    """
    # A quote that is never closed swallows this last row of our own.
    end = "end of file"
    last: tuple[str, ...] | None = None
    number = 0
    try:
        for row in csv.reader(chain(lines, (end,)), delimiter=separator, skipinitialspace=True):
            number += 1
            if last is not None:
                yield last
            last = tuple(row)
    except csv.Error as error:
        raise InputError(Fault(source, f"cannot be understood as CSV: {error}", row=number + 1)) from error
    if last != (end,):
        raise InputError(Fault(source, 'a quote (") is opened in this row and never closed', row=number))
