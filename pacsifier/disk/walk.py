"""Walks through a folder of images, past the logs of our runs: what nobody asked for lies there."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from pacsifier.disk.lock import other_run_in
from pacsifier.disk.names import (
    AUDIT_NAME,
    LOG_FOLDER,
    LOG_MARK,
    LOG_NAME,
    UNEXPECTED_FOLDER,
    is_work_folder,
    shown,
)
from pacsifier.errors import InputError

# The names that `set_aside` gives.
_SET_ASIDE = re.compile(r"[A-Za-z0-9_]+\.([0-9.]+|malformed_[0-9a-f]{8})(_[0-9]+)?")
_AUDIT_KEYS = frozenset(("ended_at", "did", "query_sha256"))
_LONGEST_AUDIT_LINE = 1 << 20

PASSED_OVER = "passed over, not read"
"""What a note says of a folder after its name."""


class Progress(Protocol):
    """Called now and then with what is done, how many, of how many (0: not known), and how many bytes that were."""

    def __call__(self, what: str, done: int, total: int, size: int | None = None, /) -> None:
        """Hears of it."""


class Walk:
    """Every file below a folder in a stable order, without staging and the logs of our runs.

    A link to a folder and a folder that cannot be read are yielded themselves, for the caller to name. Our logs hold
    objects of strangers and tables that name patients: they are no input, at whatever depth they lie. After the walk,
    `passed_over` holds them.

    Raises:
        InputError: the folder itself is, or lies in, logs of ours, or another run still writes into it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.passed_over: list[Path] = []
        place = folder.resolve()
        for each in (place, *place.parents):
            if holder := other_run_in(each):
                raise InputError(
                    f"{shown(folder)}: {holder} still writes into {shown(each)}; wait for its end"
                )
            if is_own_logs(each):
                raise InputError(
                    f"{shown(folder)}: lies in the logs of a pacsifier run ({shown(each)}), which are not read: they "
                    "hold objects that nobody asked for. Name the folder of the images, or copy what you have looked "
                    "at and want to use to another folder"
                )

    def __iter__(self) -> Iterator[Path]:
        self.passed_over.clear()
        return _walk_files(self.folder, self.passed_over)

    def of_logs(self) -> Iterator[Path]:
        """Every file in the logs that were passed over."""
        for folder in self.passed_over:
            yield from walk_with_logs(folder)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a run says of each folder that was passed over, fit for the console."""
        return tuple(
            f"{shown(each.relative_to(self.folder))}: {PASSED_OVER}: the logs of a pacsifier run"
            for each in self.passed_over
        )


def walk_with_logs(folder: Path) -> Iterator[Path]:
    """Every file below a folder as `Walk` yields them, those in our logs too."""
    return _walk_files(folder, None)


def _walk_files(folder: Path, passed_over: list[Path] | None) -> Iterator[Path]:
    unreadable: list[OSError] = []
    for parent, folders, files in os.walk(folder, onerror=unreadable.append):
        # Only of these: to make a Path of each folder, and to look into it, costs more than the walk.
        suspect = LOG_MARK in files or parent.endswith(f"/{LOG_FOLDER}")
        if passed_over is not None and suspect and is_own_logs(Path(parent)):
            passed_over.append(Path(parent))
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not is_work_folder(name))
        # Links to folders are not followed, but named: what lies behind them is not uploaded.
        yield from (path for name in folders if (path := Path(parent, name)).is_symlink())
        home = Path(parent)
        yield from (home / name for name in sorted(files))
    yield from (Path(error.filename) for error in unreadable)


def is_own_logs(folder: Path) -> bool:
    """Whether a folder is the logs folder of a run: by its mark, else by what versions that knew no mark left there.

    Of those, `pacsifier-move-csv` takes the log; the audit and the unexpected objects stay.
    """
    if os.path.lexists(folder / LOG_MARK):
        return True
    if folder.name != LOG_FOLDER:
        return False
    return (
        os.path.isfile(folder / LOG_NAME)  # noqa: PTH113 - what may not be looked at is no error here
        or _is_audit(folder / AUDIT_NAME)
        or _holds_set_aside(folder / UNEXPECTED_FOLDER)
    )


def _is_audit(path: Path) -> bool:
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            line = json.loads(file.readline(_LONGEST_AUDIT_LINE))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(line, dict) and line.keys() >= _AUDIT_KEYS


def _holds_set_aside(folder: Path) -> bool:
    try:
        return any(map(_SET_ASIDE.fullmatch, os.listdir(folder)))  # noqa: PTH208 - only names are needed
    except OSError:
        return False


def mark_logs(folder: Path) -> None:
    """Leaves the mark by which a logs folder is known as ours; raises InputError where something else stands there."""
    mark = folder / LOG_MARK
    try:
        # Empty, so that it is never half written; O_EXCL follows no link.
        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if not stat.S_ISREG(mark.lstat().st_mode):
            raise InputError(f"{mark} is no file; pacsifier needs a file of that name: remove it") from None
