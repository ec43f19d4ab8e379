"""What the first page says: figures, what was asked for and is missing, charts, runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from pacsifier import __version__
from pacsifier.deidentify import reviewed
from pacsifier.disk.names import LOG_FOLDER, REPORT_FOLDER
from pacsifier.figures import counted, size_text, time_text
from pacsifier.report import charts, facts
from pacsifier.report.charts import Bar, Span
from pacsifier.report.facts import Kind, Logs, Run, Series
from pacsifier.report.model import Report, comes_first
from pacsifier.report.words import COLOURS, UNTOLD, WORDS, date_text
from pacsifier.transfer.record.outcomes import NOTHING_LEFT, OpenSeries

_MOST_ROWS, _MOST_RUNS = 200, 12


def common(report: Report) -> dict[str, Any]:
    """What all pages of a report are told."""
    sums = facts.totals(report.series)
    identified = report.kind is Kind.IDENTIFIED
    first = [each.on_disk for each in report.series if each.on_disk and comes_first(report, each)]
    return {
        "identified": identified,
        "folder": report.folder,
        "written_at": report.written_at.strftime("%Y-%m-%d %H:%M"),
        "version": __version__,
        "figures": list(_figures(report, sums)),
        "logs": report.logs,
        "states": _states(sums),
        "asked": list(_asked(report.logs)),
        "rows": report.logs.rows[:_MOST_ROWS],
        "more_rows": max(len(report.logs.rows) - _MOST_ROWS, 0),
        "missing": _missing(report) if identified else None,
        "again": report.again,
        "charts": [each for each in _charts(report) if each],
        "runs": [_run(each) for each in reversed(report.logs.runs[-_MOST_RUNS:])],
        "more_runs": max(len(report.logs.runs) - _MOST_RUNS, 0),
        "notes": _notes(report),
        "beside": report.beside,
        "cleaned": bool(report.beside.looks),
        "to_review": sum(each.unclaimed > 0 for each in first),
        "blanked": len(first),
        "total": len(report.series),
        "kind": reviewed.KIND,
        "answers": [reviewed.ALL_GONE, reviewed.LEAVE_OUT],
    }


def _figures(report: Report, sums: facts.Totals) -> Iterator[tuple[str, str, str]]:
    """Number, what it counts, and a remark."""
    yield f"{sums.patients:,}", "patients", ""
    yield f"{sums.studies:,}", "studies", ""
    listed = f"{sums.here:,} of them here" if sums.here != sums.series else ""
    yield f"{sums.series:,}", "series", listed
    announced = f"of {sums.announced:,} announced" if sums.announced is not None and report.logs.there else ""
    yield f"{sums.images:,}", "images here", announced
    yield size_text(sums.bytes), "on disk", ""
    if report.kind is Kind.IDENTIFIED and report.logs.there:
        number = "?" if sums.missing is None else f"{sums.missing:,}"
        what = counted(sums.open_series, "series", "series")
        yield (
            number,
            "images missing",
            f"in {what}" if sums.open_series else "everything that was to come is here",
        )


def _states(sums: facts.Totals) -> dict[str, Any] | None:
    """The states of all series as one bar, with its legend; None where nothing tells them."""
    parts = [
        Bar(WORDS.get(status, status) or UNTOLD, number, f"{number:,}", COLOURS.get(status, "c2"))
        for status, number in sums.statuses
    ]
    if not parts or {status for status, _ in sums.statuses} == {facts.UNKNOWN}:
        return None
    said = ", ".join(f"{each.text} {each.label}" for each in parts)
    return {"svg": charts.stacked(f"Series by what became of them: {said}", parts), "parts": parts}


def _asked(logs: Logs) -> Iterator[tuple[str, str]]:
    """What was asked for, in words; of patients, by the last run."""
    if not logs.there:
        return
    outcomes = Counter(row.outcome for row in logs.rows)
    if logs.rows:
        told = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in sorted(outcomes.items()))
        yield counted(len(logs.rows), "row of the query", "rows of the query"), told
    patients = {name: number for name, number in logs.patients.items() if number}
    if asked := patients.pop("asked", None):
        told = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in patients.items())
        yield counted(asked, "patient asked for by PatientID", "patients asked for by PatientID"), told


def _missing(report: Report) -> dict[str, Any] | None:
    """What is missing, series by series and row by row; None where nothing is, or nothing tells."""
    open_series = [each for each in report.series if each.is_open]
    rows = [row for row in report.logs.rows if row.outcome not in NOTHING_LEFT]
    # Others have series, which are told one by one.
    unseen = [row for row in rows if not OpenSeries.read(row.reason)]
    if not open_series and not unseen:
        return None
    return {
        "series": [_missing_series(each) for each in open_series[:_MOST_ROWS]],
        "more_series": max(len(open_series) - _MOST_ROWS, 0),
        "rows": unseen[:_MOST_ROWS],
        "more_rows": max(len(unseen) - _MOST_ROWS, 0),
    }


def _missing_series(each: Series) -> dict[str, Any]:
    return {
        "patient": each.values.get("PatientID") or UNTOLD,
        "date": date_text(each.values.get("StudyDate") or ""),
        "modality": each.modality,
        "description": each.values.get("SeriesDescription") or "",
        "here": each.here,
        "announced": "?" if each.announced is None else each.announced,
        "status": WORDS.get(each.status, each.status),
        "colour": COLOURS.get(each.status, "c2"),
        "reason": each.reason,
    }


def _notes(report: Report) -> list[str]:
    """What is not known, and what else should be known."""
    said = list(report.logs.notes)
    if report.kind is Kind.IDENTIFIED and not report.logs.there:
        said.append(
            "There are no logs here (the folder was moved, or another program made it): what was asked for, whether "
            "all of it came, and when, is not known. What is told here was read from the images."
        )
    if report.kind is Kind.ANONYMIZED and not report.beside.there:
        said.append(
            "The tables of pacsifier-anonymize are not beside this folder: why a mark says NO, and what was found in "
            "pixels, is not known. With --key the report finds them beside the key."
        )
    broken = sum(each.on_disk.broken for each in report.series if each.on_disk)
    if broken:
        said.append(f"{counted(broken, 'file is', 'files are')} cut or damaged.")
    if report.unread:
        said.append(f"{counted(report.unread, 'file or link', 'files or links')} cannot be read.")
    if report.others:
        files = counted(report.others, "file in the folder is", "files in the folder are")
        said.append(f"{files} no DICOM image.")
    # Those of the folder itself were read.
    others = [each for each in report.notes if not each.startswith((f"{LOG_FOLDER}: ", f"{REPORT_FOLDER}: "))]
    if others and report.kind is Kind.ANONYMIZED:
        # The names of folders may be those of patients.
        others = [f"{counted(len(others), 'folder')} with logs of a run passed over, not read."]
    return [*said, *others]


# --- charts -------------------------------------------------------------------------------------------------------


def _charts(report: Report) -> Iterator[dict[str, Any] | None]:
    yield _modalities(report.series)
    yield _months(report)
    yield _pace(report)
    yield _line_of_runs(report.logs.runs)


def _modalities(series: Sequence[Series]) -> dict[str, Any] | None:
    amounts = facts.by_modality(series)
    if not amounts:
        return None
    rows = [Bar(each.name, each.bytes, size_text(each.bytes)) for each in amounts[:12]]
    return {
        "title": "Size by modality",
        "svg": charts.bars("Size on disk by modality", rows),
        "head": ("modality", "series", "images", "size"),
        "table": [
            (each.name, f"{each.series:,}", f"{each.images:,}", size_text(each.bytes)) for each in amounts
        ],
        "remark": "",
    }


def _months(report: Report) -> dict[str, Any] | None:
    months, undated = facts.studies_by_month(report.series)
    if not months:
        return None
    remark = f"{counted(undated, 'study has', 'studies have')} no whole date." if undated else ""
    if report.kind is Kind.ANONYMIZED:
        remark = f"{remark} Dates as the images tell them now: they may be shifted.".strip()
    unit = "year" if len(months[0][0]) == 4 else "month"
    return {
        "title": f"Studies by {unit}",
        "svg": charts.columns(
            f"Studies by {unit}", [Bar(name, number) for name, number in months], " studies"
        ),
        "head": (unit, "studies"),
        "table": [(name, f"{number:,}") for name, number in months if number],
        "remark": remark,
    }


def _pace(report: Report) -> dict[str, Any] | None:
    """How fast images arrived, in the last run that brought any."""
    run = next((each for each in reversed(report.logs.runs) if each.bytes), None)
    made = facts.pace(report.series, run) if run else None
    if run is None:
        return None
    base = {"title": "Throughput of the last run that brought images", "head": (), "table": []}
    if made is None:
        return {
            **base,
            "svg": "",
            "remark": "The files are not as old as the run (they were copied): when each came is not known.",
        }
    began = datetime.fromtimestamp(made.began_s).astimezone()
    step = made.step_s
    values = [
        Bar(_since(at * step, step), number / step / 1e6, f"{size_text(number / step)}/s", "c3")
        for at, number in enumerate(made.bytes)
    ]
    fast = f"{size_text(run.bytes)} in {time_text(run.seconds)}, {size_text(run.bytes_per_s)}/s on average"
    said = f"{fast}; the first image came at {began:%H:%M:%S}"
    return {
        **base,
        "svg": charts.columns(f"Throughput over time: {said}", values, " MB/s"),
        "remark": f"{said}.",
    }


def _since(seconds: float, step_s: float) -> str:
    """A moment of a run, counted from its first image."""
    if step_s < 1:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02}"
    return f"{whole // 3600}:{whole % 3600 // 60:02} h"


def _line_of_runs(runs: Sequence[Run]) -> dict[str, Any] | None:
    if len(runs) < 2:
        return None
    spans = [
        Span(
            each.began_s,
            each.ended_at.timestamp(),
            f"{_moment(each)}: {' '.join(each.did)}, {counted(each.instances, 'image')}",
            "c1" if each.ended == "ended" else "warn",
        )
        for each in runs
    ]
    first, last = min(runs, key=lambda each: each.began_s), max(runs, key=lambda each: each.ended_at)
    began = datetime.fromtimestamp(first.began_s).astimezone()
    return {
        "title": "Time line of the runs",
        "svg": charts.time_line(
            f"{len(runs)} runs", spans, f"{began:%Y-%m-%d %H:%M}", f"{last.ended_at:%Y-%m-%d %H:%M}"
        ),
        "head": (),
        "table": [],
        "remark": "Each is told in the table of runs.",
    }


def _moment(run: Run) -> str:
    return f"{run.ended_at:%Y-%m-%d %H:%M}"


def _run(run: Run) -> dict[str, str]:
    return {
        "ended_at": _moment(run),
        "took": time_text(run.seconds),
        "did": ", ".join(run.did),
        "ended": run.ended,
        "series": f"{run.series:,}",
        "images": f"{run.instances:,}",
        "size": size_text(run.bytes) if run.bytes else "",
        "pace": f"{size_text(run.bytes_per_s)}/s" if run.bytes and run.seconds else "",
    }
