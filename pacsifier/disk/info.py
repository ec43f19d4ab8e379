"""The info CSV beside a series folder: one header, one row."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from pacsifier.disk.files import make_folders, written_beside
from pacsifier.query.attributes import INFO_COLUMNS


def write_info(path: Path, values: Mapping[str, str | None]) -> None:
    """Writes an info CSV: one header, one row, the values as found ("" where the PACS returned none)."""
    make_folders(path.parent)
    with written_beside(path) as file:
        writer = csv.writer(file)
        writer.writerow(INFO_COLUMNS)
        # Python 3.10 refuses NUL in CSV; a text value holds one only by mistake.
        writer.writerow([(values.get(column) or "").replace("\0", "") for column in INFO_COLUMNS])


def read_info(path: Path) -> dict[str, str]:
    """The row of an info CSV by column; empty where the file cannot be read as one."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            row = next(csv.DictReader(line.replace("\0", "") for line in file), {})
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}
    return {key: value for key, value in row.items() if key and isinstance(value, str)}
