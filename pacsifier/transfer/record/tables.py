"""Tables as CSV, one line at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain


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
