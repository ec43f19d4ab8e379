"""C-MOVE by movescu and C-GET by getscu: running requests, polled for what they have come to."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from pathlib import Path

from pacsifier.dcmtk import negotiation
from pacsifier.dcmtk.identifiers import Keys, remove_folder
from pacsifier.dcmtk.process import Process
from pacsifier.dcmtk.transcript import MoveState, MoveTranscript

INCOMING = "incoming"


@dataclass(frozen=True, slots=True)
class MoveRequest:
    """One C-MOVE identifier: whole studies, those series of one study that are named, or instances of one series."""

    study_uids: tuple[str, ...]
    series_uids: tuple[str, ...] = ()
    instance_uids: tuple[str, ...] = ()

    @property
    def of_one_study(self) -> bool:
        """Whether it asks for one study, all of it."""
        return len(self.study_uids) == 1 and not self.series_uids and not self.instance_uids

    def keys(self) -> Keys:
        """The identifier's keys (PS3.4 C.4.2.1.4.2); Study Root."""
        uids = {
            "StudyInstanceUID": "\\".join(self.study_uids),
            "SeriesInstanceUID": "\\".join(self.series_uids),
            "SOPInstanceUID": "\\".join(self.instance_uids),
        }
        level = "IMAGE" if self.instance_uids else "SERIES" if self.series_uids else "STUDY"
        return {"QueryRetrieveLevel": level, **{keyword: value for keyword, value in uids.items() if value}}


class Move:
    """A running movescu: poll it for what its requests have come to.

    `heard`: when the PACS was last heard of (monotonic clock); whoever sees its objects arrive says so here too.
    """

    def __init__(self, number: int, process: Process, folder: Path) -> None:
        self.process = process
        self._folder = folder
        self._output = process.log_path.open("rb")
        self._transcript = MoveTranscript()
        self._states = [MoveState(index) for index in range(number)]
        self.heard = time.monotonic()
        self.ended = False

    def poll(self) -> list[MoveState]:
        """The states that became final since the last call; after the process's end, all that remain."""
        exit_status = self.process.poll()
        data = self._output.read()
        if data:
            self.heard = time.monotonic()
        final = []
        for state in self._transcript.feed(data):
            if not self._states[state.request].final:
                self._states[state.request] = state
                if state.final:
                    final.append(state)
        if exit_status is not None and not self.ended:
            self.ended = True
            words = self._unanswered()
            final += [replace(state, status=None, words=words) for state in self._states if not state.final]
        return final

    @property
    def associated(self) -> bool:
        """Whether the PACS answered at all, pending responses included."""
        return any(state.status is not None for state in self._states)

    @property
    def admitted(self) -> bool:
        """Whether the PACS accepted the association."""
        return self._transcript.accepted

    @property
    def rejected(self) -> bool:
        """Whether the PACS answered the association request with a rejection."""
        return any("Association Rejected" in line for line in self.process.last_lines())

    def close(self) -> None:
        """Ends the process if it runs, and removes identifiers and log."""
        self.process.end()
        self._output.close()
        remove_folder(self._folder)

    def _unanswered(self) -> str:
        reasons = [line[3:] for line in self.process.last_lines() if line.startswith(("E: ", "F: "))]
        name = self.process.name
        return "; ".join(reasons) or f"{name} ended ({self.process.poll()}) without a final response"


class Get(Move):
    """A running getscu: each poll moves what it has stored to the received objects, under names used only once."""

    def __init__(self, process: Process, folder: Path, received: Path) -> None:
        super().__init__(1, process, folder)
        self._received = received
        self._stored = 0

    def poll(self) -> list[MoveState]:
        """As `Move.poll`."""
        states = super().poll()
        for name, sop_class in self._transcript.stored:
            # Another object of the same UID may be written to the old name from now on.
            self._stored += 1
            target = f"{negotiation.file_prefix(sop_class)}.{self._folder.name}.{self._stored}"
            if Path(name).parent == Path(INCOMING):
                with contextlib.suppress(FileNotFoundError):
                    (self._folder / name).rename(self._received / target)
        self._transcript.stored.clear()
        return states

    def close(self) -> None:
        """As `Move.close`; what came whole until then is kept."""
        self.process.end()
        self.poll()
        super().close()
