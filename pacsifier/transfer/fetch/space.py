"""Watches the room that is left in the output folder: logs and half a series must still find some."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

from pacsifier.disk.files import free_bytes
from pacsifier.transfer.options import Observer

_EVERY_S = 1.0
_ENOUGH_TO_ESTIMATE = 20
# So little is full, whatever the user allows: storescp answers with failures then.
_FULL_BYTES = 1_000_000


class DiskWatch:
    """Looks once a second at most; no PACS tells sizes, so what is ahead is estimated from what came."""

    def __init__(self, folder: Path, min_free_bytes: int, observer: Observer) -> None:
        self._folder = folder
        self._min_free_bytes = min_free_bytes
        self._observer = observer
        self._looked = 0.0
        self._warned = False

    def look(self, came: int, size: int, ahead: Callable[[], int], *, now: bool = False) -> str:
        """Why the run must stop, "" while there is room; `now`: also where it looked a moment ago.

        `came` instances of `size` bytes are there; `ahead` counts the announced ones that are not.
        """
        if not now and time.monotonic() - self._looked < _EVERY_S:
            return ""
        self._looked = time.monotonic()
        free = free_bytes(self._folder)
        if free < max(self._min_free_bytes, _FULL_BYTES):
            return (
                f"{os.strerror(errno.ENOSPC)}: only {free // 1_000_000} MB are free in the output folder "
                "(--min_free): make room, then go on with --resume"
            )
        if not self._warned and came >= _ENOUGH_TO_ESTIMATE:
            still = ahead() * size // came
            self._warned = still > free - self._min_free_bytes
            if self._warned:
                self._observer.say(
                    f"about {still // 1_000_000} MB are still to come, going by the size of those that came; "
                    f"{free // 1_000_000} MB are free in the output folder"
                )
        return ""
