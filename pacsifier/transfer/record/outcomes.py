"""What has become of each query row: its outcome in words, and the redo table."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from pacsifier.disk.files import write_whole
from pacsifier.disk.tree import Tree
from pacsifier.figures import counted
from pacsifier.query import QueryTable
from pacsifier.query.packed import place_of
from pacsifier.transfer.model import DROPPED, Plan, RowReport, SeriesKey, SeriesState, Status, changed
from pacsifier.transfer.record.tables import csv_lines

ROWS_NAME = "query_rows.csv"
REDO_NAME = "redo.csv"
NOTHING_LEFT = ("complete", "ambiguous", "listed", "excluded", "elsewhere")
"""The outcomes of a row that is not to be run again."""


def write_rows(tree: Tree, table: QueryTable, outcomes: Mapping[int, tuple[str, str]]) -> Path | None:
    """Writes the outcome of each query row, by its first row number, and the redo table; returns the path of that.

    None: there is no row to run again.
    """
    # A line at a time, and each pair of numbers as one: a series table may have 100,000 rows.
    rows = sorted(row << 32 | query.rows[0] for query in table.queries for row in query.rows)
    pairs = ((pair >> 32, pair & 0xFFFFFFFF) for pair in rows)
    lines = ([str(row), *outcomes[first], *table.raw[row]] for row, first in pairs)
    write_whole(tree.logs / ROWS_NAME, csv_lines(("row", "outcome", "reason", *table.columns), lines), 0o600)
    again = sorted(
        row << 32 | query.rows[0]
        for query in table.queries
        if outcomes[query.rows[0]][0] not in NOTHING_LEFT
        for row in table.to_run_again(query.rows)
    )
    path = tree.logs / REDO_NAME
    if not again:
        path.unlink(missing_ok=True)
        return None
    redo = (
        [*table.raw[pair >> 32], f"{outcome}: {reason}" if reason else outcome]
        for pair in again
        for outcome, reason in [outcomes[pair & 0xFFFFFFFF]]
    )
    write_whole(path, csv_lines((*table.columns, "reason"), redo), 0o600)
    return path


_OPEN_SERIES = re.compile(r"([0-9]+) of ([0-9]+) series; first: (.*)", re.DOTALL)


@dataclass(frozen=True)
class OpenSeries:
    """The reason of a row that has series left to do: how many, of how many, and the reason of the first.

    `query_rows.csv` holds it as text; a part counts its own series only, so a merge has to recognize it there.
    """

    number: int
    total: int
    first: str

    def text(self) -> str:
        """As a table of rows holds it."""
        return f"{self.number} of {self.total} series; first: {self.first}"

    @classmethod
    def read(cls, text: str) -> OpenSeries | None:
        """What `text` wrote; None where the reason of a row is another one."""
        found = _OPEN_SERIES.fullmatch(text)
        return cls(int(found[1]), int(found[2]), found[3]) if found else None


Outcome = tuple[str, str]
"""What has become of a row, and the reason."""


class _Outcomes(Mapping[int, Outcome]):
    """The outcome of each row by its number; most rows have become the same, and there may be 100,000."""

    def __init__(self, rows: Iterable[int], outcome_of: Callable[[int], Outcome]) -> None:
        self._rows = array("I", sorted(rows))
        kinds: dict[Outcome, int] = {}
        self._numbers = array("I", (kinds.setdefault(outcome_of(row), len(kinds)) for row in self._rows))
        self._kinds = [*kinds]

    def __getitem__(self, row: int) -> Outcome:
        return self._kinds[self._numbers[place_of(self._rows, row)]]

    def __iter__(self) -> Iterator[int]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def outcomes_of(
    rows: Mapping[int, RowReport], wanting: Mapping[int, Sequence[SeriesState]]
) -> Mapping[int, Outcome]:
    """The outcome of each row, by its first row number, from the series it wants."""
    return _Outcomes(rows, lambda row: row_outcome(rows[row], wanting.get(row, ())))


def rows_in_doubt(
    plan: Plan,
    proven: Collection[str],
    unasked: Mapping[SeriesKey, int],
    *,
    saved: bool,
    kept: Collection[str] = (),
) -> Mapping[int, RowReport]:
    """The rows' reports, with the studies entered of which something may be missing that the PACS does not list. Pure.

    `proven`: studies of which all that is announced is here; `unasked`: objects of each series that came though nobody
    asked; `saved`: images were fetched; `kept`: studies of which such objects lie in `logs/unexpected`.
    """
    failures: dict[int, str] = {}
    beyond: Counter[str] = Counter()
    if unasked:
        listed = {*plan.every, *(state.series.key for state in plan.barred)}
        for key in unasked.keys() - listed:
            beyond[key[0]] += unasked[key]
    for state in plan.states:
        if number := beyond[state.series.study_uid]:
            came = counted(number, "object")
            uid = state.series.study_uid
            words = f"of the study {uid} {came} came of series that the PACS does not list"
            where = "see logs/unexpected" if uid in kept else DROPPED
            whole = (row for row in state.series.rows if plan.rows[row].query.wants_whole_studies)
            failures.update(dict.fromkeys(whole, f"{words}: {where}"))
    for uid, shortage in plan.short.items():
        if uid not in proven:
            end = "" if saved else "; --save compares it with what is sent"
            for row in shortage.rows:
                failures.setdefault(
                    row, f"study {uid}: {shortage.counts}, and not all of it is known to be told{end}"
                )
    return changed(
        plan.rows,
        {
            row: replace(plan.rows[row], failure=plan.rows[row].failure or why)
            for row, why in failures.items()
        },
    )


class _Wanting(Mapping[int, Sequence[SeriesState]]):
    """The series that each row wants, in their order; 8 bytes for each, as 100,000 rows may want one each."""

    def __init__(self, states: Sequence[SeriesState]) -> None:
        self._states = states
        # The row above, the place of the series below.
        pairs = (
            row << 32 | place
            for place, state in enumerate(states)
            if state.status is not Status.NOT_WANTED
            for row in {*state.series.rows, *state.series.undecided}
        )
        self._pairs = array("Q", sorted(pairs))

    def __getitem__(self, row: int) -> Sequence[SeriesState]:
        first, end = (bisect_left(self._pairs, each << 32) for each in (row, row + 1))
        if first == end:
            raise KeyError(row)
        return [self._states[pair & 0xFFFFFFFF] for pair in self._pairs[first:end]]

    def __iter__(self) -> Iterator[int]:
        return (row for row, _ in groupby(pair >> 32 for pair in self._pairs))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def by_row(states: Sequence[SeriesState]) -> Mapping[int, Sequence[SeriesState]]:
    """The series that each row wants, without those that no row wants after all."""
    return _Wanting(states)


def row_outcome(report: RowReport, states: Iterable[SeriesState]) -> Outcome:
    """The outcome of a row and its reason, from its find and the series it wants. Pure.

    `elsewhere`: nothing of it is in this part of many; only the other parts know whether they have something.
    """
    outcome, reason = _row_outcome(report, list(states))
    return ("elsewhere" if report.divided and outcome == "not_found" else outcome), reason


def _row_outcome(report: RowReport, wanted: Sequence[SeriesState]) -> Outcome:
    if report.failure:
        return "failed", report.failure
    if report.not_found:
        return "not_found", report.not_found
    unsettled = [state for state in wanted if not state.status.settled]
    for status in (Status.FAILED, Status.INCOMPLETE, Status.PENDING, Status.UNDECIDED, Status.LEFT_OUT):
        of_it = [state for state in unsettled if state.status is status]
        if of_it:
            reason = OpenSeries(len(of_it), len(wanted), of_it[0].reason or status.value)
            return status.value, reason.text()
    return _settled_outcome(report, wanted)


def _settled_outcome(report: RowReport, wanted: Sequence[SeriesState]) -> Outcome:
    excluded = report.excluded + sum(state.status is Status.EXCLUDED for state in wanted)
    if excluded and all(state.status is Status.EXCLUDED for state in wanted):
        return "excluded", f"{excluded} series of excluded patients"
    if not wanted:
        return "not_found", "nothing matches once the images were read"
    if report.ambiguous:
        return "ambiguous", report.ambiguous
    return ("listed" if all(state.status is Status.LISTED for state in wanted) else "complete"), report.remark
