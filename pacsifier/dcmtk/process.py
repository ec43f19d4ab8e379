"""`Process`: one running DCMTK binary, for whoever waits for it, follows its log, or ends it.

It ends as a group: what the binary forked (storescp forks for each association) never outlives it. Started by
`Toolbox.start` only.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pacsifier.dcmtk import guardian
from pacsifier.dcmtk.listeners import listens
from pacsifier.dcmtk.spawn import signal_group
from pacsifier.errors import AssociationError, ToolError

log = logging.getLogger(__name__)
_LAST_LINES = 12
_LAST_BYTES = 8192
_PIECE_BYTES = 1 << 16
_POLL_S = 0.005
_START_S = 20.0
_FAILS_S = 0.5  # a server that cannot have its port has ended by then


class Process:
    """One running DCMTK binary, with its output in `log_path` (0600, removed with the staging folder)."""

    def __init__(
        self,
        name: str,
        argv: tuple[str, ...],
        command: Any,
        log_path: Path,
        done: Callable[[Process], None],
    ) -> None:
        self.name = name
        self.argv = argv
        self.log_path = log_path
        self._command = command
        self._done = done
        self._exit_status: int | None = None
        self.silenced = False
        # Why it did not reach the PACS, where a forwarder between them knows it.
        self.failure: Callable[[], AssociationError | None] = lambda: None

    @property
    def group(self) -> int:
        """The process group, which is also the process id of the binary itself."""
        return int(self._command.pid)

    def poll(self) -> int | None:
        """The exit status, or None while it runs; negative: the signal that ended it."""
        if self._exit_status is None:
            alive, exit_status = self._command.process.is_alive()
            if not alive:
                self._exit_status = int(exit_status)
                # What it forked (storescp does for each association) must not outlive it.
                signal_group(self.group, signal.SIGKILL)
                self._done(self)
        return self._exit_status

    def wait(self, timeout_s: float) -> int | None:
        """Waits at most so long for the exit status; None when the time is over."""
        deadline = time.monotonic() + timeout_s
        while self.poll() is None and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return self._exit_status

    def end(self, grace_s: float = guardian.GRACE_S) -> None:
        """Ends the whole group: SIGTERM (an SCU then aborts its association), SIGKILL after `grace_s`."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._exit_status is None:
                signal_group(self.group, number)
                self.wait(grace_s)

    def follow(self, silence_timeout_s: float) -> Iterator[bytes]:
        """Yields the log piece by piece until the process has ended; a longer silence ends it."""
        for data in self.news(silence_timeout_s):
            if data:
                yield data
            else:
                time.sleep(_POLL_S)

    def news(self, silence_timeout_s: float) -> Iterator[bytes]:
        """As `follow`, but yields b"" at once where there is nothing new."""
        heard = time.monotonic()
        with self.log_path.open("rb") as output:
            while True:
                ended = self.poll() is not None
                data = output.read(_PIECE_BYTES)
                if data:
                    heard = time.monotonic()
                elif ended:
                    return
                elif time.monotonic() - heard > silence_timeout_s:
                    log.warning("%s heard nothing for %g s and is ended", self.name, silence_timeout_s)
                    self.silenced = True
                    self.end()
                yield data

    def wait_until_it_listens(self, port: int) -> None:
        """Waits until a server accepts connections on the port.

        Raises:
            ToolError: it ended, or does not listen after 20 s.
        """
        began = time.monotonic()
        while time.monotonic() < began + _START_S:
            self.check()
            # Another program may answer there, and ours be about to fail; not where it still runs after a while.
            if _answers(port) and (listens(port, self.group) or time.monotonic() > began + _FAILS_S):
                return
            time.sleep(_POLL_S)
        raise ToolError(f"{self.name} did not listen on port {port} within {_START_S:g} s")

    def check(self) -> None:
        """Raises ToolError when a server has ended by itself."""
        if self.poll() is not None:
            raise ToolError(
                f"{self.name} ended by itself: {'; '.join(self.last_lines()) or 'no reason given'}",
                exit_status=self.poll(),
            )

    def last_lines(self) -> tuple[str, ...]:
        """The last lines of the log, for an error message (no data set is ever dumped there)."""
        with contextlib.suppress(OSError), self.log_path.open("rb") as output:
            # A long C-MOVE makes it as long as 1 kB per instance.
            output.seek(max(0, output.seek(0, os.SEEK_END) - _LAST_BYTES))
            return tuple(output.read().decode("utf-8", "replace").splitlines()[-_LAST_LINES:])
        return ()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
