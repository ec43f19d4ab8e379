"""How far a run is, in words: one line that moves on a terminal, a plain line now and then in a log file."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from pacsifier.cli.events import Events
from pacsifier.cli.streams import Unfiltered, moves

_PLAIN_EVERY_S = 30.0
_TERMINAL_EVERY_S = 0.2


class Ticker:
    """The progress of a run over files: called with what is done, how many, of how many; a context manager.

    `events` are told of it, too.
    """

    def __init__(self, events: Events | None = None) -> None:
        self._events = events
        self._terminal = moves(sys.stderr)
        self._said = time.monotonic()

    def __enter__(self) -> Ticker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def __call__(self, what: str, done: int, total: int, size: int | None = None, /) -> None:
        """Shows `done/total what`; a total of 0 is not known. `size` in bytes is for programs."""
        if self._events is not None:
            self._events.progress(what, done, total or None, **({} if size is None else {"bytes": size}))
        self.show(f"{done}/{total} {what}" if total else f"{done} {what}")

    def show(self, text: str) -> None:
        """Shows the text unless the last one was shown a moment ago."""
        now = time.monotonic()
        if now - self._said < (_TERMINAL_EVERY_S if self._terminal else _PLAIN_EVERY_S):
            return
        self._said = now
        self.clear()
        print(text, end="" if self._terminal else "\n", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Takes the line that moves off the terminal."""
        if self._terminal:
            Unfiltered(sys.stderr).write("\r\033[K")
