"""The query file: from bytes that a spreadsheet wrote to checked, frozen queries."""

from __future__ import annotations

import difflib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, repeat
from pathlib import Path
from typing import Final

from pacsifier.errors import Fault, InputError
from pacsifier.figures import counted
from pacsifier.query.attributes import QUERY_COLUMNS
from pacsifier.query.cells import NEW_IDS, Cell, read_cell
from pacsifier.query.chosen import DECIDING, SERIES_COLUMNS, is_series_table, noticed, read_deciding
from pacsifier.query.columns import ASKS, DIFFERS, WRONG, Column, PassedOver, Queries, Query, RawRows
from pacsifier.query.csvtext import BLANKS, NumberedRow
from pacsifier.query.packed import PackedRows
from pacsifier.query.spreadsheet import as_typed

_KNOWN_COLUMNS: Final = (*QUERY_COLUMNS, NEW_IDS)
# `logs/redo.csv` is made to be run again as it stands: its column `reason` asks for nothing.
_IGNORED_COLUMN: Final = "reason"
# `logs/query_rows.csv` has columns of its own beside those of the query; of `rows` the log would make `query_rows`.
_TAKEN_COLUMNS: Final = ("row", "outcome", "rows")
_LONGEST_SHOWN: Final = 100
# Of each column of a series table.
_CELLS_SHOWN: Final = 3


@dataclass(frozen=True)
class QueryTable:
    """A query file whose every row is sound.

    `columns` is the header; `raw` holds the cells of each row as they stand in the file, one for each of
    `columns`, by row number; `notes` are remarks for the user; `extra` are those of `columns` that ask for nothing.
    `chosen`: the file is a series table, of which the UIDs of each row decide alone.
    """

    path: Path
    columns: tuple[str, ...]
    queries: Sequence[Query]
    raw: Mapping[int, tuple[str, ...]]
    notes: tuple[str, ...]
    extra: tuple[str, ...] = ()
    chosen: bool = False

    @cached_property
    def carried(self) -> tuple[str, ...]:
        """Those of `extra` that are the user's own; what a series table tells, each run tells anew."""
        return tuple(name for name in self.extra if not self.chosen or name not in SERIES_COLUMNS)

    def extra_cells(self, row: int) -> dict[str, str]:
        """What a row holds in the user's own columns, trimmed."""
        if not self.carried:
            return {}
        cells = zip(self.columns, self.raw[row], strict=True)
        return {name: text.strip(BLANKS) for name, text in cells if name in self.carried}

    def told(self, row: int, *columns: str) -> dict[str, str]:
        """What a row of a series table tells of its series in these columns; "" where it has no such column."""
        cells = dict(zip(self.columns, self.raw[row], strict=True))
        return {column: as_typed(cells.get(column, "")).text for column in columns}

    def patient_ids(self) -> dict[int, Cell]:
        """The PatientID of each row, by row number; of a series table as the file has it."""
        if self.chosen:
            place = self.columns.index("PatientID") if "PatientID" in self.columns else None
            raws = {row: "" if place is None else cells[place] for row, cells in self.raw.items()}
            cells_of = {raw: read_cell("PatientID", raw) for raw in set(raws.values())}
            return {row: cells_of[raw] for row, raw in raws.items()}
        by_row = {row: query.cells.get("PatientID", "") for query in self.queries for row in query.rows}
        return {row: Cell(by_row[row]) for row in sorted(by_row)}

    def to_run_again(self, rows: Sequence[int]) -> list[int]:
        """Of rows that ask the same, those that a table of rows to run again holds: one for each that differs."""
        firsts: dict[tuple[str, ...], int] = {}
        for row in rows:
            firsts.setdefault(tuple(self.extra_cells(row).values()), row)
        return list(firsts.values())


@dataclass(frozen=True)
class Source:
    """How messages name a query and its rows; `header` is the number of its header, and none where that is below 0."""

    name: str
    header: int = 1

    def row(self, number: int) -> int:
        """How messages count a row, of which a spreadsheet counts from 1."""
        return number - 1 + self.header

    def fault(
        self, problem: str, row: int | None = None, column: str | None = None, value: str | None = None
    ) -> Fault:
        """A fault of the query, with its row as a spreadsheet counts."""
        shown = None if row is None or self.row(row) < 0 else self.row(row)
        return Fault(self.name, problem, shown, column, value)


@dataclass(frozen=True)
class _Header:
    """The names of a header, trimmed; "" where a column has none. Known columns by their index.

    `extra`: unknown columns are kept, not refused; `chosen`: it is the header of a series table.
    """

    row: int
    names: tuple[str, ...]
    extra: bool = False

    @cached_property
    def chosen(self) -> bool:
        return is_series_table(self.names)

    @cached_property
    def known(self) -> Mapping[int, str]:
        names = DECIDING if self.chosen else _KNOWN_COLUMNS
        return {index: name for index, name in enumerate(self.names) if name in names}

    def columns(self) -> list[Column | PassedOver]:
        """The columns, of which no cell was read yet."""
        read, notice = (read_deciding, noticed) if self.chosen else (read_cell, None)
        return [
            PassedOver(name, notice)
            if notice is not None
            and self._is_ignored(name)
            and name != "PatientID"
            and index not in self.known
            else Column(
                name, known=index in self.known, ignored=self._is_ignored(name), read=read, notice=notice
            )
            for index, name in enumerate(self.names)
        ]

    @cached_property
    def shown(self) -> Mapping[int, str]:
        """The columns that a table of rows shows, by their index."""
        return {i: name for i, name in enumerate(self.names) if name and name != _IGNORED_COLUMN}

    def passes_over(self, row: NumberedRow) -> bool:
        """Whether a row is one that a person has emptied: it chooses nothing."""
        return self.chosen and not any(cell.strip(BLANKS) for cell in row.cells)

    def cells(self, row: NumberedRow) -> Mapping[str, Cell]:
        """The cells of the known columns that are not empty, in the order of the documentation."""
        read = read_deciding if self.chosen else read_cell
        padded = (*row.cells, *[""] * len(self.names))
        by_name = {
            name: cell
            for i, name in self.known.items()
            if (cell := read(name, padded[i], dated=i in row.dates)).text or cell.problems
        }
        return {name: by_name[name] for name in _KNOWN_COLUMNS if name in by_name}

    def place(self, index: int) -> int:
        """The place of a known column in the documentation."""
        return _KNOWN_COLUMNS.index(self.known[index])

    def raw(self, row: NumberedRow, column: str) -> str:
        """A cell as it stands in the file, trimmed."""
        index = self.names.index(column)
        return row.cells[index].strip(BLANKS) if index < len(row.cells) else ""

    def unread(self, row: NumberedRow) -> Mapping[int, str]:
        """The cells under an unknown column or under none that are not empty, trimmed, by their index."""
        return {
            i: text.strip(BLANKS)
            for i, text in enumerate(row.cells)
            if text.strip(BLANKS) and i not in self.known and not self._is_ignored(self.name(i))
        }

    def unnamed(self, row: NumberedRow) -> dict[int, tuple[int, str]]:
        """What a row holds under empty cells of the header, by their places, with the number of the row."""
        return {
            i: (row.number, text) for i, text in self.unread(row).items() if self.names[i : i + 1] == ("",)
        }

    def _is_ignored(self, name: str) -> bool:
        return name == _IGNORED_COLUMN or ((self.extra or self.chosen) and name != "")

    def name(self, index: int) -> str:
        """The name over a cell, "" where there is none."""
        return self.names[index] if index < len(self.names) else ""


def read_query_file(path: Path, *, extra_columns: bool = False) -> QueryTable:
    """Read and check a query file: every cell is text, as written, blanks around it trimmed.

    With `extra_columns` the columns that are no query columns are kept in the table and ask for nothing. In a series
    table (both UIDs, `status` and `query_rows`) only the UIDs ask, and every other column is kept.
    Raises InputError with every fault at once: row (as a spreadsheet counts), column, value, what is allowed.
    Source: the section "Query File" of the documentation; PS3.5 6.2.
    """
    # It imports what unpacks workbooks; commands that read no query come by here, too.
    from pacsifier.query.workbook import read_rows

    rows = read_rows(path, _KNOWN_COLUMNS)
    return _checked(Source(str(path)), path, rows, extra_columns=extra_columns)


def read_query_rows(
    columns: Iterable[str], rows: Iterable[Iterable[str]], path: Path, name: str = "queries"
) -> QueryTable:
    """As `read_query_file`, of the cells that a program has; `path` is where they were written for the run.

    Faults are those of `name`, in which the first row is row 0.
    """
    numbered = (NumberedRow(number, tuple(cells)) for number, cells in enumerate(chain([columns], rows), 1))
    return _checked(Source(name, header=-1), path, numbered)


def _checked(
    source: Source, path: Path, rows: Iterator[NumberedRow], *, extra_columns: bool = False
) -> QueryTable:
    header_row = next(rows)
    names = tuple(as_typed(name).text for name in header_row.cells)
    header = _Header(header_row.number, names, extra_columns)
    faults = [*_header_faults(source, header)]
    columns = header.columns()
    packed = PackedRows() if header.chosen else None
    numbers, told = _read(source, header, rows, columns, packed)
    read = {i: column for i, column in enumerate(columns) if isinstance(column, Column)}
    by_name = {header.known[i]: read[i] for i in sorted(header.known, key=header.place)}
    if not numbers:
        faults.append(source.fault("has a header but no rows: there is nothing to ask for"))
    own = {header.names[i]: column for i, column in read.items()}
    if header.known:
        faults += [*told, *_new_id_faults(source, numbers, own)]
    if faults:
        raise InputError(*faults)
    extra = tuple(name for i, name in header.shown.items() if i not in header.known)
    queries = Queries(numbers, by_name, own.get("PatientID"))
    noted = tuple(_noted(source, numbers, dict(zip(header.names, columns, strict=True)))) if packed else ()
    return QueryTable(
        path=path,
        columns=tuple(header.shown.values()),
        queries=queries,
        raw=packed or RawRows(numbers, [read[i] for i in header.shown]),
        notes=(*_extra_notes(header, extra), *noted, *_notes(queries)),
        extra=extra,
        chosen=header.chosen,
    )


def _read(
    source: Source,
    header: _Header,
    rows: Iterable[NumberedRow],
    columns: Sequence[Column | PassedOver],
    packed: PackedRows | None,
) -> tuple[array[int], list[Fault]]:
    """Reads all rows into their columns, and into `packed` as they stand; their numbers, and the faults of each."""
    numbers = array("I")
    faults: list[Fault] = []
    unnamed: dict[int, tuple[int, str]] = {}
    adders = [column.add for column in columns]
    for row in rows:
        if header.passes_over(row):
            continue
        numbers.append(row.number)
        bits = 0
        cells = chain(row.cells, repeat(""))
        for add in adders:
            bits |= add(next(cells))
        if packed is not None:
            padded = (*row.cells, *[""] * (len(adders) - len(row.cells)))
            packed.add(row.number, [padded[i] for i in header.shown])
        sound = bits & ASKS and bits & DIFFERS and not bits & WRONG
        if not sound or row.dates or len(row.cells) > len(adders):
            faults += _row_faults(source, header, row, header.cells(row))
            unnamed = header.unnamed(row) | unnamed
    for column in columns:
        column.close()
    return numbers, [*_unnamed_faults(source, unnamed), *faults]


def _header_faults(source: Source, header: _Header) -> Iterator[Fault]:
    seen: set[str] = set()
    for name in filter(None, header.names):
        if name in seen:
            yield source.fault("the column stands twice in the header: keep one", header.row, name)
        elif header.chosen and name not in (*SERIES_COLUMNS, NEW_IDS):
            yield from (source.fault(each, header.row, _cut(name)) for each in _own(name))
        elif not header.chosen and name not in _KNOWN_COLUMNS and name != _IGNORED_COLUMN:
            yield from (source.fault(each, header.row, _cut(name)) for each in _unknown(name, header.extra))
        seen.add(name)
    if not seen.intersection(QUERY_COLUMNS):
        allowed = ", ".join(_KNOWN_COLUMNS)
        yield source.fault(f"the first row names no column to query; allowed: {allowed}", header.row)


def _unnamed_faults(source: Source, unnamed: Mapping[int, tuple[int, str]]) -> Iterator[Fault]:
    """What is wrong with columns that hold something under no name: once for each, however many rows there are."""
    for index, (row, text) in sorted(unnamed.items()):
        pandas = " (pandas writes its index so, which index=False leaves out)"
        problem = (
            f"column {index + 1} has no name in the header{'' if index else pandas}: name it, or remove it"
        )
        yield source.fault(problem, row, value=_cut(text))


def _unknown(name: str, extra: bool) -> Iterator[str]:
    """What is wrong with the name of a column that asks for nothing; `extra`: such columns are kept."""
    nearest = _nearest(name)
    if not extra:
        allowed = f"; allowed: {', '.join(_KNOWN_COLUMNS)}; others are kept with --extra_columns"
        yield f"unknown column{f': did you mean {nearest}?' if nearest else allowed}"
    elif nearest and _letters(name) == _letters(nearest):
        # Kept as an extra column, it would ask for more than its author wants.
        yield f"unknown column: write {nearest}, or give it another name"
    else:
        yield from _taken(name)


def _own(name: str) -> Iterator[str]:
    """What is wrong with the name of a column that a person added to a series table."""
    if _letters(name) == _letters(NEW_IDS):
        yield f"unknown column: write {NEW_IDS}, or give it another name"
    else:
        yield from _taken(name)


def _taken(name: str) -> Iterator[str]:
    if name.casefold() in _TAKEN_COLUMNS:
        yield "a name that the tables in logs need for themselves: give the column another name"


def _nearest(name: str) -> str | None:
    lower = {known.lower(): known for known in _KNOWN_COLUMNS}
    nearest = difflib.get_close_matches(name.lower().replace(" ", ""), lower, n=1)
    return lower[nearest[0]] if nearest else None


def _letters(name: str) -> str:
    return "".join(each for each in name.casefold() if each.isalnum())


def _extra_notes(header: _Header, extra: Sequence[str]) -> Iterator[str]:
    for name in extra:
        if header.chosen and name in SERIES_COLUMNS:
            continue
        nearest = _nearest(name)
        yield f"column {_cut(name)} asks for nothing{f'; did you mean {nearest}?' if nearest else ''}"


def _noted(
    source: Source, numbers: Sequence[int], columns: Mapping[str, Column | PassedOver]
) -> Iterator[str]:
    """What a spreadsheet did to cells of a series table that ask for nothing: the first of each column."""
    for name, column in columns.items():
        if name in DECIDING:
            continue
        places = [*column.noted()]
        for place, cell in places[:_CELLS_SHOWN]:
            raw = cell.strip(BLANKS)
            problem = f"{noticed(name, raw)}; the UIDs decide, so that it stops nothing"
            yield str(source.fault(problem, numbers[place], name, _cut(raw)))
        if len(places) > _CELLS_SHOWN:
            yield f"and {counted(len(places) - _CELLS_SHOWN, 'more cell')} of column {name}"


def _row_faults(
    source: Source, header: _Header, row: NumberedRow, cells: Mapping[str, Cell]
) -> Iterator[Fault]:
    """Every fault of one row that can be seen without the others."""
    if cells and all(cell.text.casefold() == name.casefold() for name, cell in cells.items()):
        yield source.fault("the header stands here once more: remove the row", row.number)
        return
    unread = header.unread(row)
    unnamed = [text for index, text in unread.items() if index >= len(header.names)]
    if unnamed:
        count = len([name for name in header.names if name])
        problem = (
            f"too many cells: the header names {counted(count, 'column')}, this stands under none of them"
        )
        yield source.fault(problem, row.number, value=_cut(" | ".join(unnamed)))
    if not cells and not unread:
        yield source.fault("the row is empty and would ask for everything: fill or remove it", row.number)
    elif not cells.keys() - {NEW_IDS} and not unread:
        yield source.fault(f"the row holds {NEW_IDS} only and would ask for everything", row.number)
    for name, cell in cells.items():
        for problem in cell.problems:
            yield source.fault(problem, row.number, name, _cut(header.raw(row, name)))


def _new_id_faults(source: Source, numbers: Sequence[int], columns: Mapping[str, Column]) -> Iterator[Fault]:
    """Patients that would get two pseudonyms."""
    patient_ids, new_ids = columns.get("PatientID"), columns.get(NEW_IDS)
    if patient_ids is None or new_ids is None:
        return
    # By the numbers of what the cells say: the place of the first row of each patient.
    first: dict[int, int] = {}
    for place, (patient, new_id) in enumerate(zip(patient_ids.meanings(), new_ids.meanings(), strict=True)):
        if not patient or not new_id:
            continue
        known = first.setdefault(patient, place)
        if new_ids.meaning(known) != new_id:
            problem = (
                f"the patient of this row has {new_ids.text(known)!r} in row {source.row(numbers[known])}: one "
                "patient, one pseudonym"
            )
            yield source.fault(problem, numbers[place], NEW_IDS, new_ids.text(place))


def _notes(queries: Queries) -> Iterator[str]:
    for rows in queries.several():
        yield f"rows {_and(rows)} ask the same: asked once"
    # The first patient of each pseudonym, and all of those that have several.
    first: dict[int, tuple[int, int]] = {}
    patients: dict[int, dict[int, int]] = {}
    for new_id, patient, row in queries.patients():
        known = first.setdefault(new_id, (patient, row))
        if known[0] != patient:
            patients.setdefault(new_id, dict([known])).setdefault(patient, row)
    for new_id in filter(patients.__contains__, first):
        yield f"rows {_and(tuple(patients[new_id].values()))} give several patients the same {NEW_IDS}"


def _and(numbers: Sequence[int]) -> str:
    return f"{', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"
