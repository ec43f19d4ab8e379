"""Moves the CSV files of a data folder, and `mapper.json`, into the same tree below another folder.

A file is never overwritten by a different one; what cannot be moved is known before the first file is.
"""

from __future__ import annotations

import contextlib
import filecmp
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pacsifier.dicom.kinds import Kind
from pacsifier.disk.files import move_file
from pacsifier.disk.lock import OutputLock
from pacsifier.disk.walk import Progress, walk_with_logs
from pacsifier.errors import Fault, InputError, first_of

MAPPER: Final = "mapper.json"
_SUFFIX: Final = ".csv"
_LONGEST_LIST: Final = 20


@dataclass(frozen=True)
class Plan:
    """What is to be moved: source and target; `there` are moved already (an equal copy); `left` stay, and why."""

    moves: tuple[tuple[Path, Path], ...]
    there: tuple[tuple[Path, Path], ...]
    left: tuple[tuple[Path, str], ...]


def plan(data_folder: Path, info_folder: Path) -> Plan:
    """Finds what is to be moved; writes nothing.

    Raises InputError where a folder is not one, or where a different file is in the way.
    """
    _check_folders(data_folder, info_folder)
    moves, there, left, conflicts = [], [], [], []
    for path in _found(data_folder, info_folder):
        target = info_folder / path.relative_to(data_folder)
        if path.is_symlink() or not path.is_file():
            linked = path.is_symlink() and path.is_dir()
            what = Kind.LINKED_FOLDER.value if linked else "a link, a folder that cannot be read, or no file"
            left.append((path, f"{what}: it stays"))
        elif not target.exists() and not target.is_symlink():
            moves.append((path, target))
        elif not target.is_symlink() and target.is_file() and filecmp.cmp(path, target, shallow=False):
            there.append((path, target))
        else:
            conflicts.append(Fault(str(target), f"lies in the place of {path}, which is different"))
    conflicts += [
        Fault(str(parent), "is a file, where a folder of that name is needed")
        for parent in _files_in_the_way(moves)
    ]
    if conflicts:
        raise InputError(
            *first_of(conflicts, _LONGEST_LIST), "nothing was moved: rename or remove one of each pair"
        )
    return Plan(tuple(moves), tuple(there), tuple(left))


def move(data_folder: Path, info_folder: Path, progress: Progress) -> Plan:
    """Moves what `plan` finds; returns what was moved. Raises InputError as `plan` does, or OSError."""
    plan(data_folder, info_folder)
    with contextlib.ExitStack() as locks:
        # A retrieval that runs there still writes these files.
        locks.enter_context(OutputLock(data_folder))
        locks.enter_context(OutputLock(info_folder))
        planned = plan(data_folder, info_folder)
        total = len(planned.moves)
        for done, (source, target) in enumerate(planned.moves, 1):
            move_file(source, target)
            progress("csv files moved", done, total)
        for source, _ in planned.there:
            source.unlink()
    return planned


def _check_folders(data_folder: Path, info_folder: Path) -> None:
    if not data_folder.is_dir():
        raise InputError(f"--data_folder {data_folder}: there is no such folder")
    if info_folder.exists() and not info_folder.is_dir():
        raise InputError(f"--info_folder {info_folder}: is a file, not a folder")
    if info_folder.resolve() == data_folder.resolve():
        raise InputError(f"--info_folder {info_folder}: is the data folder itself; name another one")


def _found(data_folder: Path, info_folder: Path) -> Iterator[Path]:
    """The files to move, and folders that cannot be looked into."""
    inside = info_folder.resolve()
    for path in walk_with_logs(data_folder):
        wanted = path.suffix.lower() == _SUFFIX or path.name == MAPPER
        if wanted or path.is_dir():
            with contextlib.suppress(OSError):
                if path.parent.resolve().is_relative_to(inside):
                    continue
            yield path


def _files_in_the_way(moves: list[tuple[Path, Path]]) -> Iterator[Path]:
    """Parents of targets that are not folders."""
    seen: set[Path] = set()
    for _, target in moves:
        for parent in target.parents:
            if parent in seen:
                break
            seen.add(parent)
            if parent.exists():
                if not parent.is_dir():
                    yield parent
                break
