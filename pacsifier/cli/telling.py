"""An observer for two: a person at the console, and a program that reads `--json`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pacsifier.cli.events import Events
from pacsifier.cli.progress import Console
from pacsifier.transfer.model import SeriesState
from pacsifier.transfer.options import Observer
from pacsifier.transfer.record.summary import Summary

_STAGES = {"STUDY": "rows", "SERIES": "studies", "IMAGE": "series"}


def told_summary(summary: Summary) -> dict[str, Any]:
    """The figures of a run as events tell them."""
    return {
        "complete": summary.complete,
        "rows": dict(sorted(summary.outcomes.items())),
        "series": {status.value: number for status, number in summary.series.items()},
        "patients": dict(summary.patients),
        "instances": summary.instances,
        "bytes": summary.bytes,
        "unexpected": summary.unexpected,
        "problems": list(summary.problems),
        "redo": str(summary.redo) if summary.redo else None,
    }


def tell_plan(summary: Summary, events: Events) -> None:
    """Tells what each row of a dry run would bring."""
    for plan in summary.plan:
        told = asdict(plan)
        why = events.identified(reason=told.pop("reason"))
        events.emit("row", {**told, **why})


class Teller(Observer):
    """Tells both of a transfer; `stage` is what its events call the work."""

    def __init__(self, console: Console, events: Events, stage: str = "transfer") -> None:
        self._console = console
        self._events = events
        self._stage = stage
        self._series = 0
        self._instances: int | None = None
        self.tells_series = events.wanted

    def say(self, message: str) -> None:
        """Prints a line on stderr, and a warning."""
        self._console.say(message)
        self._events.warning(message)

    def finding(self, level: str, answered: int, asked: int, found: int) -> None:
        """Shows how far a find is."""
        self._console.finding(level, answered, asked, found)
        self._events.progress(f"looking up {_STAGES[level]}", answered, asked, found=found)

    def planned(self, series: int, instances: int | None) -> None:
        """Starts the bar."""
        self._series, self._instances = series, instances
        self._console.planned(series, instances)

    def progress(self, series_done: int, instances: int, size: int = 0) -> None:
        """Moves the bar."""
        self._console.progress(series_done, instances, size)
        more = {"instances": instances, "instances_total": self._instances, "bytes": size}
        self._events.progress(self._stage, series_done, self._series, **more)

    def settled(self, state: SeriesState) -> None:
        """Tells what has become of a series."""
        series = state.series
        who = self._events.identified(
            StudyInstanceUID=series.study_uid,
            SeriesInstanceUID=series.series_uid,
            PatientID=series.values.get("PatientID"),
            folder=str(state.folder) if state.folder else None,
            reason=state.reason,
        )
        counts = {"announced": series.expected, "arrived": state.files, "bytes": state.bytes}
        rows = sorted({*series.rows, *series.undecided})
        self._events.emit("series", {"status": state.status.value, "query_rows": rows, **counts, **who})

    def confirm(self, question: str) -> bool:
        """Asks a person."""
        self._events.warning(question)
        return self._console.confirm(question)
