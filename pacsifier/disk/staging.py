"""The staging folder of a run: where its tools work and where objects arrive before they are placed.

A fresh folder each run, 0700, under a name that nobody can guess: whoever could write there could exchange what a tool
is told to do. It lies in the output folder, so that to place an object is to rename it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from pathlib import Path

from pacsifier.disk.files import limit_mode
from pacsifier.disk.holder import user_name
from pacsifier.disk.names import is_staging, staging_name
from pacsifier.errors import InputError

log = logging.getLogger(__name__)

_RESERVE = "reserve"
_RESERVE_BYTES = 1 << 20


class Staging:
    """The staging folder of one run in its output folder; made by `make`, gone after `remove`."""

    def __init__(self, out: Path) -> None:
        self.folder = out / staging_name()

    def make(self) -> None:
        """Makes the folder, with room set aside in it for the tables of the run.

        Raises:
            InputError: somebody else put a folder of theirs in its place.
            OSError: it cannot be made.
        """
        self.folder.mkdir(mode=0o700)
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            owner = self._keep_reserve(descriptor)
            if os.fstat(descriptor).st_uid != owner:
                raise self._exchanged()
            if not limit_mode(descriptor, 0o700):
                log.warning(
                    "the file system of %s keeps no access rights: whoever gets there can read this run's images and "
                    "logs",
                    self.folder.parent,
                )
        finally:
            os.close(descriptor)

    def make_room(self) -> None:
        """Empties the folder, its reserve included; nothing in it was ever counted as received."""
        with contextlib.suppress(FileNotFoundError):
            for path in self.folder.iterdir():
                remove(path)

    def remove(self) -> None:
        """Removes the folder with all that is in it."""
        remove(self.folder)

    def sweep(self) -> None:
        """Removes what killed runs left beside it, names what it cannot remove; only for the holder of the lock."""
        for path in sorted(self.folder.parent.iterdir()):
            if is_staging(path.name) and path != self.folder:
                remove(path)
                if os.path.lexists(path):
                    log.warning(
                        "%s, left by a run of %s, cannot be removed: they, or an administrator, may remove it",
                        *(path, user_name(path.lstat().st_uid)),
                    )

    def _keep_reserve(self, folder: int) -> int:
        """Sets room aside in an open folder; returns who owns the file.

        That, and no user id of this process, is what a folder of ours must belong to: a network file system may map
        root, or every user, to another one.
        """
        try:
            descriptor = os.open(_RESERVE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
        except PermissionError as error:
            raise self._exchanged() from error
        with os.fdopen(descriptor, "wb") as file:
            file.write(bytes(_RESERVE_BYTES))
            return os.fstat(descriptor).st_uid

    def _exchanged(self) -> InputError:
        return InputError(
            f"{self.folder} was exchanged for a folder of somebody else while it was made; somebody who may write to "
            f"{self.folder.parent} cannot be trusted: name another folder"
        )


def remove(path: Path) -> None:
    """Removes a file, or a folder as far as that may be done."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
