"""Progress on stderr: a bar on a terminal, a plain line now and then in a log file."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, TextIO, cast

from pacsifier.cli.streams import Unfiltered, visible
from pacsifier.transfer.options import Observer

_PLAIN_EVERY_S = 30.0


class Console(Observer):
    """Shows a run to a person, or to whoever reads the log file of a job; a context manager."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._bar: Any = None
        self._task: Any = None
        self._series = 0
        self._instances: int | None = None
        self._shown = time.monotonic()

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
            print(message, file=sys.stderr)

    def planned(self, series: int, instances: int | None) -> None:
        """Starts the bar."""
        self._series, self._instances = series, instances
        if self._terminal and series:
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
        if self._bar is not None:
            done = series_done if self._instances is None else instances
            self._bar.update(self._task, completed=done, description=self._text(series_done, instances))
        elif time.monotonic() - self._shown > _PLAIN_EVERY_S:
            self._shown = time.monotonic()
            print(self._text(series_done, instances), file=sys.stderr, flush=True)

    def confirm(self, question: str) -> bool:
        """Asks on a terminal; without one the run goes on, with the question as a warning."""
        if not (self._terminal and sys.stdin is not None and sys.stdin.isatty()):
            return super().confirm(question)
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def _text(self, series_done: int, instances: int) -> str:
        total = "" if self._instances is None else f"/{self._instances}"
        return f"{series_done}/{self._series} series, {instances}{total} instances"
