"""How far a transfer is: a bar on a terminal, the lines of `ticker` in a log file."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, TextIO, cast

from pacsifier.cli import common
from pacsifier.cli.streams import Unfiltered, visible
from pacsifier.cli.ticker import Ticker
from pacsifier.transfer.options import Observer


class Console(Observer):
    """Shows a transfer to a person, or to whoever reads the log file of a job; a context manager."""

    def __init__(self) -> None:
        self._ticker = Ticker()
        self._bar: Any = None
        self._task: Any = None
        self._series = 0
        self._instances: int | None = None

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

    def planned(self, series: int, instances: int | None) -> None:
        """Starts the bar."""
        self._series, self._instances = series, instances
        if sys.stderr.isatty() and series:
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

    def progress(self, series_done: int, instances: int) -> None:
        """Moves the bar, or prints a line where the last one is old."""
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
