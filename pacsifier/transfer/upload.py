"""Upload: every DICOM file below a folder to the PACS; a file that is not DICOM or is refused is named."""

from __future__ import annotations

import logging
import stat
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from pacsifier import part10
from pacsifier.config import PacsConfig
from pacsifier.dcmtk.process import Toolbox
from pacsifier.dcmtk.storage import Sendable, associations, store
from pacsifier.dcmtk.transcript import StoreEnd
from pacsifier.errors import AssociationError, InputError
from pacsifier.query import ATTRIBUTES
from pacsifier.transfer.retrieve import Observer
from pacsifier.tree import walk_files

log = logging.getLogger(__name__)

_SOP_CLASS = ATTRIBUTES["SOPClassUID"].tag
# What pacsifier itself writes into its tree beside the images.
_OWN_SUFFIXES = (".csv", ".json", ".partial")
_OWN_NAMES = ("new_id.txt", "DICOMDIR")


@dataclass
class UploadSummary:
    """The outcome of an upload; `failures` holds each file that the PACS does not have, with the reason."""

    files: int = 0
    stored: int = 0
    failures: list[tuple[Path, str]] = field(default_factory=list)
    seconds: float = 0.0


def upload(
    config: PacsConfig, folder: Path, toolbox: Toolbox, observer: Observer, silence_timeout_s: float = 1800
) -> UploadSummary:
    """Sends every DICOM file below `folder`, read-only, and reads the outcome of each.

    Raises:
        InputError: the folder is not there, or holds no file.
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
        raise InputError(f"{folder}: holds no file to upload")
    observer.planned(len(files), len(files))
    for part in associations(files):
        with tempfile.TemporaryDirectory(prefix="pacsifier-") as working:
            try:
                for file, end in store(config, toolbox, Path(working), part, silence_timeout_s):
                    _note(summary, file, end)
                    observer.progress(summary.stored, summary.stored)
            except AssociationError as error:
                if not summary.stored:
                    raise
                summary.failures += [(file.path, str(error)) for file in part]
    summary.seconds = time.monotonic() - started
    return summary


def _note(summary: UploadSummary, file: Sendable, end: StoreEnd) -> None:
    log.info("%s: %s", file.sop_class, end.words)
    if end.stored:
        summary.stored += 1
    else:
        summary.failures.append((file.path, end.words))


def _sendable(folder: Path, summary: UploadSummary) -> list[Sendable]:
    files = []
    for path in walk_files(folder):
        reason, file = _examine(path)
        if file is None and (path.suffix in _OWN_SUFFIXES or path.name in _OWN_NAMES):
            continue
        summary.files += 1
        if file is None:
            summary.failures.append((path, reason))
        else:
            files.append(file)
    return files


def _examine(path: Path) -> tuple[str, Sendable | None]:
    """A file that can be sent, or the reason why it cannot."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return "not a regular file", None
        file = part10.read(path, [_SOP_CLASS])
    except OSError as error:
        return error.strerror or str(error), None
    sop_class = (file.text(_SOP_CLASS) or "").strip()
    if not file.is_part10:
        return "not a DICOM file", None
    if not file.whole:
        return f"not whole: {file.defect}", None
    if not sop_class or not file.transfer_syntax:
        return "no SOP Class UID or no transfer syntax", None
    return "", Sendable(path, sop_class, file.transfer_syntax)
