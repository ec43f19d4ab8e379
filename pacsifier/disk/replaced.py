"""A folder of pacsifier's own (0700) that is made anew as a whole, in the place of the one that an earlier run made."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from pacsifier.disk.files import check_own_folder
from pacsifier.disk.names import LOG_MARK
from pacsifier.disk.walk import mark_logs
from pacsifier.errors import InputError


def check_replaceable(folder: Path) -> None:
    """Checks that a folder is one that an earlier run made, or is not there; raises InputError and OSError."""
    check_own_folder(folder)
    if folder.is_dir() and not os.path.lexists(folder / LOG_MARK):
        raise InputError(f"{folder} was not made by pacsifier, which needs that name: move it away")


@contextlib.contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Gives a folder to fill, which takes the place of `folder` when all went well, and is removed when not.

    It carries the mark by which commands pass over what is ours. Raises InputError where something else has that name.
    """
    check_replaceable(folder)
    partial = folder.with_name(f".{folder.name}.partial")
    _remove(partial)
    partial.mkdir(mode=0o700)
    try:
        mark_logs(partial)
        yield partial
        _remove(folder)
        partial.rename(folder)
    except BaseException:
        _remove(partial)
        raise


def remove_replaceable(folder: Path) -> None:
    """Removes what an earlier run made, if it is there."""
    if folder.is_dir():
        check_replaceable(folder)
        _remove(folder)


def _remove(folder: Path) -> None:
    """Removes a folder with all that is in it; a link is not followed."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.is_dir():
        shutil.rmtree(folder)
