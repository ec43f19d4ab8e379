"""Rows of an Excel workbook (.xlsx) as the text that a careful user would have typed into a CSV file.

Needs openpyxl, the extra `xlsx`. Raises InputError for what is no workbook, and for cells that would be read as
something other than what a person sees: formulas without a result, merged cells.
"""

from __future__ import annotations

import contextlib
import logging
import posixpath
import re
import warnings
import zipfile
import zlib
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cache, partial
from pathlib import Path
from typing import IO, Any, Final

from pacsifier.errors import Fault, InputError
from pacsifier.query.csvtext import BLANKS, EMPTY, NumberedRow, read_csv

log = logging.getLogger(__name__)

MAGIC: Final = b"PK\x03\x04"
_EXACT: Final = 10**15
"""Spreadsheets keep 15 digits of a number."""
_PADDED: Final = re.compile("0+")
_BLOCK: Final = 1 << 20
_ROW: Final = re.compile(rb"<row\b([^<>]*?)(?:/>|>(.*?)</row>)", re.DOTALL)
_ROW_NUMBER: Final = re.compile(rb'\sr="([0-9]+)"')
# Column, other attributes, value.
_CELL: Final = re.compile(rb'<c r="([A-Z]{1,3})[0-9]+"([^<>/]*)(?:/>|><v>([^<>&]+)</v></c>)')
_SHARED_TEXT: Final = re.compile(rb'(?: s="[0-9]+")? t="s"')
_NUMBER: Final = re.compile(rb'(?: s="[0-9]+")?(?: t="n")?')
# So many kinds of cells in so many rows openpyxl is asked for, each time from the start of the sheet.
_MOST_KINDS: Final = 20
_LEARNED_ROWS: Final = 1000
# A comment, or a part that is no markup.
_UNPARSED: Final = b"<!"
_TAG: Final = re.compile(rb"<(?:\w+:)?(row|mergeCell|f)\b([^<>]*)>")
_ATTRIBUTE: Final = re.compile(rb"""\b(ref|r|hidden)=["']([^"']*)["']""")


def read_rows(path: Path, known_columns: Collection[str], empty: str = EMPTY) -> Iterator[NumberedRow]:
    """The rows of a CSV file (`read_csv`) or, where the file is one, of a workbook (`read_workbook`)."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        if file.read(len(MAGIC)) == MAGIC:
            return read_workbook(path, empty)
    return read_csv(path, known_columns, empty)


def read_workbook(path: Path, empty: str = EMPTY) -> Iterator[NumberedRow]:
    """Yields the rows of the first sheet that hold anything, cells as text, blank cells at the end left out.

    Dates become YYYYMMDD, times HHMMSS, numbers lose `.0` and keep the zeros that their format shows. A row at a time:
    a sheet of 100,000 rows would take 2 GB. Raises InputError at once, or after the last row.
    """
    source = str(path)
    _check_reader(source)
    marks = _marks(path)
    faults = [
        Fault(
            source,
            f"the cells {merged} are merged, so that only the first of them holds the value: undo it",
        )
        for merged in marks.merged
    ]
    hidden, filled = 0, False
    for row in _texts(path, faults, marks):
        cells = row.cells
        while cells and not cells[-1].strip(BLANKS):
            cells = cells[:-1]
        if cells:
            hidden, filled = hidden + (row.number in marks.hidden), True
            yield NumberedRow(row.number, cells, row.dates)
    if faults:
        raise InputError(*faults)
    if not filled:
        raise InputError(Fault(source, empty))
    if hidden:
        log.warning("%s: hidden rows (a filter?) are read all the same: %d", path.name, hidden)


def _check_reader(source: str) -> None:
    """Raises InputError where openpyxl is not installed."""
    try:
        import openpyxl  # noqa: F401 - is it there?
    except ImportError as error:
        problem = "is an Excel workbook, which openpyxl reads: pip install 'pacsifier[xlsx]', or export it as CSV UTF-8"
        raise InputError(Fault(source, problem)) from error


def _texts(path: Path, faults: list[Fault], marks: _Marks) -> Iterator[NumberedRow]:
    """The rows of the first sheet as texts; enters formulas without a result into the faults."""
    with contextlib.ExitStack() as stack:
        sheet = stack.enter_context(_sheet(path, results=True))
        others = None
        if marks.formulas:
            others = stack.enter_context(_sheet(path, results=False)).iter_rows(min_row=1)
        try:
            first = (yield from _plain_rows(path, sheet, marks.rows)) if marks.plain else 1
            for number, cells in enumerate(sheet.iter_rows(min_row=first), first) if first else ():
                if others is not None:
                    faults += _without_result(str(path), number, cells, next(others, ()))
                dates = (i for i, cell in enumerate(cells) if isinstance(cell.value, date | time | timedelta))
                yield NumberedRow(number, tuple(map(_text, cells)), frozenset(dates))
        except Exception as error:  # whatever a malformed sheet makes of openpyxl
            raise _malformed(path) from error


def _plain_rows(path: Path, sheet: Any, rows: int) -> Generator[NumberedRow, None, int]:
    """The rows at the start of a sheet whose cells are numbers, and texts as Excel writes them; by patterns.

    openpyxl takes three times as long. Returns the number of the first row that has to be left to it, 0: there is
    none. That is a row with a date, a logical value, an error, or anything that is written otherwise. `rows`: how many
    there are, however they are written.
    """
    strings = getattr(sheet, "_shared_strings", None)
    if strings is None:
        return 1
    # By the other attributes of a cell.
    formats: dict[bytes, str | None] = {}
    last = 0
    with zipfile.ZipFile(path) as archive, archive.open(_first_sheet(archive)) as file:
        for attributes, content in _row_elements(file):
            named = _ROW_NUMBER.search(attributes)
            cells = _CELL.findall(content)
            # Each is `<c/>` or `<c><v></v></c>`, and there is nothing else.
            plain = content.count(b"<") == len(cells) + 3 * content.count(b"<v>")
            if named is None or int(named[1]) <= last or not plain:
                return last + 1
            number = int(named[1])
            texts: list[str] = []
            for letters, kind, value in cells:
                if not value:
                    continue
                place = _place(letters)
                if kind not in formats:
                    formats[kind] = (
                        _learned(sheet, kind, number, place) if len(formats) < _MOST_KINDS else None
                    )
                number_format = formats[kind]
                gap = place - len(texts)
                if number_format is None or gap < 0:
                    return last + 1
                if gap:
                    texts += [""] * gap
                texts.append(_number(_cast(value), number_format) if number_format else strings[int(value)])
            last, rows = number, rows - 1
            yield NumberedRow(number, tuple(texts))
    return last + 1 if rows else 0


def _row_elements(file: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """The attributes and the content of each element `row` of a sheet."""
    left = b""
    for block in iter(partial(file.read, _BLOCK), b""):
        text = left + block
        end = 0
        for row in _ROW.finditer(text):
            end = row.end()
            yield row[1], row[2] or b""
        left = text[end:]


@cache
def _place(letters: bytes) -> int:
    """The place of a column in its row, from 0."""
    from openpyxl.utils import column_index_from_string

    return column_index_from_string(letters.decode()) - 1


def _learned(sheet: Any, attributes: bytes, row: int, place: int) -> str | None:
    """The number format of the numbers in cells of such attributes, by the one at hand; "" where they are shared texts.

    None: they are neither.
    """
    if _SHARED_TEXT.fullmatch(attributes):
        return ""
    if row > _LEARNED_ROWS or not _NUMBER.fullmatch(attributes):
        return None
    (cells,) = sheet.iter_rows(min_row=row, max_row=row)
    cell = cells[place]
    is_number = isinstance(cell.value, int | float) and not isinstance(cell.value, bool)
    return (cell.number_format or "General") if is_number else None


def _cast(value: bytes) -> int | float:
    return float(value) if set(b".eE").intersection(value) else int(value)


def _without_result(
    source: str, number: int, cells: Sequence[Any], formulas: Sequence[Any]
) -> Iterator[Fault]:
    for cell, formula in zip(cells, formulas, strict=False):
        if cell.value is None and formula.value is not None:
            problem = f"cell {formula.coordinate} holds a formula without a result: paste its value instead"
            yield Fault(source, problem, number)


@contextlib.contextmanager
def _sheet(path: Path, *, results: bool) -> Iterator[Any]:
    """The first sheet, with the results of formulas or the formulas themselves."""
    with warnings.catch_warnings(), path.open("rb") as file:
        warnings.simplefilter("ignore")
        try:
            import openpyxl

            sheets = openpyxl.load_workbook(file, data_only=results, read_only=True).worksheets
            if sheets:
                # Some programs write a wrong size into the sheet.
                sheets[0].reset_dimensions()
        except Exception as error:  # whatever a malformed archive makes of openpyxl
            raise _malformed(path) from error
        if not sheets:
            raise InputError(Fault(str(path), "holds no sheet with cells"))
        if results and len(sheets) > 1:
            log.warning(
                "%s: only the first of %d sheets is read, %r", path.name, len(sheets), sheets[0].title
            )
        yield sheets[0]


def _malformed(path: Path) -> InputError:
    problem = "is no workbook that can be read (.xlsx): save it anew, or export it as CSV UTF-8"
    return InputError(Fault(str(path), problem))


@dataclass(frozen=True)
class _Marks:
    """What a sheet holds beside its cells: ranges of merged cells, the numbers of hidden rows, how many rows there are;
    whether a cell has a formula, and whether something is no plain markup."""

    merged: tuple[str, ...]
    hidden: frozenset[int]
    rows: int
    formulas: bool
    unparsed: bool

    @property
    def plain(self) -> bool:
        """Whether the rows may be read by patterns."""
        return bool(self.rows) and not self.formulas and not self.unparsed


def _marks(path: Path) -> _Marks:
    """Reads the marks of the first sheet, which openpyxl leaves out where it reads row by row.

    By patterns: no text of a cell can hold `<`, and a parser of XML takes as long again as the rows.
    """
    merged: list[str] = []
    hidden: set[int] = set()
    rows = 0
    formulas = unparsed = False
    try:
        with zipfile.ZipFile(path) as archive, archive.open(_first_sheet(archive)) as file:
            left = b""
            for block in iter(partial(file.read, _BLOCK), b""):
                text = left + block
                whole = text.rfind(b">") + 1
                left = text[whole:]
                unparsed = unparsed or _UNPARSED in text
                for name, attributes in _TAG.findall(text, 0, whole):
                    values = dict(_ATTRIBUTE.findall(attributes))
                    if name == b"mergeCell":
                        merged.append(values.get(b"ref", b"").decode("ascii", "replace"))
                    elif name == b"f":
                        formulas = True
                    else:
                        rows += 1
                        if values.get(b"hidden") in (b"1", b"true") and values.get(b"r", b"").isdigit():
                            hidden.add(int(values[b"r"]))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, zlib.error, SyntaxError) as error:
        raise _malformed(path) from error
    return _Marks(tuple(merged), frozenset(hidden), rows, formulas, unparsed)


def _first_sheet(archive: zipfile.ZipFile) -> str:
    """The name of the first worksheet in the archive (ECMA-376 part 1, 18.2.20; part 2, 9.3)."""
    from openpyxl.xml.functions import fromstring

    kinds = {
        each.get("Id"): (each.get("Type", ""), each.get("Target", ""))
        for each in fromstring(archive.read("xl/_rels/workbook.xml.rels"))
    }
    for sheet in fromstring(archive.read("xl/workbook.xml")).iter():
        ids = [value for name, value in sheet.attrib.items() if name.endswith("}id")]
        if sheet.tag.endswith("}sheet") and ids:
            kind, target = kinds[ids[0]]
            if kind.endswith("/worksheet"):
                return target.removeprefix("/") if target.startswith("/") else posixpath.join("xl", target)
    raise KeyError("sheet")


def _text(cell: Any) -> str:
    value = cell.value
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        return _number(value, cell.number_format)
    return "" if value is None else "".join(_moment(value))


def _number(value: int | float, number_format: str) -> str:
    if abs(value) >= _EXACT:
        # Digits are lost; written so that the checks of the columns see it.
        return f"{value:.14E}"
    if value != int(value):
        return repr(value)
    return str(int(value)).zfill(len(number_format) if _PADDED.fullmatch(number_format) else 1)


def _moment(value: object) -> Iterator[str]:
    """A date as YYYYMMDD, a time as HHMMSS, both one after the other; anything else as it is."""
    if isinstance(value, timedelta):
        value = (datetime.min + value).time() if timedelta() <= value < timedelta(days=1) else str(value)
    if isinstance(value, date):
        yield value.strftime("%Y%m%d")
        value = value.time() if isinstance(value, datetime) and value.time() != time() else ""
        yield " " if value else ""
    if isinstance(value, time):
        yield value.strftime("%H%M%S") + (f".{value.microsecond:06}" if value.microsecond else "")
    else:
        yield str(value)
