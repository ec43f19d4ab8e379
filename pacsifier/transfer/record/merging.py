"""The tables of many parts as those of one run, and one tree of links to the patients' folders.

`merge_parts` may run at any time and again: it changes nothing in a part except a `new_id.txt` that would give two
patients one pseudonym.
"""

from __future__ import annotations

import csv
import heapq
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from pacsifier.disk.files import write_whole
from pacsifier.disk.lock import OutputLock
from pacsifier.disk.names import (
    AUDIT_NAME,
    LOG_FOLDER,
    LOG_NAME,
    PARTS_FOLDER,
    SERIES_NAME,
    SUMMARY_JSON_NAME,
    SUMMARY_NAME,
    UNEXPECTED_FOLDER,
    WORK_FOLDER,
    part_folder,
)
from pacsifier.disk.tree import Tree
from pacsifier.errors import InputError
from pacsifier.query import QueryTable, Shard
from pacsifier.transfer.model import NOTHING_MATCHES, Status
from pacsifier.transfer.record.outcomes import NOTHING_LEFT, ROWS_NAME, OpenSeries, Outcome, write_rows
from pacsifier.transfer.record.reporting import joined_totals, json_lines, rows_of
from pacsifier.transfer.record.tables import csv_lines

_Row = Mapping[str, str]
_OPEN = tuple(status.value for status in (Status.FAILED, Status.INCOMPLETE, Status.PENDING, Status.UNDECIDED))
# What one row became in several parts: the first of these that any part says.
_WORST_FIRST = ("failed", *_OPEN[1:], "not_found", "ambiguous", "complete", "listed", "excluded", "elsewhere")
_ORDER = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")


@dataclass
class MergeSummary:
    """The figures of all parts; `open_parts` are those that left something to do."""

    rows: Counter[str] = field(default_factory=Counter)
    series: Counter[str] = field(default_factory=Counter)
    files: int = 0
    patients: int = 0
    open_parts: list[int] = field(default_factory=list)
    redo: Path | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether everything asked for is there."""
        return self.redo is None and not self.problems


@dataclass
class _Part:
    """What a part left behind: the outcome and reason of its rows."""

    number: int
    folder: Path
    rows: dict[int, Outcome] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        return self.folder / LOG_FOLDER / LOG_NAME

    @property
    def has_run(self) -> bool:
        """Whether a run of it got as far as its tables."""
        return self.log.is_file()


@dataclass
class _SeriesOfRow:
    """What the log says of a row: how many series, how many are open by status, and the reason of the first."""

    total: int = 0
    open: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, str] = field(default_factory=dict)

    def outcome(self) -> Outcome:
        worst = min(self.open, key=_OPEN.index)
        return worst, OpenSeries(self.open[worst], self.total, self.reasons[worst] or worst).text()


def merge_parts(out: Path, table: QueryTable, count: int) -> MergeSummary:
    """Writes `<out>/logs/` from `<out>/parts/1` to `<count>`, and links each `sub-` folder into `<out>`.

    Raises:
        InputError: there are no such parts, or `out` holds a tree of its own.
    """
    if not (out / PARTS_FOLDER).is_dir():
        raise InputError(f"{out} holds no parts: {part_folder(out, 1)} and so on are expected")
    parts = [_Part(number, part_folder(out, number)) for number in range(1, count + 1)]
    own = [each for each in out.glob("sub-*") if not each.is_symlink()]
    if own:
        raise InputError(
            f"{out} holds {len(own)} folders of patients of its own: the parts need another folder"
        )
    summary = MergeSummary()
    with OutputLock(out) as lock:
        tree = Tree(out)
        for part in parts:
            _read_rows(part)
        series = _write_log(tree, parts, lock.staging, summary)
        _write_merged(tree, SERIES_NAME, parts, lock.staging)
        outcomes = {row: _outcome(parts, row, series) for query in table.queries for row in query.rows[:1]}
        missing = [part for part in parts if not part.has_run]
        if missing:
            _name_missing(table, missing, count, outcomes)
        for query in table.queries:
            summary.rows[outcomes[query.rows[0]][0]] += len(query.rows)
        summary.redo = write_rows(tree, table, outcomes)
        _write_report(tree, parts, lock.staging, summary)
        write_whole(tree.logs / AUDIT_NAME, _audit_lines(parts), 0o600)
        _link_patients(out, parts, summary)
        _check_new_ids(out, summary)
        _look_around(parts, summary)
    return summary


# -- what became of the rows


def _read_rows(part: _Part) -> None:
    path = part.folder / LOG_FOLDER / ROWS_NAME
    if path.is_file():
        for row in _read(path)[1]:
            part.rows[int(row["row"])] = row["outcome"], row["reason"]


def _outcome(parts: Sequence[_Part], row: int, series: Mapping[int, _SeriesOfRow]) -> Outcome:
    """The outcome of a row from all parts that asked it; a row that is nowhere is not found.

    Where a part was killed before it could say so, the log tells which series are open.
    """
    told = [(part.number, *part.rows[row]) for part in parts if row in part.rows]
    worst = min((outcome for _, outcome, _ in told), key=_WORST_FIRST.index, default="pending")
    reasons = {number: reason for number, outcome, reason in told if outcome == worst}
    if series[row].open and (worst not in _OPEN or all(map(OpenSeries.read, reasons.values()))):
        return series[row].outcome()
    if worst == "elsewhere":
        words = set(reasons.values()) - {NOTHING_MATCHES} or {NOTHING_MATCHES}
        return "not_found", " | ".join(sorted(words))
    distinct = dict.fromkeys(reasons.values())
    if len(distinct) > 1:
        return worst, "; ".join(f"part {number}: {reason}" for number, reason in reasons.items())
    return worst, next(iter(distinct), "no part has come to this row")


def _name_missing(
    table: QueryTable, missing: Sequence[_Part], count: int, outcomes: dict[int, Outcome]
) -> None:
    """A part that left no tables leaves its rows open."""
    for query in table.queries:
        row = query.rows[0]
        for part in missing:
            mine = Shard(part.number, count).asks(query)
            if mine and (outcomes[row][0] in NOTHING_LEFT or outcomes[row][0] == "not_found"):
                outcomes[row] = "pending", f"part {part.number} has not run to its tables"


# -- the log


def _write_log(
    tree: Tree, parts: Sequence[_Part], staging: Path, summary: MergeSummary
) -> Mapping[int, _SeriesOfRow]:
    """Writes the log rows of all parts; returns what they say of each query row."""
    series: dict[int, _SeriesOfRow] = defaultdict(_SeriesOfRow)
    _write_merged(tree, LOG_NAME, parts, staging, lambda rows: _counted(rows, series, summary))
    return series


def _write_merged(
    tree: Tree,
    name: str,
    parts: Sequence[_Part],
    staging: Path,
    seen: Callable[[Iterable[_Row]], Iterable[_Row]] = iter,
) -> None:
    """Writes a table of series from those of all parts in the order of one run: patient, study, series.

    One part is in memory at a time; `seen` passes on each row that is written.
    """
    columns: dict[str, None] = {}
    in_order = []
    for part in parts:
        path = part.folder / LOG_FOLDER / name
        if path.is_file():
            names, rows = _read(path)
            columns |= dict.fromkeys(names)
            in_order.append(staging / f"part-{part.number}-{name}")
            lines = csv_lines(names, ([*row.values()] for row in sorted(rows, key=_by_series)))
            write_whole(in_order[-1], lines, 0o600)
    header = list(columns)
    with ExitStack() as stack:
        merged = seen(heapq.merge(*(_stream(path, stack) for path in in_order), key=_by_series))
        lines = csv_lines(header, ([row.get(column) or "" for column in header] for row in merged))
        write_whole(tree.logs / name, lines, 0o600)


def _write_report(tree: Tree, parts: Sequence[_Part], staging: Path, summary: MergeSummary) -> None:
    """Writes what became of patients and studies; a part that left no report is missing in it."""
    paths = [part.folder / LOG_FOLDER / SUMMARY_JSON_NAME for part in parts]
    told = []
    for path in filter(Path.is_file, paths):
        totals = json.loads(path.read_text(encoding="utf-8"))
        told.append({name: value for name, value in totals.items() if name != "outcomes"})
    if told:
        _write_merged(tree, SUMMARY_NAME, parts, staging)
        with ExitStack() as stack:
            rows = rows_of(_stream(tree.logs / SUMMARY_NAME, stack))
            write_whole(
                tree.logs / SUMMARY_JSON_NAME, json_lines(joined_totals(told, summary.rows), rows), 0o600
            )


def _counted(rows: Iterable[_Row], series: dict[int, _SeriesOfRow], summary: MergeSummary) -> Iterator[_Row]:
    for row in rows:
        status = row["Status"]
        summary.series[status] += 1
        summary.files += int(row["FilesFound"] or 0)
        for number in map(int, row["query_rows"].split()):
            of_row = series[number]
            of_row.total += 1
            if status in _OPEN:
                of_row.open[status] += 1
                of_row.reasons.setdefault(status, row["Reason"])
        yield row


def _by_series(row: _Row) -> tuple[str, ...]:
    return tuple(row.get(column) or "" for column in _ORDER)


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, restval="")
        return list(reader.fieldnames or ()), list(reader)


def _stream(path: Path, stack: ExitStack) -> Iterator[dict[str, str]]:
    return csv.DictReader(stack.enter_context(path.open(encoding="utf-8", newline="")), restval="")


def _audit_lines(parts: Sequence[_Part]) -> Iterator[str]:
    for part in parts:
        path = part.folder / LOG_FOLDER / AUDIT_NAME
        if path.is_file():
            yield path.read_text(encoding="utf-8")


# -- the tree


def _link_patients(out: Path, parts: Sequence[_Part], summary: MergeSummary) -> None:
    """One link per patient; a folder name that two parts hold is linked to neither."""
    homes: dict[str, list[int]] = defaultdict(list)
    for part in parts:
        for folder in part.folder.glob("sub-*"):
            homes[folder.name].append(part.number)
    twice = {name: numbers for name, numbers in homes.items() if len(numbers) > 1}
    for both in sorted({tuple(numbers) for numbers in twice.values()}):
        summary.problems.append(
            f"{sum(tuple(each) == both for each in twice.values())} patients' folders of the same name lie in parts "
            f"{' and '.join(map(str, both))}: they are not linked; look at both"
        )
    for link in out.glob("sub-*"):
        if link.is_symlink() and (link.name in twice or link.name not in homes):
            link.unlink()
    for name, numbers in homes.items():
        link = out / name
        if name not in twice and not link.is_symlink():
            link.symlink_to(part_folder(Path(), numbers[0]) / name, target_is_directory=True)
    summary.patients = len(homes)


def _check_new_ids(out: Path, summary: MergeSummary) -> None:
    """Removes a pseudonym that parts, which do not know of each other, gave to two patients."""
    holders: dict[str, list[Path]] = defaultdict(list)
    for path in out.glob("sub-*/new_id.txt"):
        holders[path.read_text(encoding="utf-8").strip()].append(path)
    twice = [path for paths in holders.values() if len(paths) > 1 for path in paths]
    for path in twice:
        path.unlink()
    if twice:
        summary.problems.append(
            "new_ids: a pseudonym of the query would stand for two patients; its new_id.txt were removed: name the "
            "patients by PatientID"
        )


def _look_around(parts: Sequence[_Part], summary: MergeSummary) -> None:
    for part in parts:
        at_work = (part.folder / WORK_FOLDER / "holder.json").exists()
        unexpected = part.folder / LOG_FOLDER / UNEXPECTED_FOLDER
        if not part.has_run or at_work or any(row[0] not in NOTHING_LEFT for row in part.rows.values()):
            summary.open_parts.append(part.number)
        if at_work:
            summary.problems.append(
                f"part {part.number} is at work, or was killed: merge again after its end"
            )
        if unexpected.is_dir():
            summary.notes.append(f"unexpected objects: see {unexpected}")
