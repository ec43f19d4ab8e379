"""Upload: every DICOM file below a folder to the PACS; a file that is not DICOM or is refused is named."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pacsifier.config import PacsConfig
from pacsifier.dcmtk.negotiation import syntax_name
from pacsifier.dcmtk.storescu import Sendable, associations, store
from pacsifier.dcmtk.timeouts import Timeouts
from pacsifier.dcmtk.toolbox import Toolbox
from pacsifier.dcmtk.transcript import StoreEnd
from pacsifier.dicom import kinds
from pacsifier.dicom.kinds import Kind
from pacsifier.disk.lock import temporary_folder
from pacsifier.disk.names import is_by_product
from pacsifier.disk.walk import Walk
from pacsifier.errors import AssociationError, InputError
from pacsifier.query import is_uid
from pacsifier.transfer.options import Observer
from pacsifier.transfer.retry import Retry

log = logging.getLogger(__name__)

_WHY_NOT = {
    Kind.LINKED_FOLDER: Kind.LINKED_FOLDER.value,
    Kind.FOLDER: Kind.FOLDER.value,
    Kind.SPECIAL: "not a regular file",
    Kind.DEAD_LINK: "{}",
    Kind.UNREADABLE: "{}",
    Kind.BARE: "not a DICOM file",
    Kind.OTHER: "not a DICOM file",
    Kind.NOT_WHOLE: "not whole: {}",
}


@dataclass
class UploadSummary:
    """The outcome of an upload; `failures` holds each file that the PACS does not have, with the reason.

    `encoded` files are stored in another uncompressed transfer syntax than their own; `notes` are the logs of ours that
    were passed over.
    """

    files: int = 0
    stored: int = 0
    encoded: int = 0
    failures: list[tuple[Path, str]] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


def upload(
    config: PacsConfig, folder: Path, toolbox: Toolbox, observer: Observer, timeouts: Timeouts
) -> UploadSummary:
    """Sends every DICOM file below `folder`, read-only, and reads the outcome of each.

    Raises:
        InputError: the folder is not there, holds no file, or lies in logs of ours.
        AssociationError: there was no association at all.
        ToolError: storescu is missing.
    """
    started = time.monotonic()
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder ('--upload_directory')")
    toolbox.require(["storescu"])
    summary = UploadSummary()
    files = _sendable(folder, summary)
    if not summary.files:
        raise InputError(f"{folder}: holds no file to upload", *summary.notes)
    observer.planned(len(files), len(files))
    sender = _Sender(config, toolbox, observer, timeouts, summary)
    for part in associations(files):
        sender.send(part)
    summary.seconds = time.monotonic() - started
    return summary


class _Sender:
    """Sends files that fit into one association, those that were cut off again, and notes every outcome once."""

    def __init__(
        self,
        config: PacsConfig,
        toolbox: Toolbox,
        observer: Observer,
        timeouts: Timeouts,
        summary: UploadSummary,
    ) -> None:
        self._config = config
        self._toolbox = toolbox
        self._observer = observer
        self._timeouts = timeouts
        self._summary = summary
        self._retry = Retry(timeouts.retry_wait_s)
        self._associated = False

    def send(self, files: Sequence[Sendable]) -> None:
        """Sends the files; raises AssociationError when there never was an association."""
        repeats = 0
        while files:
            stored = self._summary.stored
            lost = self._try(files, last=self._retry.wait_s(repeats) is None)
            if self._summary.stored > stored:
                repeats = 0
            wait_s = self._retry.wait_s(repeats)
            if not lost or wait_s is None:
                self._summary.failures += [(file.path, words) for file, words in lost]
                return
            log.warning("%d files were cut off; they are sent again in %.1f s", len(lost), wait_s)
            time.sleep(wait_s)
            repeats += 1
            # The one that was in flight goes last: should it be what ends the association, the others are not held up.
            files = [file for file, _ in (*lost[1:], lost[0])]

    def _try(self, files: Sequence[Sendable], *, last: bool) -> list[tuple[Sendable, str]]:
        """Sends over one association; returns what was not answered, with the reason."""
        lost = []
        with temporary_folder() as working:
            try:
                for file, end in store(self._config, self._toolbox, working, files, self._timeouts):
                    if end.lost:
                        lost.append((file, end.words))
                    else:
                        self._note(file, end)
                self._associated = True
            except AssociationError as error:
                if not self._associated and (last or not error.temporary):
                    raise
                return [(file, str(error)) for file in files]
        return lost

    def _note(self, file: Sendable, end: StoreEnd) -> None:
        log.info("%s: %s", file.sop_class, end.words)
        if end.stored:
            self._summary.stored += 1
            self._summary.encoded += end.encoded
        else:
            self._summary.failures.append((file.path, _not_taken(file) if end.no_context else end.words))
        self._observer.progress(self._summary.stored, self._summary.stored)


def _not_taken(file: Sendable) -> str:
    """Why a file could not be offered so that the PACS would take it, and the remedy."""
    refused = f"not sent: no presentation context: the PACS does not take the SOP class {file.sop_class} in"
    if not file.form:
        return f"{refused} any uncompressed transfer syntax: have it accept this class"
    return (
        f"{refused} the compressed transfer syntax {syntax_name(file.transfer_syntax)}, and nothing is decompressed on "
        "the way: have it accept that, or upload a copy that you decompress (DCMTK's dcmdjpeg, dcmdjpls, dcmdrle, or "
        "gdcmconv --raw)"
    )


def _sendable(folder: Path, summary: UploadSummary) -> list[Sendable]:
    files = []
    walk = Walk(folder)
    for path in walk:
        file = _examined(path)
        if isinstance(file, Sendable):
            files.append(file)
        elif is_by_product(path.name):
            continue
        else:
            summary.failures.append((path, file))
        summary.files += 1
    summary.notes = walk.notes
    return files


def _examined(path: Path) -> Sendable | str:
    """A file that can be sent, or the reason why it cannot."""
    read = kinds.examine(path, ())
    if read.kind in _WHY_NOT:
        return _WHY_NOT[read.kind].format(read.why)
    if not read.file.whole:
        return f"not whole: {read.why}"
    if not is_uid(read.sop_class) or not is_uid(read.file.transfer_syntax):
        return "no SOP Class UID or no transfer syntax that is a UID"
    return Sendable(path, read.sop_class, read.file.transfer_syntax)
