"""Rows of an Excel workbook (.xlsx) as the text that a careful user would have typed into a CSV file.

Needs openpyxl, the extra `xlsx`. Raises InputError for what is no workbook, and for cells that would be read as
something other than what a person sees: formulas without a result, merged cells.
"""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from collections.abc import Collection, Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pacsifier.errors import Fault, InputError
from pacsifier.query.csvtext import BLANKS, EMPTY, NumberedRow, read_csv

if TYPE_CHECKING:
    from openpyxl.cell import Cell
    from openpyxl.worksheet.worksheet import Worksheet

log = logging.getLogger(__name__)

MAGIC: Final = b"PK\x03\x04"
_EXACT: Final = 10**15
"""Spreadsheets keep 15 digits of a number."""
_PADDED: Final = re.compile("0+")


def read_rows(path: Path, known_columns: Collection[str], empty: str = EMPTY) -> Iterator[NumberedRow]:
    """The rows of a CSV file (`read_csv`) or, where the file is one, of a workbook (`read_workbook`)."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        if file.read(len(MAGIC)) == MAGIC:
            rows = read_workbook(path)
            if not rows:
                raise InputError(Fault(str(path), empty))
            return iter(rows)
    return read_csv(path, known_columns, empty)


def read_workbook(path: Path) -> tuple[NumberedRow, ...]:
    """The rows of the first sheet that hold anything, cells as text, blank cells at the end left out.

    Dates become YYYYMMDD, times HHMMSS, numbers lose `.0` and keep the zeros that their format shows.
    """
    source = str(path)
    sheet, formulas = _sheets(path, results=True), _sheets(path, results=False)
    faults = [
        Fault(
            source,
            f"the cells {merged.coord} are merged, so that only the first of them holds the value: undo it",
        )
        for merged in sheet.merged_cells.ranges
    ]
    rows = []
    for number, cells in enumerate(sheet.iter_rows(min_row=1), start=1):
        for cell in cells:
            if cell.value is None and formulas[cell.coordinate].value is not None:
                problem = f"cell {cell.coordinate} holds a formula without a result: paste its value instead"
                faults.append(Fault(source, problem, number))
        texts = [_text(cell) for cell in cells]
        while texts and not texts[-1].strip(BLANKS):
            texts.pop()
        if texts:
            dates = frozenset(
                i for i, cell in enumerate(cells) if isinstance(cell.value, date | time | timedelta)
            )
            rows.append(NumberedRow(number, tuple(texts), dates))
    if faults:
        raise InputError(*faults)
    _say_what_is_hidden(path.name, sheet, rows)
    return tuple(rows)


def _sheets(path: Path, *, results: bool) -> Worksheet:
    """The first sheet, with the results of formulas or the formulas themselves."""
    try:
        import openpyxl
    except ImportError as error:
        problem = "is an Excel workbook, which openpyxl reads: pip install 'pacsifier[xlsx]', or export it as CSV UTF-8"
        raise InputError(Fault(str(path), problem)) from error
    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")
            sheets = openpyxl.load_workbook(file, data_only=results).worksheets
    except Exception as error:  # whatever a malformed archive makes of openpyxl
        problem = "is no workbook that can be read (.xlsx): save it anew, or export it as CSV UTF-8"
        raise InputError(Fault(str(path), problem)) from error
    if not sheets:
        raise InputError(Fault(str(path), "holds no sheet with cells"))
    if results and len(sheets) > 1:
        log.warning("%s: only the first of %d sheets is read, %r", path.name, len(sheets), sheets[0].title)
    return sheets[0]


def _say_what_is_hidden(name: str, sheet: Worksheet, rows: list[NumberedRow]) -> None:
    hidden = sum(sheet.row_dimensions[row.number].hidden for row in rows)
    if hidden:
        log.warning("%s: hidden rows (a filter?) are read all the same: %d", name, hidden)


def _text(cell: Cell | Any) -> str:
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
