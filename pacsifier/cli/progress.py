"""How far a transfer is: a bar on a terminal, the lines of `ticker` in a log file."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, TextIO, cast

from pacsifier.cli import common
from pacsifier.cli.streams import Unfiltered, moves, visible
from pacsifier.cli.ticker import Ticker
from pacsifier.figures import time_text
from pacsifier.transfer.options import Observer

# What the identifiers of each level ask about, and what its answers are.
_LEVELS = {"STUDY": ("rows", "studies"), "SERIES": ("studies", "series"), "IMAGE": ("series", "images")}
_KNOWN_AFTER_S = 2.0


def _left(passed_s: float, done: int, total: int) -> str:
    """The time left of a work that goes on as until now; "" where that cannot be known yet."""
    if passed_s < _KNOWN_AFTER_S or not done:
        return ""
    return f", {time_text(passed_s * (total - done) / done)} left"


class Console(Observer):
    """Shows a transfer to a person, or to whoever reads the log file of a job; a context manager."""

    def __init__(self) -> None:
        self._ticker = Ticker()
        self._bar: Any = None
        self._task: Any = None
        self._series = 0
        self._instances: int | None = None
        # The find that goes on, how much of it was answered, and since when.
        self._find = ("", 0)
        self._answered = 0
        self._since = 0.0

    def __enter__(self) -> Console:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, message: str) -> None:
        """Prints a line on stderr."""
        if self._bar is not None:
            self._bar.console.print(visible(message), markup=False, highlight=False)
        else:
            self._ticker.clear()
            print(message, file=sys.stderr)

    def finding(self, level: str, answered: int, asked: int, found: int) -> None:
        """Shows how far a find is; the time left is told once it can be known."""
        if (level, asked) != self._find or answered < self._answered:
            self._find, self._since = (level, asked), time.monotonic()
        self._answered = answered
        if answered < asked:
            of, what = _LEVELS[level]
            text = f"looking up {of}: {answered}/{asked}, {found} {what} found"
            self._ticker.show(f"{text}{_left(time.monotonic() - self._since, answered, asked)}")

    def planned(self, series: int, instances: int | None) -> None:
        """Starts the bar."""
        self._series, self._instances = series, instances
        if moves(sys.stderr) and series:
            from rich.console import Console as RichConsole
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TimeRemainingColumn(),
                console=RichConsole(file=cast(TextIO, Unfiltered(sys.stderr))),
            )
            self._task = self._bar.add_task(self._text(0, 0), total=instances or series)
            self._bar.start()

    def progress(self, series_done: int, instances: int, size: int = 0) -> None:
        """Moves the bar, or prints a line where the last one is old."""
        del size
        text = self._text(series_done, instances)
        if self._bar is None:
            self._ticker.show(text)
            return
        done = series_done if self._instances is None else instances
        self._bar.update(self._task, completed=done, description=text)

    def confirm(self, question: str) -> bool:
        """Asks on a terminal; without one the run goes on, with the question as a warning."""
        answer = common.ask(question)
        return super().confirm(question) if answer is None else answer

    def _text(self, series_done: int, instances: int) -> str:
        total = "" if self._instances is None else f"/{self._instances}"
        return f"{series_done}/{self._series} series, {instances}{total} instances"
