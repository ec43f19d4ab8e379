"""From what the finds brought to what the run will do: which series, in which order, and what is told before. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from pacsifier.figures import counted
from pacsifier.query import Query
from pacsifier.query.series import Series
from pacsifier.transfer.model import (
    Found,
    Note,
    Plan,
    Question,
    RowReport,
    SeriesKey,
    SeriesState,
    Shortage,
    Status,
    changed,
    telling,
)
from pacsifier.transfer.options import Options

_ASK_ABOVE_SERIES = 500
_NAMED = ("PatientID", "AccessionNumber", "PatientName", "StudyInstanceUID", "SeriesInstanceUID")
_LINES_OF_A_KIND = 20


def make_plan(found: Found, options: Options, moved: Mapping[SeriesKey, int] | None = None) -> Plan:
    """The states of the series to list, fetch or move, in the order of the work.

    `moved`: of an earlier run to the same AE title, the instances moved of each series (--move --resume).
    """
    allowed = [series for series in found.series if series.values.get("PatientID") not in options.excluded]
    barred = [series for series in found.series if series.values.get("PatientID") in options.excluded]
    ordered = sorted(allowed, key=lambda series: (series.values.get("PatientID") or "", *series.key))
    if options.limit is not None:
        # What no row may want after all does not take the place of what one wants for certain.
        ordered.sort(key=lambda series: not series.rows)
    states = tuple(_state_of(series, options, moved or {}) for series in ordered)
    beyond = states[len(states) if options.limit is None else options.limit :]
    for state in beyond:
        state.leave_out()
    return Plan(
        states=states,
        rows=_rows(found.rows, barred),
        sop_classes=found.sop_classes,
        series_of_study=found.series_of_study,
        notes=(*_notes(found.rows), *_short_notes(found.short)),
        questions=() if options.list_all else tuple(_questions(found)),
        last_note=f"--limit: {options.limit} of {len(ordered)} series taken" if beyond else "",
        barred=tuple(map(_barred, barred)),
        short=found.short,
    )


def within_limit(states: Sequence[SeriesState], limit: int | None) -> list[SeriesState]:
    """Those left out by --limit that are to be taken, since as many before them were not wanted after all."""
    left = [state for state in states if state.status is Status.LEFT_OUT]
    unwanted = sum(state.status in (Status.NOT_WANTED, Status.EXCLUDED) for state in states)
    return left[: max(0, (limit or 0) - (len(states) - len(left) - unwanted))]


def rows_of(series: Series) -> set[int]:
    """The rows that want a series, for certain or perhaps."""
    return {*series.rows, *series.undecided}


def untold_columns(series: Series) -> str:
    """The columns of which the PACS told too little, as one text."""
    return ", ".join(sorted({column for columns in series.undecided.values() for column in columns}))


def _rows(reports: Mapping[int, RowReport], barred: Iterable[Series]) -> Mapping[int, RowReport]:
    """The rows' reports with the series of excluded patients entered."""
    excluded = Counter(row for series in barred for row in rows_of(series))
    return changed(
        reports,
        {
            row: replace(reports[row], excluded=reports[row].excluded + number)
            for row, number in excluded.items()
        },
    )


def _state_of(series: Series, options: Options, moved: Mapping[SeriesKey, int]) -> SeriesState:
    state = SeriesState(series)
    if options.move:
        _plan_move(state, options, moved)
    elif not options.save:
        state.list()
        if not series.rows:
            state.leave_undecided(f"unverified: the PACS does not tell {untold_columns(series)}")
    return state


def _barred(series: Series) -> SeriesState:
    state = SeriesState(series)
    state.exclude("the patient is excluded")
    return state


def _plan_move(state: SeriesState, options: Options, moved: Mapping[SeriesKey, int]) -> None:
    """Of what goes elsewhere no image can be looked at: the PACS must have told enough."""
    series = state.series
    if options.excluded and not series.values.get("PatientID"):
        state.leave_undecided(
            "the PACS does not tell PatientID; --move cannot tell whether the patient is excluded"
        )
    elif not series.rows:
        untold = untold_columns(series)
        state.leave_undecided(f"the PACS does not tell {untold}; --move cannot decide by the images")
    elif options.resume and series.key in moved and moved[series.key] >= (series.expected or 0):
        state.skip(moved=moved[series.key])


def first_of_each_kind(notes: Iterable[Note], most: int = _LINES_OF_A_KIND) -> tuple[list[str], list[str]]:
    """The first lines of each kind, with a count of the others, and those others. Pure."""
    told: list[str] = []
    others: dict[str, list[str]] = defaultdict(list)
    number: Counter[str] = Counter()
    for note in notes:
        number[note.kind] += 1
        (told if number[note.kind] <= most else others[note.kind]).append(note.words)
    told += [f"and {counted(len(lines), 'more row')} {kind}" for kind, lines in others.items()]
    return told, [line for lines in others.values() for line in lines]


def _notes(reports: Mapping[int, RowReport]) -> Iterator[Note]:
    for row, report in telling(reports).items():
        not_found = "" if report.divided else report.not_found
        told = {
            "that failed": report.failure,
            "that matched nothing": not_found,
            "that are ambiguous": report.ambiguous,
            "of which the PACS tells otherwise than the table": report.remark,
        }
        yield from (Note(kind, f"row {row}: {each}") for kind, each in told.items() if each)
        if report.lenient:
            columns = ", ".join(sorted(report.lenient))
            words = f"row {row}: {columns} matched only without regard to case, accents or parts"
            yield Note("that matched only leniently", words)
        if report.empty:
            columns = ", ".join(f"{column} ({number})" for column, number in sorted(report.empty.items()))
            words = f"row {row}: series that came with an empty value were taken as not matching: {columns}"
            yield Note("with series that came with an empty value", words)


def _short_notes(short: Mapping[str, Shortage]) -> Iterator[Note]:
    for shortage in short.values():
        rows = ", ".join(map(str, shortage.rows))
        words = f"row {rows}: {shortage.counts}, asked with and without counts"
        yield Note("of whose studies fewer series are listed than announced", words)


def _questions(found: Found) -> Iterator[Question]:
    """Whether to go on with rows that name nobody and match many series."""
    wanted = Counter(row for series in found.series for row in rows_of(series))
    for row, report in found.rows.items():
        if wanted[row] > _ASK_ABOVE_SERIES and not _names_anybody(report.query):
            yield Question(
                f"row {row} names no patient, accession or UID and matches {wanted[row]} series; go on?",
                f"row {row} was not confirmed; narrow it, or give --yes or --limit",
            )


def _names_anybody(query: Query) -> bool:
    return any(column in query.cells for column in _NAMED)
