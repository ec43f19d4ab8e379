"""How far a run over files is: one line that moves on a terminal, a plain line now and then in a log file."""

from __future__ import annotations

import sys
import time
from types import TracebackType

_PLAIN_EVERY_S = 30.0
_TERMINAL_EVERY_S = 0.2


class Ticker:
    """Called with what is done, how many, of how many; a context manager."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._said = time.monotonic()

    def __enter__(self) -> Ticker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Shows `done/total what`, where the last time is long enough ago."""
        now = time.monotonic()
        if now - self._said < (_TERMINAL_EVERY_S if self._terminal else _PLAIN_EVERY_S):
            return
        self._said = now
        of = f"/{total}" if total else ""
        if self._terminal:
            self._clear()
            print(f"{done}{of} {what}", end="", file=sys.stderr, flush=True)
        else:
            print(f"{done}{of} {what}", file=sys.stderr, flush=True)

    def _clear(self) -> None:
        if self._terminal:
            # The stream shows what does not print, but for what is meant to steer the terminal.
            getattr(sys.stderr, "write_as_is", sys.stderr.write)("\r\033[K")
