"""Who listens on a port of this machine, as Linux's /proc tells it of processes that are ours to see.

For three questions: does the server that was started listen itself; who is in its way: another run of pacsifier, a
receiver that outlived its run, or a program that is none of ours; and who has connected to a port of ours.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

STARTED_BY = "PACSIFIER_STARTED_BY"
"""The environment variable in which a tool that we start finds the process id of the run."""

_PROC = Path("/proc")
_LISTEN = "0A"  # linux/tcp_states.h
_LOOPBACK = socket.inet_aton("127.0.0.1")[:: 1 if sys.byteorder == "big" else -1].hex().upper()
_RECEIVER = "@storescp"  # how the name of its command file begins


@dataclass(frozen=True)
class Holder:
    """A receiver of ours that listens: its processes, the run that started it (`run_lives`), where it works."""

    processes: Sequence[int]
    run: int
    run_lives: bool
    folder: str

    def __str__(self) -> str:
        return f"{self.said}; {self.remedy}"

    @property
    def said(self) -> str:
        """Who it is."""
        if self.run_lives:
            return (
                f"another run of pacsifier, process {self.run}, receives there into {self.folder} (storescp, process "
                f"{self.processes[0]})"
            )
        return (
            f"a receiver that outlived its run (storescp, process {self.processes[0]}) listens there for "
            f"{self.folder}"
        )

    @property
    def remedy(self) -> str:
        """What to do about it."""
        if self.run_lives:
            return "wait until it has ended, or use another port"
        return f"end it with: kill {' '.join(map(str, self.processes))}"


def listens(port: int, process: int) -> bool:
    """Whether a process is known to listen on the port; without /proc of none it is."""
    own = _sockets(process)
    return any(each in own for each in _listening(port))


def connected_by(port: int, to_port: int, process: int) -> bool:
    """Whether a connection on 127.0.0.1, from a port to one of ours, is that of a process of our own user."""
    ends = [f"{_LOOPBACK}:{port:04X}", f"{_LOOPBACK}:{to_port:04X}"]
    with contextlib.suppress(OSError):
        for line in (_PROC / "net/tcp").read_text(encoding="ascii").splitlines():
            if ends[0] in line and (words := line.split())[1:3] == ends:
                return int(words[7]) == os.geteuid() and words[9] in _sockets(process)
    return False


def holder_of(port: int) -> Holder | None:
    """The receiver of ours on the port; None: nobody, somebody else's, or another program."""
    if not (sockets := set(_listening(port))):
        return None
    processes = sorted(process for process in _own_processes() if sockets & _sockets(process))
    # What it forked listens too, until its association ends.
    return next(filter(None, (_holder(process, processes) for process in processes)), None)


def _holder(process: int, processes: Sequence[int]) -> Holder | None:
    with contextlib.suppress(OSError, ValueError):
        if not any(each.startswith(_RECEIVER) for each in _read(process, "cmdline").split("\0")):
            return None
        group, run = os.getpgid(process), _started_by(process)
        if run is None:
            return None
        folder = str((_PROC / str(process) / "cwd").readlink())
        forked = [each for each in processes if os.getpgid(each) == group]
        # Of the hidden staging folder the user knows nothing, but of the folder in which it lies.
        return Holder(
            sorted(forked, key=lambda each: (each != group, each)),
            run,
            _lives(run, process),
            folder.rpartition("/.")[0] or folder,
        )
    return None


def _lives(run: int, process: int) -> bool:
    """Whether the run is still the parent of its receiver; not to be known of one in another container."""
    if (_PROC / str(process) / "ns/pid").readlink() != (_PROC / "self/ns/pid").readlink():
        return True
    with contextlib.suppress(OSError):
        # The leader of the group is the one that was started; the others it has forked.
        return int(_read(os.getpgid(process), "stat").rpartition(") ")[2].split()[1]) == run
    return False


def _started_by(process: int) -> int | None:
    for variable in _read(process, "environ").split("\0"):
        name, _, value = variable.partition("=")
        if name == STARTED_BY:
            return int(value)
    return None


def _own_processes() -> Iterator[int]:
    for entry in _PROC.iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and entry.stat().st_uid == os.geteuid():
                yield int(entry.name)


def _listening(port: int) -> Iterator[str]:
    """The numbers of the sockets that listen on the port, over IPv4 or IPv6."""
    ending = f":{port:04X}"
    for name in ("tcp", "tcp6"):
        # Read one after the other: for each the kernel goes through all connections, which takes milliseconds.
        with contextlib.suppress(OSError):
            for line in (_PROC / "net" / name).read_text(encoding="ascii").splitlines():
                if ending in line and (words := line.split())[3] == _LISTEN and words[1].endswith(ending):
                    yield words[9]


def _sockets(process: int) -> set[str]:
    """The numbers of the sockets that a process holds; none where we may not look."""
    found = set()
    with contextlib.suppress(OSError):
        for entry in (_PROC / str(process) / "fd").iterdir():
            with contextlib.suppress(OSError):
                target = str(entry.readlink())
                if target.startswith("socket:["):
                    found.add(target[8:-1])
    return found


def _read(process: int, name: str) -> str:
    return (_PROC / str(process) / name).read_text(encoding="utf-8", errors="surrogateescape")
