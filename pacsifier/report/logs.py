"""What the logs of a folder tell; that any is missing, damaged, or of another version, is said, and no error."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from pacsifier.disk.names import AUDIT_NAME, LOG_FOLDER, LOG_NAME, SERIES_NAME, SUMMARY_JSON_NAME
from pacsifier.disk.walk import is_own_logs
from pacsifier.errors import InputError
from pacsifier.query import SERIES_COLUMNS
from pacsifier.query.csvtext import read_csv
from pacsifier.report.facts import Logged, Logs, Row, Run
from pacsifier.transfer.record.outcomes import REDO_NAME, ROWS_NAME

_RUN_WORDS = ("save", "move", "info", "resume")
_NO_QUERY = frozenset(("row", "outcome", "reason"))


def read_logs(folder: Path) -> Logs:
    """What the logs in a folder of images tell."""
    home = folder / LOG_FOLDER
    if not is_own_logs(home):
        return Logs()
    notes: list[str] = []
    return Logs(
        there=True,
        series=tuple(_series(home, notes)),
        runs=tuple(_runs(home / AUDIT_NAME)),
        rows=tuple(map(_row, _table(home / ROWS_NAME, notes))),
        patients=_patients(home / SUMMARY_JSON_NAME),
        has_redo=(home / REDO_NAME).is_file(),
        notes=tuple(notes),
    )


def _series(home: Path, notes: list[str]) -> Iterator[Logged]:
    """By the series table; by the log table where a run of an earlier version left no other."""
    if (home / SERIES_NAME).is_file():
        rows = (_of_series_table(row) for row in _table(home / SERIES_NAME, notes))
    else:
        rows = (_of_log(row) for row in _table(home / LOG_NAME, notes))
    return (row for row in rows if all(row.key))


def _of_series_table(row: Mapping[str, str]) -> Logged:
    return Logged(
        key=(row.get("StudyInstanceUID", ""), row.get("SeriesInstanceUID", "")),
        values=row,
        status=row.get("status", ""),
        reason=row.get("reason", ""),
        announced=_larger(_number(row.get("announced")), _number(row.get("listed"))),
        arrived=_number(row.get("arrived")),
        bytes=_number(row.get("bytes")),
        folder=row.get("folder", ""),
        run=row.get("run", ""),
    )


def _of_log(row: Mapping[str, str]) -> Logged:
    return Logged(
        key=(row.get("StudyInstanceUID", ""), row.get("SeriesInstanceUID", "")),
        values=row,
        status=row.get("Status") or ("complete" if row.get("Completed") == "True" else "incomplete"),
        reason=row.get("Reason", ""),
        announced=_number(row.get("FilesExpected")),
        arrived=_number(row.get("FilesFound")),
        bytes=_number(row.get("Bytes")),
        folder=row.get("Folder", ""),
    )


def _row(row: Mapping[str, str]) -> Row:
    asked = ", ".join(f"{name} {text}" for name, text in row.items() if text and name not in _NO_QUERY)
    return Row(row.get("row", ""), row.get("outcome", ""), row.get("reason", ""), asked)


def _table(path: Path, notes: list[str]) -> Iterator[dict[str, str]]:
    """The rows of a table by column; none where it is not there or cannot be read, which is noted."""
    if not path.is_file():
        return
    try:
        rows = read_csv(path, SERIES_COLUMNS)
        header = next(rows).cells
        for row in rows:
            yield dict(zip(header, chain(row.cells, repeat("")), strict=False))
    except InputError:
        notes.append(f"{LOG_FOLDER}/{path.name} cannot be read as a table: what it tells is not known")


def _runs(path: Path) -> Iterator[Run]:
    for line in _lines(path):
        try:
            told = json.loads(line)
            yield Run(
                ended_at=datetime.fromisoformat(told["ended_at"]).astimezone(),
                seconds=float(told["seconds"]),
                did=tuple(word for word in _RUN_WORDS if word in told["did"]),
                ended=str(told.get("ended", "ended")),
                series=sum(told.get("series", {}).values()),
                instances=int(told.get("instances", 0)),
                bytes=int(told.get("bytes", 0)),
                name=str(told.get("run", "")),
            )
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            continue


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _patients(path: Path) -> dict[str, int | None]:
    try:
        told: Any = json.loads(path.read_text(encoding="utf-8"))["patients"]
        return {str(name): None if number is None else int(number) for name, number in told.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _number(text: str | None) -> int | None:
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdigit() else None


def _larger(one: int | None, other: int | None) -> int | None:
    return max((each for each in (one, other) if each is not None), default=None)
