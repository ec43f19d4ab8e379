"""What a table claims is on the disk before the claim: files are written back early, and waited for once at the end."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterable
from functools import cache
from pathlib import Path

PATIENCE_S = 60.0
"""After so long without an end, `syncfs` waits for other people's data: then each file is waited for by itself."""

_SYNC_FILE_RANGE_WRITE = 2
_START = ctypes.c_int64(0)


def begin_to_write(path: Path) -> None:
    """Lets the kernel begin to write a file to the disk, without waiting for it; does nothing where that is unknown."""
    libc = _libc()
    if libc is not None:
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                libc.sync_file_range(descriptor, _START, _START, _SYNC_FILE_RANGE_WRITE)
            finally:
                os.close(descriptor)


def wait_until_on_disk(folder: Path, files: Iterable[Path], patience_s: float = PATIENCE_S) -> None:
    """Returns once `files` below a folder, and their names, have survived a power cut that comes now.

    One `syncfs` of the file system serves for all; where there is none, or it stalls, each file and its folder by
    `fsync`.

    Raises:
        OSError: something could not be written.
    """
    if not _synced_together(folder, patience_s):
        _sync_each(files)


def _synced_together(folder: Path, patience_s: float) -> bool:
    """Whether the whole file system is on the disk; False where that cannot be had in time."""
    libc = _libc()
    if libc is None:
        return False
    failed: list[int] = []
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)

    def sync() -> None:
        try:
            if libc.syncfs(descriptor):
                failed.append(ctypes.get_errno())
        finally:
            os.close(descriptor)

    # It cannot be interrupted: a stalled one is left to end by itself.
    thread = threading.Thread(target=sync, daemon=True)
    thread.start()
    thread.join(patience_s)
    if failed:
        raise OSError(failed[0], os.strerror(failed[0]), str(folder))
    return not thread.is_alive()


def _sync_each(files: Iterable[Path]) -> None:
    folders: dict[Path, None] = {}
    for path in files:
        _fsync(path)
        # Series, study, patient, and the tree that names the patient.
        folders |= dict.fromkeys(tuple(path.parents)[:4])
    for folder in folders:
        _fsync(folder)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@cache
def _libc() -> ctypes.CDLL | None:
    libc = ctypes.CDLL(None, use_errno=True)
    return libc if hasattr(libc, "syncfs") and hasattr(libc, "sync_file_range") else None
