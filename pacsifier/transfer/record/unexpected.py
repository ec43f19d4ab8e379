"""`logs/unexpected.csv`: what lies in `logs/unexpected`, one row per object, of this run and of earlier ones."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import astuple

from pacsifier.disk.files import write_whole
from pacsifier.disk.names import LOG_FOLDER, UNEXPECTED_FOLDER, UNEXPECTED_NAME
from pacsifier.disk.tree import Tree
from pacsifier.transfer.model import Unexpected
from pacsifier.transfer.record.tables import csv_lines

_COLUMNS = (
    *("File", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "PatientID"),
    *("CallingAETitle", "SetAsideAt", "Why"),
)


def write_unexpected(tree: Tree, fresh: Iterable[Unexpected]) -> None:
    """Writes the table, where there is anything to tell: what a row names is there."""
    folder = tree.folder / LOG_FOLDER / UNEXPECTED_FOLDER
    rows = {row[0]: row for row in (*_earlier(tree), *map(astuple, fresh))}
    there = [row for name, row in rows.items() if (folder / name).is_file()]
    path = tree.folder / LOG_FOLDER / UNEXPECTED_NAME
    if there:
        write_whole(path, csv_lines(_COLUMNS, there), 0o600)
    else:
        path.unlink(missing_ok=True)


def _earlier(tree: Tree) -> Iterator[tuple[str, ...]]:
    path = tree.folder / LOG_FOLDER / UNEXPECTED_NAME
    if path.is_file():
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            for row in csv.DictReader(line.replace("\0", "") for line in file):
                yield tuple(str(row.get(column) or "") for column in _COLUMNS)
