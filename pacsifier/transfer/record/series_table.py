"""`logs/series.csv`: every series of every run into this folder, a row each, always in the same columns.

It is what a person looks at, chooses from and gives back as the query file (`query/chosen.py`). It holds identities:
0600. The rows of earlier runs are read from the old table while the new one is written, and none stays in memory.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import BinaryIO

from pacsifier.disk.files import copy_whole, write_whole
from pacsifier.disk.names import ASKED_NAME, LOG_FOLDER, SERIES_NAME
from pacsifier.disk.tree import Tree
from pacsifier.errors import InputError
from pacsifier.query import INFO_COLUMNS, SERIES_COLUMNS, QueryTable
from pacsifier.query.csvtext import rows_of
from pacsifier.transfer.model import SeriesKey, SeriesState
from pacsifier.transfer.record.asked import UNTOLD, Asked, replaces, row_numbers
from pacsifier.transfer.record.tables import csv_lines

log = logging.getLogger(__name__)

Row = dict[str, str]


def is_own_table(tree: Tree, query: Path) -> bool:
    """Whether a query file is the series table of this folder, edited where it lies."""
    path = tree.folder / LOG_FOLDER / SERIES_NAME
    return path.is_file() and query.is_file() and path.samefile(query)


class SeriesTable:
    """The series table of one run; `run` names the run in its rows, `destination` the AE title of --move.

    What earlier runs wrote is read from the file that `open` finds, also once it was replaced.
    """

    def __init__(self, tree: Tree, table: QueryTable, asked: Asked, run: str, destination: str = "") -> None:
        self._tree = tree
        self._table = table
        self._run = run
        self._destination = destination
        self._asked = asked
        self._own = [column for column in table.columns if column in ("new_ids", *table.carried)]
        # The table of earlier runs is kept beside the new one.
        self._kept = False
        self._earlier: BinaryIO | None = None

    def open(self) -> None:
        """Finds the table of earlier runs; where it is the query file itself, that is kept beside the new one."""
        path = self._tree.folder / LOG_FOLDER / SERIES_NAME
        if path.is_file():
            self._earlier = path.open("rb")
            if is_own_table(self._tree, self._table.path):
                copy_whole(path, self._tree.logs / ASKED_NAME)
                self._kept = True

    def close(self) -> None:
        """Lets go of the table of earlier runs."""
        if self._earlier is not None:
            self._earlier.close()
            self._earlier = None

    def write(self, states: Sequence[SeriesState]) -> None:
        """Writes the table: the series of this run, and those of earlier runs that it did not touch."""
        rows = self._earlier_rows()
        columns = list(dict.fromkeys((*SERIES_COLUMNS, *self._own, *next(rows, {}))))
        lines = ([row.get(column) or "" for column in columns] for row in self._rows(rows, states))
        write_whole(self._tree.logs / SERIES_NAME, csv_lines(columns, lines), 0o600)

    def _earlier_rows(self) -> Iterator[Row]:
        """The header of the table of earlier runs, as the keys of a row, and then its rows, one at a time."""
        if self._earlier is None:
            yield {}
            return
        # A person may have edited it with a spreadsheet, which has separators and encodings of its own.
        path = self._tree.folder / LOG_FOLDER / SERIES_NAME
        rows = rows_of(str(path), self._earlier, SERIES_COLUMNS)
        try:
            header = next(rows).cells
            yield dict.fromkeys(filter(None, header), "")
            for row in rows:
                yield dict(zip(header, chain(row.cells, repeat("")), strict=False))
        except InputError as error:
            self._keep_damaged(error)

    def _keep_damaged(self, error: InputError) -> None:
        """Keeps a table of earlier runs that cannot be read as a whole; no run fails for it."""
        path = self._tree.folder / LOG_FOLDER / SERIES_NAME
        if not self._kept:
            copy_whole(path, self._tree.logs / ASKED_NAME)
            self._kept = True
            log.warning("%s; it is kept as %s, and a new one is written", error, ASKED_NAME)

    def _rows(self, earlier: Iterator[Row], states: Sequence[SeriesState]) -> Iterator[Row]:
        left: dict[SeriesKey, SeriesState | None] = {}
        if self._earlier is not None:
            left = {state.series.key: state for state in states}
        for row in earlier:
            key = row.get("StudyInstanceUID", ""), row.get("SeriesInstanceUID", "")
            if key not in left:
                yield row
            elif state := left[key]:
                left[key] = None
                yield self._row(state, row) if replaces(state, row.get("folder")) else row
        for state in states:
            if state.status not in UNTOLD and left.get(state.series.key, state) is not None:
                yield self._row(state)

    def _row(self, state: SeriesState, earlier: Row | None = None) -> Row:
        if self._destination and earlier and earlier.get("folder"):
            return self._moved(state, earlier)
        series, values = state.series, state.series.values
        rows = self._asked.rows_of(series)
        return {
            **self._asked.cells(rows, self._own),
            **{column: values.get(column) or "" for column in INFO_COLUMNS},
            "announced": _number(series.announced),
            "listed": _number(None if series.instances is None else len(series.instances)),
            "arrived": str(state.files),
            "bytes": str(state.bytes),
            "folder": str(state.folder.relative_to(self._tree.folder)) if state.folder else "",
            "status": "arrived" if state.arrived else state.status.value,
            "reason": state.reason,
            "query_rows": row_numbers(rows),
            "run": self._run,
        }

    def _moved(self, state: SeriesState, earlier: Row) -> Row:
        """Of a series that was moved elsewhere and lies on disk too: its row tells what is on disk, as the log does."""
        if state.status.settled:
            return earlier
        return {**earlier, "reason": f"{self._destination}: {state.reason or state.status.value}"}


def _number(number: int | None) -> str:
    return "" if number is None else str(number)
