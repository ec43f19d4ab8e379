"""Who holds an output folder, and whether that run may still go on.

A holder is one record on disk (`holder.json`). Whether it still runs is decided from values alone: `judge` by what is
known of its process, `judge_life` by its sign of life, which is the time at which the record was last changed. What
has to be asked of the machine (/proc) stands at the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import socket
import stat
import time
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from enum import Enum
from pathlib import Path

STALE_S = 120.0
"""A sign of life that is older may come from a holder that is gone; also what NFS clients may cache (60 s) is over."""

_LONGEST_RECORD = 1 << 16


@dataclass(frozen=True)
class Holder:
    """Who holds an output folder, as `holder.json` says; "" where it does not.

    `boot` tells machines apart (and what ran before a restart), `namespace` whether a process id means the same here.
    """

    host: str = ""
    user: str = ""
    process: str = ""
    started: str = ""
    boot: str = ""
    namespace: str = ""
    since: str = ""
    token: str = ""

    @classmethod
    def of_this_process(cls) -> Holder:
        """This process, from now."""
        return cls(
            host=socket.gethostname(),
            user=user_name(os.geteuid()),
            process=str(os.getpid()),
            started=start_time(str(os.getpid())),
            boot=_content("/proc/sys/kernel/random/boot_id") or socket.gethostname(),
            namespace=_namespace(),
            since=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %z"),
            token=os.urandom(16).hex(),
        )

    @classmethod
    def read(cls, path: Path) -> Holder:
        """What a file says; nothing where it is damaged.

        Raises:
            FileNotFoundError: there is none.
        """
        try:
            values = json.loads(_record_text(path))
        except (ValueError, RecursionError):
            values = {}
        if not isinstance(values, dict):
            values = {}
        return cls(**{each.name: str(values.get(each.name, "")) for each in fields(cls)})

    def __str__(self) -> str:
        if not self.process:
            return "another run"
        return f"a run of {self.user} on {self.host} (process {self.process}, since {self.since})"


# --- the judgement


class Judgement(Enum):
    """Whether a holder still runs."""

    MAY_RUN = "may run"
    GONE = "gone"
    OPEN = "open"


def judge(holder: Holder, me: Holder, *, started: str, flocked: bool) -> Judgement:
    """What its process says of a holder; open where it cannot be asked, as on another machine.

    `started`: when the process of the holder's number started here, "" where none runs; `flocked`: the kernel has
    given us the lock, which it keeps for as long as a holder on this machine runs.
    """
    if holder.boot == me.boot:
        if holder.started and holder.namespace == me.namespace:
            return Judgement.MAY_RUN if started == holder.started else Judgement.GONE
        if flocked:
            return Judgement.GONE
    return Judgement.OPEN


def judge_life(age_s: float, *, changed: bool | None = None) -> Judgement:
    """What its sign of life says of a holder that cannot be asked; open: it looks old and must be watched.

    `changed`: whether it changed while it was watched; None: it was not watched. No clock of this machine decides:
    the age is by the file system's own clock, and what looks old (or is of the future) may be a clock that has jumped.
    """
    if abs(age_s) <= STALE_S:
        return Judgement.MAY_RUN
    if changed is None:
        return Judgement.OPEN
    return Judgement.MAY_RUN if changed else Judgement.GONE


# --- the record on disk


def publish(holder: Holder, path: Path, mode: int = 0o600) -> None:
    """Writes the record of a holder, all of it at once; raises FileExistsError where there is one."""
    text = json.dumps(asdict(holder), indent=1) + "\n"
    partial = path.with_name(f"{path.name}.{os.urandom(16).hex()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            with contextlib.suppress(OSError):  # a file system without access rights
                os.fchmod(descriptor, mode)
        try:
            os.link(partial, path)
        except (FileExistsError, FileNotFoundError):
            raise
        except OSError:  # a file system without hard links
            _write_new(path, text, mode)
    finally:
        partial.unlink(missing_ok=True)


def _write_new(path: Path, text: str, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except BaseException:
        path.unlink()
        raise


def _record_text(path: Path) -> str:
    """What stands in a record; "" where it is none. Others may write there: a link, a pipe or a flood leads nowhere."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        return file.read(_LONGEST_RECORD).decode("utf-8", "replace")


def life_age_s(record: Path, lock: int) -> float:
    """How old the holder's sign of life is by the clock of the file system, which has just touched `lock`."""
    os.utime(lock)
    return os.fstat(lock).st_mtime - _sign_of_life(record)


def changes(record: Path, patience_s: float) -> bool:
    """Watches the sign of life for so long; whether it changed."""
    before, deadline = _sign_of_life(record), time.monotonic() + patience_s
    while time.monotonic() < deadline:
        time.sleep(patience_s / 20)
        if _sign_of_life(record) != before:
            return True
    return False


def _sign_of_life(record: Path) -> float:
    # Opened, not only looked up: NFS asks the server then.
    descriptor = os.open(record, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        return os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)


# --- what is asked of this machine


def user_name(number: int) -> str:
    """The name of a user, or the number where it has none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def start_time(process: str) -> str:
    """When the process of a number started, in clock ticks since the machine did (proc(5)); "" where none runs."""
    if not process.isdecimal():
        return ""
    values = _content(f"/proc/{process}/stat").rpartition(")")[2].split()
    # A zombie holds nothing any more.
    return values[19] if len(values) > 19 and values[0] not in "ZX" else ""


def _namespace() -> str:
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - it is no path
    return ""


def _content(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text(encoding="ascii", errors="replace").strip()
    return ""
