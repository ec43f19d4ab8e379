"""The query file: from bytes that a spreadsheet wrote to checked, frozen queries."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from pacsifier.errors import Fault, InputError
from pacsifier.query.attributes import ATTRIBUTES, QUERY_COLUMNS
from pacsifier.query.cells import NEW_IDS, Cell, read_cell
from pacsifier.query.csvtext import BLANKS, NumberedRow
from pacsifier.query.spreadsheet import as_typed
from pacsifier.query.workbook import read_rows

_KNOWN_COLUMNS: Final = (*QUERY_COLUMNS, NEW_IDS)
# `logs/redo.csv` is made to be run again as it stands: its column `reason` asks for nothing.
_IGNORED_COLUMN: Final = "reason"
# `logs/query_rows.csv` has columns of its own beside those of the query.
_TAKEN_COLUMNS: Final = ("row", "outcome")
_LONGEST_SHOWN: Final = 100


@dataclass(frozen=True)
class Query:
    """What one row asks for; rows that ask the same are one query.

    `rows` are spreadsheet row numbers (the header is row 1), ascending; `cells` holds the cells that are not
    empty, by column, of the 17 query columns only; `new_id` is the pseudonym of the row's patient.
    """

    rows: tuple[int, ...]
    cells: Mapping[str, str]
    new_id: str | None

    @property
    def wants_whole_studies(self) -> bool:
        """Whether no cell says anything of single series: all of a study that matches is wanted."""
        return all(ATTRIBUTES[column].level == "STUDY" for column in self.cells)


@dataclass(frozen=True)
class QueryTable:
    """A query file whose every row is sound.

    `columns` is the header; `raw` holds the cells of each row as they stand in the file, one for each of
    `columns`, by row number; `notes` are remarks for the user; `extra` are those of `columns` that ask for nothing.
    """

    path: Path
    columns: tuple[str, ...]
    queries: tuple[Query, ...]
    raw: Mapping[int, tuple[str, ...]]
    notes: tuple[str, ...]
    extra: tuple[str, ...] = ()

    def extra_cells(self, row: int) -> dict[str, str]:
        """What a row holds in the columns that ask for nothing, trimmed."""
        if not self.extra:
            return {}
        cells = zip(self.columns, self.raw[row], strict=True)
        return {name: text.strip(BLANKS) for name, text in cells if name in self.extra}

    def to_run_again(self, rows: Sequence[int]) -> list[int]:
        """Of rows that ask the same, those that a table of rows to run again holds: one for each that differs."""
        firsts: dict[tuple[str, ...], int] = {}
        for row in rows:
            firsts.setdefault(tuple(self.extra_cells(row).values()), row)
        return list(firsts.values())


@dataclass(frozen=True)
class _Header:
    """The names of a header, trimmed; "" where a column has none. Known columns by their index.

    `extra`: unknown columns are kept, not refused.
    """

    row: int
    names: tuple[str, ...]
    extra: bool = False

    @cached_property
    def known(self) -> Mapping[int, str]:
        return {index: name for index, name in enumerate(self.names) if name in _KNOWN_COLUMNS}

    def cells(self, row: NumberedRow) -> Mapping[str, Cell]:
        """The cells of the known columns that are not empty, in the order of the documentation."""
        by_name = {
            name: cell
            for i, name in self.known.items()
            if i < len(row.cells) and (cell := read_cell(name, row.cells[i], dated=i in row.dates)).text
        }
        return {name: by_name[name] for name in _KNOWN_COLUMNS if name in by_name}

    def raw(self, row: NumberedRow, column: str) -> str:
        """A cell as it stands in the file, trimmed."""
        return row.cells[self.names.index(column)].strip(BLANKS)

    def unread(self, row: NumberedRow) -> Mapping[int, str]:
        """The cells under an unknown column or under none that are not empty, trimmed, by their index."""
        return {
            i: text.strip(BLANKS)
            for i, text in enumerate(row.cells)
            if text.strip(BLANKS) and i not in self.known and not self._is_ignored(self.name(i))
        }

    def _is_ignored(self, name: str) -> bool:
        return name == _IGNORED_COLUMN or (self.extra and name != "")

    def name(self, index: int) -> str:
        """The name over a cell, "" where there is none."""
        return self.names[index] if index < len(self.names) else ""


def read_query_file(path: Path, *, extra_columns: bool = False) -> QueryTable:
    """Read and check a query file: every cell is text, as written, blanks around it trimmed.

    With `extra_columns` the columns that are no query columns are kept in the table and ask for nothing.
    Raises InputError with every fault at once: row (as a spreadsheet counts), column, value, what is allowed.
    Source: the section "Query File" of the documentation; PS3.5 6.2.
    """
    source = str(path)
    header_row, *rows = read_rows(path, _KNOWN_COLUMNS)
    names = tuple(as_typed(name).text for name in header_row.cells)
    header = _Header(header_row.number, names, extra_columns)
    faults = [*_header_faults(source, header)]
    if not rows:
        faults.append(Fault(source, "has a header but no rows: there is nothing to ask for"))
    if header.known:
        cells = {}
        for row in rows:
            read = header.cells(row)
            faults += _row_faults(source, header, row, read)
            cells[row.number] = {name: cell.text for name, cell in read.items()}
        faults += _new_id_faults(source, cells)
    if faults:
        raise InputError(*faults)
    shown = tuple(i for i, name in enumerate(header.names) if name and name != _IGNORED_COLUMN)
    columns = tuple(header.names[i] for i in shown)
    extra = tuple(name for name in columns if name not in _KNOWN_COLUMNS)
    return QueryTable(
        path=path,
        columns=columns,
        queries=(queries := tuple(_queries(cells))),
        raw={row.number: _raw(row.cells, shown) for row in rows},
        notes=(*_extra_notes(extra), *_notes(queries)),
        extra=extra,
    )


def _raw(cells: Sequence[str], shown: Iterable[int]) -> tuple[str, ...]:
    return tuple(cells[i] if i < len(cells) else "" for i in shown)


def _header_faults(source: str, header: _Header) -> Iterator[Fault]:
    seen: set[str] = set()
    for name in filter(None, header.names):
        if name in seen:
            yield Fault(source, "the column stands twice in the header: keep one", header.row, name)
        elif name not in _KNOWN_COLUMNS and name != _IGNORED_COLUMN:
            yield from (Fault(source, each, header.row, _cut(name)) for each in _unknown(name, header.extra))
        seen.add(name)
    if not seen.intersection(QUERY_COLUMNS):
        allowed = ", ".join(_KNOWN_COLUMNS)
        yield Fault(source, f"the first row names no column to query; allowed: {allowed}", header.row)


def _unknown(name: str, extra: bool) -> Iterator[str]:
    """What is wrong with the name of a column that asks for nothing; `extra`: such columns are kept."""
    nearest = _nearest(name)
    if not extra:
        allowed = f"; allowed: {', '.join(_KNOWN_COLUMNS)}; others are kept with --extra_columns"
        yield f"unknown column{f': did you mean {nearest}?' if nearest else allowed}"
    elif nearest and _letters(name) == _letters(nearest):
        # Kept as an extra column, it would ask for more than its author wants.
        yield f"unknown column: write {nearest}, or give it another name"
    elif name.casefold() in _TAKEN_COLUMNS:
        yield "a name that logs/query_rows.csv needs for itself: give the column another name"


def _nearest(name: str) -> str | None:
    lower = {known.lower(): known for known in _KNOWN_COLUMNS}
    nearest = difflib.get_close_matches(name.lower().replace(" ", ""), lower, n=1)
    return lower[nearest[0]] if nearest else None


def _letters(name: str) -> str:
    return "".join(each for each in name.casefold() if each.isalnum())


def _extra_notes(extra: Sequence[str]) -> Iterator[str]:
    for name in extra:
        nearest = _nearest(name)
        yield f"column {_cut(name)} asks for nothing{f'; did you mean {nearest}?' if nearest else ''}"


def _row_faults(source: str, header: _Header, row: NumberedRow, cells: Mapping[str, Cell]) -> Iterator[Fault]:
    """Every fault of one row that can be seen without the others."""
    if cells and all(cell.text.casefold() == name.casefold() for name, cell in cells.items()):
        yield Fault(source, "the header stands here once more: remove the row", row.number)
        return
    unread = header.unread(row)
    unnamed = [text for index, text in unread.items() if not header.name(index)]
    if unnamed:
        count = len([name for name in header.names if name])
        problem = f"too many cells: the header names {count} columns, this stands under none of them"
        yield Fault(source, problem, row.number, value=_cut(" | ".join(unnamed)))
    if not cells and not unread:
        yield Fault(source, "the row is empty and would ask for everything: fill or remove it", row.number)
    elif not cells.keys() - {NEW_IDS} and not unread:
        yield Fault(source, f"the row holds {NEW_IDS} only and would ask for everything", row.number)
    for name, cell in cells.items():
        for problem in cell.problems:
            yield Fault(source, problem, row.number, name, _cut(header.raw(row, name)))


def _new_id_faults(source: str, rows: Mapping[int, Mapping[str, str]]) -> Iterator[Fault]:
    """Patients that would get two pseudonyms."""
    first: dict[str, tuple[int, str]] = {}
    for number, cells in rows.items():
        patient_id, new_id = cells.get("PatientID"), cells.get(NEW_IDS)
        if patient_id is None or new_id is None:
            continue
        known_row, known_id = first.setdefault(patient_id, (number, new_id))
        if known_id != new_id:
            problem = (
                f"the patient of this row has {known_id!r} in row {known_row}: one patient, one pseudonym"
            )
            yield Fault(source, problem, number, NEW_IDS, new_id)


def _queries(rows: Mapping[int, Mapping[str, str]]) -> Iterator[Query]:
    """One query for all rows of the same cells; a query for each pseudonym, where they have several."""
    groups: dict[tuple[tuple[str, str], ...], dict[str | None, list[int]]] = {}
    for number, cells in rows.items():
        asked = tuple((name, text) for name, text in cells.items() if name != NEW_IDS)
        groups.setdefault(asked, defaultdict(list))[cells.get(NEW_IDS)].append(number)
    for asked, numbers in groups.items():
        unnamed = numbers.pop(None, [])
        for new_id, named in numbers.items() or [(None, [])]:
            # A row without pseudonym asks for what its twin asks for: it joins the first.
            yield Query(rows=tuple(sorted([*named, *unnamed])), cells=dict(asked), new_id=new_id)
            unnamed = []


def _notes(queries: Iterable[Query]) -> Iterator[str]:
    patients: dict[str, dict[str, int]] = defaultdict(dict)
    for query in queries:
        if len(query.rows) > 1:
            yield f"rows {_and(query.rows)} ask the same: asked once"
        if query.new_id and "PatientID" in query.cells:
            patients[query.new_id].setdefault(query.cells["PatientID"], query.rows[0])
    for rows in patients.values():
        if len(rows) > 1:
            yield f"rows {_and(tuple(rows.values()))} give several patients the same {NEW_IDS}"


def _and(numbers: Sequence[int]) -> str:
    return f"{', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"
