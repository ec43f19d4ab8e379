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
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from pacsifier.errors import Fault, InputError
from pacsifier.query.csvtext import BLANKS, EMPTY, NumberedRow, read_csv

log = logging.getLogger(__name__)

MAGIC: Final = b"PK\x03\x04"
_EXACT: Final = 10**15
"""Spreadsheets keep 15 digits of a number."""
_PADDED: Final = re.compile("0+")
_BLOCK: Final = 1 << 20
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
    rows, marks = _rows(path, results=True), _marks(path)
    faults = [
        Fault(
            source,
            f"the cells {merged} are merged, so that only the first of them holds the value: undo it",
        )
        for merged in marks.merged
    ]
    formulas = _rows(path, results=False) if marks.formulas else None
    hidden, filled = 0, False
    for number, cells in enumerate(rows, start=1):
        if formulas is not None:
            faults += _without_result(source, number, cells, next(formulas, ()))
        texts = [_text(cell) for cell in cells]
        while texts and not texts[-1].strip(BLANKS):
            texts.pop()
        if texts:
            hidden, filled = hidden + (number in marks.hidden), True
            dates = frozenset(
                i for i, cell in enumerate(cells) if isinstance(cell.value, date | time | timedelta)
            )
            yield NumberedRow(number, tuple(texts), dates)
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


def _without_result(
    source: str, number: int, cells: Sequence[Any], formulas: Sequence[Any]
) -> Iterator[Fault]:
    for cell, formula in zip(cells, formulas, strict=False):
        if cell.value is None and formula.value is not None:
            problem = f"cell {formula.coordinate} holds a formula without a result: paste its value instead"
            yield Fault(source, problem, number)


def _rows(path: Path, *, results: bool) -> Iterator[Sequence[Any]]:
    """The rows of the first sheet, with the results of formulas or the formulas themselves."""
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
        try:
            yield from sheets[0].iter_rows(min_row=1)
        except Exception as error:  # whatever a malformed sheet makes of openpyxl
            raise _malformed(path) from error


def _malformed(path: Path) -> InputError:
    problem = "is no workbook that can be read (.xlsx): save it anew, or export it as CSV UTF-8"
    return InputError(Fault(str(path), problem))


@dataclass(frozen=True)
class _Marks:
    """What a sheet holds beside its cells: ranges of merged cells, the numbers of hidden rows; whether a cell has a
    formula."""

    merged: tuple[str, ...]
    hidden: frozenset[int]
    formulas: bool


def _marks(path: Path) -> _Marks:
    """Reads the marks of the first sheet, which openpyxl leaves out where it reads row by row.

    By patterns: no text of a cell can hold `<`, and a parser of XML takes as long again as the rows.
    """
    merged: list[str] = []
    hidden: set[int] = set()
    formulas = False
    try:
        with zipfile.ZipFile(path) as archive, archive.open(_first_sheet(archive)) as file:
            left = b""
            for block in iter(partial(file.read, _BLOCK), b""):
                text = left + block
                whole = text.rfind(b">") + 1
                left = text[whole:]
                for name, attributes in _TAG.findall(text, 0, whole):
                    values = dict(_ATTRIBUTE.findall(attributes))
                    if name == b"mergeCell":
                        merged.append(values.get(b"ref", b"").decode("ascii", "replace"))
                    elif name == b"f":
                        formulas = True
                    elif values.get(b"hidden") in (b"1", b"true") and values.get(b"r", b"").isdigit():
                        hidden.add(int(values[b"r"]))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, zlib.error, SyntaxError) as error:
        raise _malformed(path) from error
    return _Marks(tuple(merged), frozenset(hidden), formulas)


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
