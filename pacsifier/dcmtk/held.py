"""How many associations at a time a PACS admits: findscu keeps each open while the next is tried.

findscu finds a named pipe in the place of its first answer file, and cannot go on until somebody reads it. So the
association stays open without any traffic, and ends by a release once the answer is read.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from pacsifier.config import PacsConfig
from pacsifier.dcmtk.identifiers import Keys, encode_identifier
from pacsifier.dcmtk.scu import start_scu
from pacsifier.dcmtk.timeouts import Timeouts
from pacsifier.dcmtk.toolbox import Toolbox

_FIRST_ANSWER = "rsp0001.dcm"
_ACCEPTED = b"Association Accepted"
_HELD = _FIRST_ANSWER.encode()
_PATIENCE_S = 5.0
_POLL_S = 0.005


def count_admitted(
    config: PacsConfig, toolbox: Toolbox, staging: Path, timeouts: Timeouts, keys: Keys, *, most: int
) -> int | None:
    """The associations that the PACS admits at a time, tried up to `most`; None: nothing can be said.

    `keys` is a C-FIND identifier that the PACS answers with at least one data set.
    """
    held: list[_Held] = []
    try:
        while len(held) < most:
            held.append(_Held(config, toolbox, staging / f"held{len(held)}", timeouts, keys))
            if not held[-1].wait():
                return len(held) - 1 or None
            if not all(each.runs() for each in held):
                return None
        return most
    finally:
        for each in held:
            each.release()


class _Held:
    """A findscu that keeps its association open until `release`."""

    def __init__(
        self, config: PacsConfig, toolbox: Toolbox, folder: Path, timeouts: Timeouts, keys: Keys
    ) -> None:
        folder.mkdir(mode=0o700)
        (folder / "q.dcm").write_bytes(encode_identifier(keys))
        self._pipe = folder / _FIRST_ANSWER
        os.mkfifo(self._pipe, mode=0o600)
        options = ["-S", "-X", "-od", "."]
        self._process = start_scu(
            *("findscu", folder, options, ["q.dcm"]),
            config=config,
            toolbox=toolbox,
            timeouts=timeouts,
            level="INFO",
        )

    def wait(self) -> bool:
        """Whether the association was admitted, once it is known and findscu is held."""
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline and self.runs() and not self._says(_HELD):
            time.sleep(_POLL_S)
        return self._says(_ACCEPTED)

    def runs(self) -> bool:
        return self._process.poll() is None

    def release(self) -> None:
        """Reads the answer, after which findscu releases the association and ends."""
        with contextlib.suppress(OSError):
            reader = os.open(self._pipe, os.O_RDONLY | os.O_NONBLOCK)
            try:
                self._drain(reader)
            finally:
                os.close(reader)
        self._process.end()

    def _drain(self, reader: int) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while self.runs() and self._says(_HELD) and time.monotonic() < deadline:
            with contextlib.suppress(BlockingIOError):
                os.read(reader, 1 << 16)
            time.sleep(_POLL_S)

    def _says(self, words: bytes) -> bool:
        return words in self._process.log_path.read_bytes()
