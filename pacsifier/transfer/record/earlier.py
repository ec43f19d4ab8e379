"""The log table as earlier runs have left it, and what this run must know of it."""

from __future__ import annotations

import csv
import gzip
import io
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from pacsifier.transfer.model import Lasting, SeriesKey

LogRow = Mapping[str, str]
_CODES = {each.value: each for each in Lasting}


class EarlierLog:
    """The rows of a log table, in their order; none where there is no table.

    Each is read when it is asked for, from the compressed text: the rows of 100,000 series would take 120 MB, and the
    table itself is written anew while this one is still needed.
    `moved` maps a series to the AE title to which all of it was moved, and to the number of its instances; `folders` to
    where it was placed; `failed` to why and by which way it failed for good, where both are known; `claimed` are the
    series that were called complete once they were on the disk itself. Of several rows of a series, in a table that was
    put together by hand, the last counts.
    """

    def __init__(self, path: Path) -> None:
        self._packed = _packed(path)
        self.columns: tuple[str, ...] = ()
        self.moved: dict[SeriesKey, tuple[str, int]] = {}
        self.folders: dict[SeriesKey, str] = {}
        self.failed: dict[SeriesKey, tuple[Lasting, str]] = {}
        self.claimed: set[SeriesKey] = set()
        self._learn()

    def rows(self) -> Iterator[tuple[SeriesKey, LogRow]]:
        """The rows with the series that they tell of; a row that names none has a key of its own."""
        with gzip.open(
            io.BytesIO(self._packed), "rt", encoding="utf-8-sig", errors="replace", newline=""
        ) as file:
            lines = (line.replace("\0", "") for line in file)
            for number, cells in enumerate(csv.DictReader(lines)):
                row = {column: text for column, text in cells.items() if column and isinstance(text, str)}
                yield _key(row, number), row

    def _learn(self) -> None:
        columns: dict[str, None] = {}
        for key, row in self.rows():
            columns.update(dict.fromkeys(row))
            moved = row.get("FilesMoved", "")
            if moved.isdecimal() and moved.isascii():
                self.moved[key] = sys.intern(row.get("MoveDestination", "")), int(moved)
            if folder := row.get("Folder"):
                self.folders[key] = folder
            if row.get("Completed") == "True":
                self.claimed.add(key)
            else:
                self.claimed.discard(key)
            if (code := _CODES.get(row.get("FailedForGood", ""))) and (way := row.get("FailedBy")):
                self.failed[key] = code, way
            else:
                self.failed.pop(key, None)
        self.columns = tuple(columns)


def _packed(path: Path) -> bytes:
    packed = io.BytesIO()
    if path.is_file():
        with path.open("rb") as table, gzip.open(packed, "wb", compresslevel=1) as file:
            shutil.copyfileobj(table, file)
    return packed.getvalue()


def _key(row: LogRow, number: int) -> SeriesKey:
    key = sys.intern(row.get("StudyInstanceUID", "")), row.get("SeriesInstanceUID", "")
    return key if all(key) else ("", f"row {number}")
