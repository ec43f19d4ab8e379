"""Who may write into an output folder: the run lock in `<out>/.pacsifier`, and the staging folder that it guards.

What lies in `.pacsifier` is shared by all who may write into the output folder and is read with that in mind; nothing
that a tool is told or brings ever lies there (see `staging.py`).

`flock` is exact on one machine: the kernel drops it with the process. Some network file systems keep it to one machine
or have none, so `holder.json` also says who holds the folder (see `holder.py`); its time of last change is a sign of
life. A holder that cannot be asked (another machine) counts as gone when that sign is old and does not change while
we watch.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from pacsifier.disk.files import check_own_folder, make_folders
from pacsifier.disk.holder import (
    STALE_S,
    Holder,
    Judgement,
    changes,
    judge,
    judge_life,
    life_age_s,
    publish,
    start_time,
    user_name,
)
from pacsifier.disk.names import LOG_FOLDER, WORK_FOLDER
from pacsifier.disk.staging import Staging, remove
from pacsifier.errors import HeldError, InputError

log = logging.getLogger(__name__)

BEAT_S = 5.0
_LOCK = "lock"
_HOLDER = "holder.json"
_ATTEMPTS = 100
_REFUSED = (errno.EAGAIN, errno.EACCES)
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


class OutputLock:
    """Keeps two runs out of one output folder; holds its `staging` folder, as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._place = folder / WORK_FOLDER
        self._staging = Staging(folder)
        self.staging = self._staging.folder
        self._made: list[Path] = []
        self._descriptor: int | None = None
        self._me = Holder()
        self._record = self._place / _HOLDER
        self._over = threading.Event()
        self._lost = False
        self._shared = 0o700

    def __enter__(self) -> OutputLock:
        try:
            self._enter()
            threading.Thread(target=self._show_life, daemon=True).start()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._leave()

    def check(self) -> None:
        """Raises InputError when another run has taken the folder over: this one showed no life for too long."""
        if self._lost:
            raise InputError(
                f"{self.folder} was taken over by another run, because this one stood still; this one ends"
            )

    def make_room(self) -> None:
        """Empties staging, its reserve included, so that a log finds room on a full disk.

        Nothing there was ever counted as received; no tool may be running any more.
        """
        self._staging.make_room()

    # -- to get it

    def _enter(self) -> None:
        for attempt in range(_ATTEMPTS):
            self._close()
            try:
                self._make_folders()
                if self._acquire():
                    break
            except FileNotFoundError as error:
                # A run that ends now may remove its folders between two of our steps.
                if attempt == _ATTEMPTS - 1:
                    raise _cannot_write(self.folder, error) from error
        else:
            raise InputError(f"{self.folder}: other runs come and go there without end; try again later")
        try:
            self._staging.make()
        except OSError as error:
            raise _cannot_write(self.folder, error) from error
        self._staging.sweep()
        _drop_old_staging(self._place, self.staging)

    def _make_folders(self) -> None:
        try:
            missing = [each for each in (self._place, self.folder, *self.folder.parents) if not each.exists()]
            make_folders(self.folder)
            self._made = self._made or missing[::-1]
            check_own_folder(self.folder / LOG_FOLDER)
            self._make_place()
        except FileNotFoundError:
            raise
        except OSError as error:
            if isinstance(error, FileExistsError) and (
                self.folder.is_dir() or not os.path.lexists(self.folder)
            ):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.folder)) from error
            raise _cannot_write(self.folder, error) from error

    def _make_place(self) -> None:
        """Makes the folder of the lock."""
        self._shared = _shared_rights(self.folder, made=self.folder in self._made)
        check_own_folder(self._place, self._shared)
        try:
            self._place.mkdir(mode=0o700)
        except FileExistsError:
            return
        _share(self._place, self.folder, self._shared)

    def _acquire(self) -> bool:
        """Takes lock and holder file; False: the lock was removed under us, try again."""
        lock = self._place / _LOCK
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:
            raise  # to `_enter`, which tries again
        except OSError as error:
            raise _cannot_write(self.folder, error) from error
        self._descriptor = descriptor
        with contextlib.suppress(OSError):  # it is another's, or the file system has no access rights
            os.fchmod(descriptor, self._shared & 0o666)
        flocked = self._flock(descriptor)
        if not os.path.samestat(os.fstat(descriptor), lock.stat()):
            return False
        self._take(descriptor, flocked=flocked)
        return True

    def _flock(self, descriptor: int) -> bool:
        """Whether the kernel guards the folder; False where the file system has no such locks."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _REFUSED:
                raise self._in_use(_holder_of(self._record)) from error
            if error.errno not in _NO_LOCKS:
                raise InputError(f"cannot lock the output folder {self.folder}: {error.strerror}") from error
            log.warning(
                "the file system of %s has no locks (%s): %s/%s alone keeps a second run out",
                *(self.folder, error.strerror, WORK_FOLDER, _HOLDER),
            )
            return False
        return True

    def _take(self, lock: int, *, flocked: bool) -> None:
        self._me = Holder.of_this_process()
        try:
            if os.path.lexists(self._record):
                self._set_stale_holder_aside(lock, flocked=flocked)
            publish(self._me, self._record, self._shared & 0o666)
        except FileExistsError as error:
            raise self._in_use(_holder_of(self._record)) from error
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _cannot_write(self.folder, error) from error

    def _set_stale_holder_aside(self, lock: int, *, flocked: bool) -> None:
        """Renames the record of a holder that is gone; raises InputError while it may still run."""
        holder = _holder_of(self._record)
        if self._may_run(holder, lock, flocked=flocked):
            raise self._in_use(
                holder, life_age_s(self._record, lock) if holder.boot != self._me.boot else None
            )
        if not _set_aside(self._record, holder, self._me):
            raise self._in_use(_holder_of(self._record))

    def _may_run(self, holder: Holder, lock: int, *, flocked: bool) -> bool:
        judgement = judge(holder, self._me, started=start_time(holder.process), flocked=flocked)
        if judgement is Judgement.OPEN:
            age_s = life_age_s(self._record, lock)
            judgement = judge_life(age_s)
            if judgement is Judgement.OPEN:
                log.warning(
                    "%s is held by %s, without a sign of life; watching for %g s",
                    *(self.folder, holder, 2 * BEAT_S),
                )
                judgement = judge_life(age_s, changed=changes(self._record, 2 * BEAT_S))
        return judgement is Judgement.MAY_RUN

    def _in_use(self, holder: Holder, age_s: float | None = None) -> HeldError:
        return _in_use(self.folder, self._record, holder, age_s)

    # -- to keep it

    def _show_life(self) -> None:
        while not self._over.wait(BEAT_S):
            try:
                if Holder.read(self._record) != self._me:
                    self._lost = True
                    return
                os.utime(self._record, follow_symlinks=False)
            except FileNotFoundError:
                self._lost = not self._over.is_set()
                return
            except OSError as error:
                log.debug("no sign of life this time: %s", error)

    def _leave(self) -> None:
        """Removes staging, the lock where it is ours, and the folders made for the run where they are empty."""
        # The lock goes last: no run that starts in between finds a staging folder that nobody holds.
        self._staging.remove()
        if self._me.token and _holder_of(self._record) == self._me:
            with contextlib.suppress(OSError):
                self._record.unlink(missing_ok=True)
                (self._place / _LOCK).unlink(missing_ok=True)
                self._place.rmdir()
        self._close()
        for folder in reversed(self._made):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _holder_of(record: Path) -> Holder:
    try:
        return Holder.read(record)
    except OSError:
        return Holder()


def _drop_old_staging(place: Path, staging: Path) -> None:
    """Removes what runs of a version left that had their staging folder there; not in a folder of somebody else."""
    if place.lstat().st_uid == staging.lstat().st_uid:
        for path in place.iterdir():
            if path.name not in (_LOCK, _HOLDER):
                remove(path)


def _shared_rights(out: Path, *, made: bool) -> int:
    """The rights on the folder of the lock: whoever shares the output folder takes part in it, whatever the umask.

    A folder that this run has made is shared by those only to whom the folder above gave it (setgid).
    """
    mode = out.stat().st_mode
    group = mode & stat.S_IWGRP and (mode & stat.S_ISGID or not made)
    others = mode & stat.S_IWOTH and not made
    return 0o700 | (0o070 if group else 0) | (0o007 if others else 0)


def _share(place: Path, out: Path, rights: int) -> None:
    """Opens the folder of the lock, just made, to those who share the output folder, and what will lie in it."""
    if rights == 0o700:
        return
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        group = out.stat().st_gid
        with contextlib.suppress(OSError):  # no member of that group, or a file system without access rights
            if os.fstat(descriptor).st_gid != group:
                os.fchown(descriptor, -1, group)
            os.fchmod(descriptor, rights | stat.S_ISGID)
    finally:
        os.close(descriptor)


def _in_use(folder: Path, record: Path, holder: Holder, age_s: float | None) -> HeldError:
    """The error where another run holds the folder; `age_s` of its sign of life where only that speaks for it."""
    advice = "wait for its end"
    if age_s is not None:
        advice = (
            f"its last sign of life is {age_s:.0f} s old. Wait for its end; if it was killed, start again in "
            f"{STALE_S:g} s, or remove {record}"
        )
    return HeldError(f"{folder} is in use by {holder}; {advice}")


def _cannot_write(folder: Path, error: OSError) -> InputError:
    why = error.strerror or str(error)
    if isinstance(error, FileExistsError | NotADirectoryError):
        why = "it is not a folder"
    if isinstance(error, PermissionError) and error.filename:
        with contextlib.suppress(OSError):
            path = Path(error.filename)
            owner = next(each for each in (path, *path.parents) if os.path.lexists(each))
            why += f" ({owner} belongs to {user_name(owner.lstat().st_uid)})"
            if WORK_FOLDER in (owner.name, owner.parent.name):
                why += "; where a killed run has left it, let its owner remove it"
    return InputError(f"cannot write to the output folder {folder}: {why}")


def other_run_in(folder: Path) -> Holder | None:
    """The other run that writes into a folder now; None where there is none, or no kernel lock tells."""
    work = folder / WORK_FOLDER
    holder, me = _holder_of(work / _HOLDER), Holder.of_this_process()
    who = (holder.process, holder.started, holder.boot, holder.namespace)
    # Without a record anybody's lock on a file of that name would do; with ours it is our own.
    if not holder.process or who == (me.process, me.started, me.boot, me.namespace):
        return None
    try:
        descriptor = os.open(work / _LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return holder if error.errno in _REFUSED else None
    finally:
        os.close(descriptor)
    return None


@contextlib.contextmanager
def file_lock(lock: Path) -> Iterator[None]:
    """Holds a lock file, waiting for it; it is gone afterwards. It guards one file, for a moment.

    Raises:
        InputError: on a file system without locks, another run does not let go of it.
    """
    descriptor = _open_lock_file(lock)
    record = lock.with_name(f"{lock.name}.{_HOLDER}")
    try:
        held_by_kernel = _wait_for_kernel(lock, descriptor)
        while held_by_kernel and not _is_open_file(lock, descriptor):
            # Whoever held it before has removed it: the file that was waited for is nobody's any more.
            os.close(descriptor)
            descriptor = _open_lock_file(lock)
            _wait_for_kernel(lock, descriptor)
        if not held_by_kernel:
            _wait_for_record(record)
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
            if not held_by_kernel:
                record.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _open_lock_file(lock: Path) -> int:
    # Opened for writing, since NFS locks no other.
    return os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _wait_for_kernel(lock: Path, descriptor: int) -> bool:
    """Whether the kernel has given us the lock; False where the file system has no such locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        log.debug("the file system of %s has no locks (%s)", lock.parent, error.strerror)
        return False
    return True


def _is_open_file(path: Path, descriptor: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    return False


def _wait_for_record(record: Path) -> None:
    """Publishes this process as the holder, once there is no other that may run."""
    me, deadline = Holder.of_this_process(), time.monotonic() + STALE_S
    while True:
        try:
            publish(me, record)
        except FileExistsError:
            holder = _holder_of(record)
            if judge(holder, me, started=start_time(holder.process), flocked=False) is Judgement.GONE:
                with contextlib.suppress(FileNotFoundError):
                    _set_aside(record, holder, me)
            elif time.monotonic() > deadline:
                raise InputError(
                    f"{record} is held by {holder}: wait for its end, or remove that file"
                ) from None
            else:
                time.sleep(0.05)
        else:
            return


def _set_aside(record: Path, holder: Holder, me: Holder) -> bool:
    """Takes away the record of a holder that is gone; False: another run was faster, and this is its record."""
    aside = record.with_name(f"{record.name}.{me.token}")
    record.rename(aside)
    if Holder.read(aside) != holder:
        if not record.exists():
            aside.rename(record)
        return False
    aside.unlink()
    return True


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A private folder for a run that has no output folder; TMPDIR says where.

    Raises:
        InputError: there is no place for it.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="pacsifier-"))
    except OSError as error:
        raise InputError(
            f"there is no folder for temporary files ({error.strerror}); let the environment variable TMPDIR name one"
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
