"""What a run writes down: the log table (a current row a series), the outcome of each query row, the redo table.

All of it holds identities: files 0600, in `logs/` (0700), written beside and renamed.
"""

from __future__ import annotations

import csv
import getpass
import hashlib
import io
import json
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import Enum
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from pacsifier import __version__
from pacsifier.config import PacsConfig
from pacsifier.query import QueryTable
from pacsifier.query.series import PackedValues, Series
from pacsifier.transfer.finding import RowReport
from pacsifier.tree import AUDIT_NAME, LOG_NAME, Tree, append_line, write_whole

if TYPE_CHECKING:
    from pacsifier.transfer.options import Options, Summary

ROWS_NAME = "query_rows.csv"
REDO_NAME = "redo.csv"
NOTHING_LEFT = ("complete", "ambiguous", "listed", "excluded", "elsewhere")
"""The outcomes of a row that is not to be run again."""

_OWN_COLUMNS = ("StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "FilesFound", "Completed")
_NEW_COLUMNS = (
    *("FilesExpected", "Status", "Reason", "query_rows", "Seconds", "Bytes", "Folder"),
    *("MoveDestination", "FilesMoved"),
    *("PatientID", "StudyDate", "StudyTime", "SeriesDescription"),
)
_REWRITE_S = 5.0
_NO_ROW = PackedValues({})


class Status(Enum):
    """What has become of a series; `PENDING` is what an interrupted run leaves."""

    PENDING = "pending"
    LISTED = "listed"
    COMPLETE = "complete"
    SKIPPED = "skipped"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    NOT_WANTED = "not_wanted"
    UNDECIDED = "undecided"
    EXCLUDED = "excluded"

    @property
    def completed(self) -> bool:
        """Whether everything of the series is where it was asked for."""
        return self in (Status.COMPLETE, Status.SKIPPED)

    @property
    def settled(self) -> bool:
        """Whether nothing is left to do for it."""
        return self.completed or self in (Status.LISTED, Status.NOT_WANTED, Status.EXCLUDED)


@dataclass(slots=True)
class SeriesState:
    """The progress of one series: `found` maps the SOP Instance UIDs in place to their sizes in bytes."""

    series: Series
    status: Status = Status.PENDING
    reason: str = ""
    found: dict[str, int] = field(default_factory=dict)
    moved: int = 0
    folder: Path | None = None
    seconds: float = 0.0
    # An object contradicted another or belongs to another patient: nothing can make this series complete.
    spoiled: str = ""
    tried: bool = False
    # Objects placed here that name another study or series in their own header.
    relabelled: int = 0
    # The last request for it ended otherwise than with Success and no failed sub-operation.
    failed: bool = False
    # The PACS refused it for good: asking again would be the same.
    refused: bool = False

    @property
    def files(self) -> int:
        """Instances on disk, or moved."""
        return len(self.found) or self.moved


class Journal:
    """The tables of one run in `<out>/logs/`."""

    def __init__(self, tree: Tree, table: QueryTable, destination: str = "") -> None:
        self._tree = tree
        self._table = table
        self._destination = destination
        self._cells = {
            row: {**query.cells, "new_ids": query.new_id or ""}
            for query in table.queries
            for row in query.rows
        }
        self._all_rows = {query.rows[0]: query.rows for query in table.queries}
        self._earlier = self._read_earlier()
        self._states: Sequence[SeriesState] = ()
        self._written = 0.0
        self._cost_s = 0.0

    def moved_earlier(self, series: Series, destination: str) -> Mapping[str, str | None] | None:
        """The earlier log row of a series that was moved completely to this AE title."""
        row = self._earlier.get(series.key)
        if not row or row.get("MoveDestination") != destination:
            return None
        moved = row.get("FilesMoved") or ""
        known = moved.isdecimal() and moved.isascii()
        return row if known and int(moved) >= (series.expected or 0) else None

    def folder_of(self, series: Series) -> str:
        """The folder in which an earlier run placed a series, as its log has it; "" where there is none."""
        return self._earlier.get(series.key, _NO_ROW).get("Folder") or ""

    def follow(self, states: Sequence[SeriesState]) -> None:
        """Takes the series of this run and writes the table."""
        self._tree.drop_partial_logs()
        self._states = states
        self.write_log()

    def tick(self) -> None:
        """Writes the log now and then: never more than a tenth of the time goes into it."""
        if time.monotonic() - self._written > max(_REWRITE_S, 10 * self._cost_s):
            self.write_log()

    def write_log(self) -> None:
        """Writes the log table: the rows of this run, and those of earlier runs that it did not touch."""
        started = time.monotonic()
        asked = [f"query_{column}" for column in self._table.columns if column != "new_ids"]
        columns = dict.fromkeys((*self._table.columns, *_OWN_COLUMNS, *_NEW_COLUMNS, *asked))
        for row in self._earlier.values():
            columns |= dict.fromkeys(row)
        lines = csv_lines(
            list(columns), ([row.get(each) or "" for each in columns] for row in self._log_rows())
        )
        write_whole(self._tree.logs / LOG_NAME, lines, 0o600)
        self._written = time.monotonic()
        self._cost_s = self._written - started

    def write_rows(self, outcomes: Mapping[int, tuple[str, str]]) -> Path | None:
        """Writes the outcome of each query row, and the redo table where one is to be run again; its path."""
        return write_rows(self._tree, self._table, outcomes)

    def write_audit(
        self, config: PacsConfig, options: Options, summary: Summary, ended: str, seconds: float
    ) -> None:
        """Appends one line of JSON about the run: who, when, how, which query, counts; no identity of a patient."""
        line = {
            "ended_at": datetime.now().astimezone().isoformat(timespec="seconds"),
            "seconds": round(seconds, 1),
            "ended": "stopped" if ended == "ended" and summary.problems else ended,
            "user": _user(),
            "host": socket.gethostname(),
            "version": __version__,
            "did": [name for name in ("save", "info", "move", "resume") if getattr(options, name)],
            "shard": str(options.shard),
            **({"retrieve_method": options.retrieve_method} if options.save else {}),
            "config": asdict(config),
            "query_sha256": _digest(self._table.path),
            "rows": dict(sorted(summary.outcomes.items())),
            "series": {status.value: number for status, number in summary.series.items()},
            "instances": summary.instances,
            "bytes": summary.bytes,
            "unexpected": summary.unexpected,
            "excluded_series": summary.excluded_series,
            "excluded_objects": summary.excluded_objects,
        }
        append_line(self._tree.logs / AUDIT_NAME, json.dumps(line))

    def _log_rows(self) -> Iterator[Mapping[str, str | None]]:
        """The rows of earlier runs, or those of this run in their place, and then its new ones; one at a time."""
        states = [state for state in self._states if state.status not in (Status.NOT_WANTED, Status.EXCLUDED)]
        told_only = (Status.LISTED, Status.UNDECIDED)
        again = {
            state.series.key: state
            for state in states
            if state.series.key in self._earlier and state.status not in told_only
        }
        for key, row in self._earlier.items():
            yield self._log_row(again[key]) if key in again else row
        for state in states:
            if state.series.key not in self._earlier:
                yield self._log_row(state)

    def _log_row(self, state: SeriesState) -> dict[str, str]:
        values = state.series.values
        wanting = sorted({*state.series.rows, *state.series.undecided})
        row = {column: values.get(column) or "" for column in self._table.columns}
        row |= {
            "StudyInstanceUID": state.series.study_uid,
            "SeriesInstanceUID": state.series.series_uid,
            "SeriesNumber": (values.get("SeriesNumber") or "").strip(),
            "FilesFound": str(state.files),
            "Completed": str(state.status.completed),
            "FilesExpected": "" if state.series.expected is None else str(state.series.expected),
            "Status": state.status.value,
            "Reason": state.reason,
            "query_rows": " ".join(
                str(each) for row_ in wanting for each in self._all_rows.get(row_, (row_,))
            ),
            "Seconds": f"{state.seconds:.3f}",
            "Bytes": str(sum(state.found.values())),
            "Folder": str(state.folder.relative_to(self._tree.folder)) if state.folder else "",
            **self._move(state),
        }
        for column in ("PatientID", "StudyDate", "StudyTime", "SeriesDescription"):
            row[column] = values.get(column) or ""
        for column in self._table.columns:
            cells = dict.fromkeys(self._cells[each].get(column, "") for each in wanting)
            asked = " | ".join(cell for cell in cells if cell)
            row["new_ids" if column == "new_ids" else f"query_{column}"] = asked
        return row

    def _move(self, state: SeriesState) -> dict[str, str]:
        """To which AE title the series was last moved completely, by this run or an earlier one."""
        if self._destination and state.status is Status.COMPLETE:
            return {"MoveDestination": self._destination, "FilesMoved": str(state.files)}
        earlier = self._earlier.get(state.series.key, _NO_ROW)
        return {column: earlier.get(column) or "" for column in ("MoveDestination", "FilesMoved")}

    def _read_earlier(self) -> dict[tuple[str, str], PackedValues]:
        path = self._tree.folder / "logs" / LOG_NAME
        if not path.is_file():
            return {}
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            lines = (line.replace("\0", "") for line in file)
            rows = [
                PackedValues({key: value for key, value in row.items() if key and isinstance(value, str)})
                for row in csv.DictReader(lines)
            ]
        return {_key(row, number): row for number, row in enumerate(rows)}


def write_rows(tree: Tree, table: QueryTable, outcomes: Mapping[int, tuple[str, str]]) -> Path | None:
    """Writes the outcome of each query row, by its first row number, and the redo table; the path of that one.

    None: there is no row to run again.
    """
    rows = sorted((row, query.rows[0]) for query in table.queries for row in query.rows)
    lines = [[str(row), *outcomes[first], *table.raw[row]] for row, first in rows]
    write_whole(tree.logs / ROWS_NAME, csv_lines(("row", "outcome", "reason", *table.columns), lines), 0o600)
    redo = [
        [*table.raw[row], f"{outcome}: {reason}" if reason else outcome]
        for row, first in rows
        if row == first
        for outcome, reason in [outcomes[first]]
        if outcome not in NOTHING_LEFT
    ]
    path = tree.logs / REDO_NAME
    if not redo:
        path.unlink(missing_ok=True)
        return None
    write_whole(path, csv_lines((*table.columns, "reason"), redo), 0o600)
    return path


def row_outcome(report: RowReport, states: Iterable[SeriesState]) -> tuple[str, str]:
    """The outcome of a row and its reason, from its find and the series it wants. Pure.

    `elsewhere`: nothing of it is in this part of many; whether another part has something, only they know.
    """
    outcome, reason = _row_outcome(report, list(states))
    return ("elsewhere" if report.divided and outcome == "not_found" else outcome), reason


def _row_outcome(report: RowReport, wanted: Sequence[SeriesState]) -> tuple[str, str]:
    if report.failure:
        return "failed", report.failure
    if report.not_found:
        return "not_found", report.not_found
    unsettled = [state for state in wanted if not state.status.settled]
    for status in (Status.FAILED, Status.INCOMPLETE, Status.PENDING, Status.UNDECIDED):
        of_it = [state for state in unsettled if state.status is status]
        if of_it:
            return (
                status.value,
                f"{len(of_it)} of {len(wanted)} series; first: {of_it[0].reason or status.value}",
            )
    return _settled_outcome(report, wanted)


def _settled_outcome(report: RowReport, wanted: Sequence[SeriesState]) -> tuple[str, str]:
    excluded = report.excluded + sum(state.status is Status.EXCLUDED for state in wanted)
    if excluded and all(state.status is Status.EXCLUDED for state in wanted):
        return "excluded", f"{excluded} series of excluded patients"
    if not wanted:
        return "not_found", "nothing matches once the images were read"
    if report.ambiguous:
        return "ambiguous", report.ambiguous
    return ("listed" if all(state.status is Status.LISTED for state in wanted) else "complete"), ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _digest(path: Path) -> str:
    """The SHA-256 of the query file; "" where it cannot be read twice."""
    if not path.is_file():
        return ""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _key(row: Mapping[str, str | None], number: int) -> tuple[str, str]:
    """The series of a log row; a row that names none keeps a place of its own."""
    key = row.get("StudyInstanceUID") or "", row.get("SeriesInstanceUID") or ""
    return key if all(key) else ("", f"row {number}")


def csv_lines(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table, one at a time: 100,000 series would be 200 MB as one text."""
    out = io.StringIO()
    plain = csv.writer(out, lineterminator="\n")
    quoted = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in chain([header], rows):
        cells = [cell.replace("\0", "") for cell in row]
        # Before Python 3.13 a carriage return alone is left without quotes, and read as the end of the row.
        (quoted if any("\r" in cell for cell in cells) else plain).writerow(cells)
        yield out.getvalue()
        out.seek(out.truncate(0))
