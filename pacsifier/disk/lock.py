"""Who may write into an output folder: the run lock, and the staging folder that it guards.

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
import tempfile
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType

from pacsifier.disk.files import check_own_folder
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
from pacsifier.errors import InputError

log = logging.getLogger(__name__)

BEAT_S = 5.0
_LOCK = "lock"
_RESERVE = "reserve"
_RESERVE_BYTES = 1 << 20
_HOLDER = "holder.json"
_ATTEMPTS = 100
_REFUSED = (errno.EAGAIN, errno.EACCES)
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


class OutputLock:
    """Keeps two runs out of one output folder; holds `<out>/.pacsifier`, the staging folder, as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.staging = folder / WORK_FOLDER
        self._made: list[Path] = []
        self._descriptor: int | None = None
        self._me = Holder()
        self._record = self.staging / _HOLDER
        self._over = threading.Event()
        self._lost = False

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

        Nothing there was ever counted as received; no tool may be running any more. What another run has taken over
        is left alone.
        """
        if _holder_of(self._record) == self._me:
            _empty(self.staging, but=(_LOCK, _HOLDER))

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
        self.make_room()
        self._keep_reserve()

    def _make_folders(self) -> None:
        try:
            missing = [
                each for each in (self.staging, self.folder, *self.folder.parents) if not each.exists()
            ]
            self.folder.mkdir(parents=True, exist_ok=True)
            self._made = self._made or missing[::-1]
            check_own_folder(self.folder / LOG_FOLDER)
            check_own_folder(self.staging)
            with contextlib.suppress(FileExistsError):
                self.staging.mkdir(mode=0o700)
        except FileNotFoundError:
            raise
        except OSError as error:
            if isinstance(error, FileExistsError) and (
                self.folder.is_dir() or not os.path.lexists(self.folder)
            ):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.folder)) from error
            raise _cannot_write(self.folder, error) from error

    def _acquire(self) -> bool:
        """Takes lock and holder file; False: the lock was removed under us, try again."""
        lock = self.staging / _LOCK
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:
            raise  # to `_enter`, which tries again
        except OSError as error:
            raise _cannot_write(self.folder, error) from error
        self._descriptor = descriptor
        flocked = self._flock(descriptor)
        if not os.path.samestat(os.fstat(descriptor), lock.stat()):
            return False
        self._take(descriptor, flocked=flocked)
        return True

    def _keep_reserve(self) -> None:
        """Sets aside room for the tables of the run."""
        try:
            (self.staging / _RESERVE).write_bytes(bytes(_RESERVE_BYTES))
        except OSError as error:
            raise _cannot_write(self.folder, error) from error

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
        if self._record.exists():
            self._set_stale_holder_aside(lock, flocked=flocked)
        try:
            publish(self._me, self._record)
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
        aside = self._record.with_name(f"{_HOLDER}.{self._me.token}")
        self._record.rename(aside)
        if Holder.read(aside) != holder:
            # Another run judged the same and was faster: this is its record.
            if not self._record.exists():
                aside.rename(self._record)
            raise self._in_use(_holder_of(self._record))
        aside.unlink()

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

    def _in_use(self, holder: Holder, age_s: float | None = None) -> InputError:
        return _in_use(self.folder, self._record, holder, age_s)

    # -- to keep it

    def _show_life(self) -> None:
        while not self._over.wait(BEAT_S):
            try:
                if Holder.read(self._record) != self._me:
                    self._lost = True
                    return
                os.utime(self._record)
            except FileNotFoundError:
                self._lost = not self._over.is_set()
                return
            except OSError as error:
                log.debug("no sign of life this time: %s", error)

    def _leave(self) -> None:
        """Removes staging where it is ours, and the folders made for the run where they are empty."""
        if self._me.token and _holder_of(self._record) == self._me:
            # The lock goes last: a run that starts in between must not lose its staging folder.
            with contextlib.suppress(OSError):
                self.make_room()
                self._record.unlink(missing_ok=True)
                (self.staging / _LOCK).unlink(missing_ok=True)
                self.staging.rmdir()
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


def _empty(folder: Path, but: Collection[str]) -> None:
    for path in folder.iterdir():
        if path.name in but:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _in_use(folder: Path, record: Path, holder: Holder, age_s: float | None) -> InputError:
    """The error where another run holds the folder; `age_s` of its sign of life where only that speaks for it."""
    advice = "wait for its end"
    if age_s is not None:
        advice = (
            f"its last sign of life is {age_s:.0f} s old. Wait for its end; if it was killed, start again in "
            f"{STALE_S:g} s, or remove {record}"
        )
    return InputError(f"{folder} is in use by {holder}; {advice}")


def _cannot_write(folder: Path, error: OSError) -> InputError:
    why = error.strerror or str(error)
    if isinstance(error, FileExistsError | NotADirectoryError):
        why = "it is not a folder"
    if isinstance(error, PermissionError) and error.filename:
        with contextlib.suppress(OSError):
            path = Path(error.filename)
            owner = next(each for each in (path, *path.parents) if os.path.lexists(each))
            why += f" ({owner} belongs to {user_name(owner.lstat().st_uid)})"
    return InputError(f"cannot write to the output folder {folder}: {why}")


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
