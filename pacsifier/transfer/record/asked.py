"""What the rows of a query say of the series that they want, for the tables of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pacsifier.query import Query, QueryTable, by_first_row
from pacsifier.query.series import Series
from pacsifier.transfer.model import SeriesState, Status

# Series that a table tells of only where it told of them before.
UNTOLD = (Status.NOT_WANTED, Status.EXCLUDED, Status.LEFT_OUT)


def replaces(state: SeriesState, folder: str | None) -> bool:
    """Whether what this run says of a series replaces what a table said: not where it only looked, or looked away.

    `folder`: where the table says that the series lies.
    """
    if state.status in (Status.LISTED, Status.UNDECIDED, Status.LEFT_OUT):
        return False
    return state.status not in UNTOLD or not folder


class Asked:
    """The rows of a query by what they want; a row's query is made when somebody asks for it."""

    def __init__(self, table: QueryTable) -> None:
        self._table = table
        self._queries = by_first_row(table.queries)

    def rows_of(self, series: Series) -> list[tuple[int, Query]]:
        """Every row that wants a series, for certain or perhaps, with what it asks."""
        firsts = sorted({*series.rows, *series.undecided})
        wanting = [self._queries[first] for first in firsts]
        return [(row, query) for query in wanting for row in query.rows]

    def cells(self, rows: Iterable[tuple[int, Query]], columns: Iterable[str]) -> dict[str, str]:
        """What these rows hold in the columns, each different cell once."""
        cells_of_rows: list[Mapping[str, str]] = [
            {**query.cells, "new_ids": query.new_id or "", **self._table.extra_cells(row)}
            for row, query in rows
        ]
        return {
            column: " | ".join(dict.fromkeys(cell for each in cells_of_rows if (cell := each.get(column))))
            for column in columns
        }


def row_numbers(rows: Iterable[tuple[int, Query]]) -> str:
    """The numbers of rows as tables hold them."""
    return " ".join(str(row) for row, _ in rows)
