"""The log table: one current row per series, of this run and of earlier ones; the series table is written with it.

It holds identities: 0600, in `logs/` (0700), written beside and renamed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from types import MappingProxyType

from pacsifier.disk.files import write_whole
from pacsifier.disk.names import LOG_FOLDER, LOG_NAME
from pacsifier.disk.tree import Tree
from pacsifier.query import QueryTable
from pacsifier.transfer.model import SeriesKey, SeriesState, Status
from pacsifier.transfer.record.asked import UNTOLD, Asked, replaces, row_numbers
from pacsifier.transfer.record.earlier import EarlierLog, LogRow
from pacsifier.transfer.record.series_table import SeriesTable
from pacsifier.transfer.record.tables import csv_lines

_OWN_COLUMNS = ("StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "FilesFound", "Completed")
_NEW_COLUMNS = (
    *("FilesExpected", "Status", "Reason", "query_rows", "Seconds", "Bytes", "Folder"),
    *("MoveDestination", "FilesMoved"),
    *("FailedForGood", "FailedBy"),
    *("PatientID", "StudyDate", "StudyTime", "SeriesDescription"),
)
_REWRITE_S = 5.0
_NO_ROW: LogRow = MappingProxyType({})


class Journal:
    """The log table of one run in `<out>/logs/`, and the series table, in which `run` names the run."""

    def __init__(self, tree: Tree, table: QueryTable, destination: str = "", run: str = "") -> None:
        self._tree = tree
        self._destination = destination
        self._found_columns = [column for column in table.columns if column not in table.extra]
        carried = {*self._found_columns, *table.carried} - {"new_ids"}
        self._asked_columns = [column for column in table.columns if column in carried]
        self._asked = Asked(table)
        self._series_table = SeriesTable(tree, table, self._asked, run, destination)
        self.earlier = EarlierLog(tree.folder / LOG_FOLDER / LOG_NAME)
        self._states: Sequence[SeriesState] = ()
        self._written = 0.0
        self._cost_s = 0.0

    def moved_to(self, destination: str) -> dict[SeriesKey, int]:
        """The instances of each series that an earlier run moved completely to this AE title."""
        return {key: number for key, (to, number) in self.earlier.moved.items() if to == destination}

    def follow(self, states: Sequence[SeriesState]) -> None:
        """Takes the series of this run and writes the table."""
        self._tree.drop_partial_logs()
        self._states = states
        self._series_table.open()
        self.write_log()

    def close(self) -> None:
        """Lets go of what earlier runs wrote."""
        self._series_table.close()

    def tick(self) -> None:
        """Writes the log now and then: never more than a tenth of the time goes into it."""
        if time.monotonic() - self._written > max(_REWRITE_S, 10 * self._cost_s):
            self.write_log()

    def write_log(self) -> None:
        """Writes log and series table: the rows of this run, and those of earlier runs that it did not touch."""
        started = time.monotonic()
        asked = [f"query_{column}" for column in self._asked_columns]
        columns = dict.fromkeys((*self._found_columns, *_OWN_COLUMNS, *_NEW_COLUMNS, *asked))
        columns |= dict.fromkeys(self.earlier.columns)
        lines = csv_lines(
            list(columns), ([row.get(each) or "" for each in columns] for row in self._log_rows())
        )
        write_whole(self._tree.logs / LOG_NAME, lines, 0o600)
        self._series_table.write(self._states)
        self._written = time.monotonic()
        self._cost_s = self._written - started

    def _log_rows(self) -> Iterator[LogRow]:
        """The rows of earlier runs, or those of this run in their place, and then its new ones; one at a time."""
        states: dict[SeriesKey, SeriesState | None] = {}
        if self.earlier.columns:
            states.update((state.series.key, state) for state in self._states)
        for key, row in self.earlier.rows():
            state = states.get(key)
            if state is not None and replaces(state, row.get("Folder")):
                yield self._log_row(state, row)
                # A further row of it, in a table that was put together by hand, is replaced too.
                states[key] = None
            elif state is not None or key not in states:
                yield row
                states.pop(key, None)
        for state in states.values() if self.earlier.columns else self._states:
            if state is not None and state.status not in UNTOLD:
                yield self._log_row(state)

    def _log_row(self, state: SeriesState, earlier: LogRow = _NO_ROW) -> dict[str, str]:
        values = state.series.values
        rows = self._asked.rows_of(state.series)
        row = {column: values.get(column) or "" for column in self._found_columns}
        row |= {
            "StudyInstanceUID": state.series.study_uid,
            "SeriesInstanceUID": state.series.series_uid,
            "SeriesNumber": (values.get("SeriesNumber") or "").strip(),
            "FilesFound": str(state.files),
            "Completed": str(state.status.completed and not state.arrived),
            "FilesExpected": "" if state.series.expected is None else str(state.series.expected),
            "Status": "arrived" if state.arrived else state.status.value,
            "Reason": state.reason,
            "query_rows": row_numbers(rows),
            "Seconds": f"{state.seconds:.3f}",
            "Bytes": str(state.bytes),
            "Folder": str(state.folder.relative_to(self._tree.folder)) if state.folder else "",
            **self._saved(state, earlier),
            **self._move(state, earlier),
            **_failed(state),
        }
        for column in ("PatientID", "StudyDate", "StudyTime", "SeriesDescription"):
            row[column] = values.get(column) or ""
        cells = self._asked.cells(rows, ("new_ids", *self._asked_columns))
        row |= {f"query_{column}": cells[column] for column in self._asked_columns}
        return row | {"new_ids": cells["new_ids"]}

    def _saved(self, state: SeriesState, earlier: LogRow) -> dict[str, str]:
        """Of a series that was moved elsewhere and lies on disk too: what the log says of what is on disk."""
        if not self._destination or not earlier.get("Folder"):
            return {}
        columns = ("FilesFound", "Completed", "FilesExpected", "Status", "Seconds", "Bytes", "Folder")
        kept = {column: earlier.get(column) or "" for column in columns}
        return kept if state.status.settled else {**kept, "Reason": f"{self._destination}: {state.reason}"}

    def _move(self, state: SeriesState, earlier: LogRow) -> dict[str, str]:
        """To which AE title the series was last moved completely, by this run or an earlier one."""
        if self._destination and state.status is Status.COMPLETE:
            return {"MoveDestination": self._destination, "FilesMoved": str(state.files)}
        return {column: earlier.get(column) or "" for column in ("MoveDestination", "FilesMoved")}


def _failed(state: SeriesState) -> dict[str, str]:
    """Why a series failed for good, and by which way; nothing where it did not, or where that is not settled."""
    if state.lasting is None or not state.failed_by or state.status.completed:
        return {}
    return {"FailedForGood": state.lasting.value, "FailedBy": state.failed_by}
