"""Files and folders: written whole or not at all, moved, walked."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

from pacsifier.errors import InputError


def check_own_folder(folder: Path, allowed: int = 0o700) -> None:
    """Checks that a folder of pacsifier's own (logs, run lock) is a folder or can be made; takes other rights away.

    Raises:
        InputError: a link or a file stands in its place.
        PermissionError: it is there, and nothing can be written into it.
        FileNotFoundError: it vanished meanwhile.
    """
    try:
        mode = folder.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISLNK(mode):
        raise InputError(f"{folder} is a link; pacsifier needs a folder of its own there: remove the link")
    if not stat.S_ISDIR(mode):
        raise InputError(f"{folder} is a file; pacsifier needs a folder of that name: move the file away")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        folder.lstat()
        why = f"{folder.name} cannot be written to: {os.strerror(errno.EACCES)}"
        raise PermissionError(errno.EACCES, why, str(folder))
    limit_mode(folder, allowed)


def limit_mode(path: Path | int, allowed: int) -> bool:
    """Takes the rights that are not in `allowed` from a file or folder (not a link); whether none of them is left.

    The file system may have no such rights, or the file may be somebody else's. What setgid says stays.
    """
    mode = stat.S_IMODE(os.stat(path).st_mode)  # noqa: PTH116 - or a descriptor
    if not mode & ~allowed & 0o777:
        return True
    with contextlib.suppress(OSError):
        os.chmod(path, mode & (allowed | 0o7000))  # noqa: PTH101
    return not os.stat(path).st_mode & ~allowed & 0o777  # noqa: PTH116


def make_folders(folder: Path) -> None:
    """Makes a folder of a tree, and those above it, where they are missing: no rights for others.

    The rights of the group are what umask, setgid and ACL say.
    """
    try:
        folder.mkdir(mode=0o770)
    except FileNotFoundError:
        make_folders(folder.parent)
        folder.mkdir(mode=0o770, exist_ok=True)
    except OSError:  # EEXIST, but a file system that is read-only says so first
        if not folder.is_dir():
            raise


def free_bytes(folder: Path) -> int:
    """The bytes that this user can still write where a folder is, or will be made; quotas are not counted."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def open_new(path: Path, mode: int = 0o600) -> int:
    """Opens a file made here and now, in the place of an older one that may be another's; OSError where a link is."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags, mode)
    except FileExistsError:
        if path.is_symlink():
            raise _is_link(path) from None
        path.unlink(missing_ok=True)
        return os.open(path, flags, mode)


def open_to_append(path: Path) -> int:
    """Opens a file (0600) to append to it, made where it is missing; raises OSError where a link is in its place."""
    try:
        descriptor = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _is_link(path) from error
        raise
    limit_mode(descriptor, 0o600)
    return descriptor


def _is_link(path: Path) -> OSError:
    why = f"{path.name} is a symbolic link, through which nothing is written: remove it"
    return OSError(errno.ELOOP, why, str(path))


@contextlib.contextmanager
def written_beside(path: Path, mode: int = 0o660) -> Iterator[IO[str]]:
    """Opens a partial file beside `path`, which gets that name when all went well and is removed when not."""
    partial = path.with_name(f".{path.name}.partial")
    descriptor = open_new(partial, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_whole(path: Path, text: str | Iterable[str], mode: int = 0o660) -> None:
    """Writes a file under a partial name and renames it, so that it is never seen half written.

    Raises:
        OSError: it could not be written; the text names it, and the old one is as it was.
    """
    try:
        with written_beside(path, mode) as file:
            file.writelines([text] if isinstance(text, str) else text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        why = f"{path.name} could not be written: {error.strerror or error}"
        raise OSError(error.errno, why, str(path)) from error


def write_all_whole(files: Mapping[Path, str], mode: int = 0o600) -> tuple[Path, ...]:
    """Writes several files, all of them whole before the first gets its name; returns those that have changed.

    A file that already holds its text is left alone. Raises OSError; what was there is then as it was.
    """
    changed = {path: text for path, text in files.items() if not _holds(path, text)}
    with contextlib.ExitStack() as stack:
        for path, text in changed.items():
            file = stack.enter_context(written_beside(path, mode))
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    return tuple(changed)


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() == text.encode("utf-8")
    except OSError:
        return False


def move_file(source: Path, target: Path) -> None:
    """Moves a file to another folder, on another file system too; creates the folder, never overwrites.

    A kill leaves the file where it was, or whole in both folders. Raises FileExistsError or another OSError.
    """
    make_folders(target.parent)
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:  # another file system, or one without hard links
        _copy_whole(source, target)
    source.unlink()


def _copy_whole(source: Path, target: Path) -> None:
    """Copies a file under a partial name and renames it, if the name is still free."""
    partial = target.with_name(f".{target.name}.partial")
    try:
        _copy(source, partial)
        try:
            os.link(partial, target)
        except FileExistsError:
            raise
        except OSError:
            if target.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
            partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)


def _copy(source: Path, partial: Path) -> None:
    if source.is_symlink():
        partial.unlink(missing_ok=True)
        partial.symlink_to(source.readlink())
        return
    with source.open("rb") as original, os.fdopen(open_new(partial), "wb") as copy:
        shutil.copyfileobj(original, copy)
        # Not every file system keeps times and rights.
        with contextlib.suppress(OSError):
            shutil.copystat(source, partial)
        copy.flush()
        os.fsync(copy.fileno())


def copy_whole(source: Path, target: Path, mode: int = 0o600) -> None:
    """Copies a file byte for byte, in the place of what has that name, so that it is never seen half written."""
    partial = target.with_name(f".{target.name}.partial")
    try:
        with source.open("rb") as original, os.fdopen(open_new(partial, mode), "wb") as copy:
            shutil.copyfileobj(original, copy)
            copy.flush()
            os.fsync(copy.fileno())
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def append_line(path: Path, line: str) -> None:
    """Appends a line to a file (0600) in one write, so that two runs do not mix their lines."""
    with os.fdopen(open_to_append(path), "wb", buffering=0) as file:
        file.write(f"{line}\n".encode())
        os.fsync(file.fileno())
