"""`Toolbox`: the DCMTK binaries of one run; it starts them, and ends whatever it started on every way out.

A binary gets its arguments by a command file, so that nothing of a query or of a path stands in the process list. A
guardian process outlives pacsifier's own death by SIGKILL just long enough to end the groups that were started.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pacsifier.config import PacsConfig
from pacsifier.dcmtk import confinement, guardian
from pacsifier.dcmtk.binaries import AskedVersion, Binary, check_dictionary, find_binaries, first_of_dcmtk
from pacsifier.dcmtk.process import Process
from pacsifier.dcmtk.spawn import muted_sh, run_in_background, signal_group, signals_held
from pacsifier.dcmtk.timeouts import Timeouts
from pacsifier.errors import InputError, ToolError

if TYPE_CHECKING:
    from pacsifier.dcmtk.dialing import Dialer
    from pacsifier.dcmtk.forwarder import Door

log = logging.getLogger(__name__)

# Within which a connection by TLS ends whose process has ended.
_GOODBYE_S = 0.5
# With `-v` or `-d` a tool writes each line in four pieces and a dot for each PDU, up to 200 system calls per instance.
_LOGGING = """log4cplus.rootLogger = WARN, F
log4cplus.logger.dcmtk.apps = {level}
log4cplus.logger.dcmtk.dcmnet = INFO
log4cplus.logger.dcmtk.apps.storescp.progress = OFF
log4cplus.logger.dcmtk.apps.storescu.progress = OFF
log4cplus.logger.dcmtk.apps.getscu.progress = OFF
log4cplus.appender.F = log4cplus::FileAppender
log4cplus.appender.F.File = {tag}.log
log4cplus.appender.F.Append = true
log4cplus.appender.F.layout = log4cplus::PatternLayout
log4cplus.appender.F.layout.ConversionPattern = %P: %m%n
"""


def _quoted(argument: str) -> str:
    """One argument as DCMTK reads it from a command file, where there are quotes but no escapes."""
    if "\n" in argument or "\r" in argument:
        raise ToolError(f"DCMTK cannot be given the argument {argument!r}: it holds a line break")
    for quote in ('"', "'"):
        if quote not in argument:
            return f"{quote}{argument}{quote}"
    raise ToolError(f"DCMTK cannot be given the argument {argument!r}: it holds both kinds of quotes")


class Toolbox:
    """The DCMTK binaries of one run; as a context manager it ends every process it started."""

    def __init__(self, dcmtk_dir: Path | None = None) -> None:
        self._dcmtk_dir = dcmtk_dir
        self._binaries: dict[str, Binary] = {}
        self._running: list[Process] = []
        self._guardian_pipe: int | None = None
        self._asked: dict[str, AskedVersion] = {}
        self._doors: dict[Process, Door] = {}
        self._dialers: dict[tuple[PacsConfig, Timeouts], Dialer] = {}

    def __enter__(self) -> Toolbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def binary(self, name: str) -> Binary:
        """The binary that is used under that name; raises as `require` does."""
        self.require([name])
        return self._binaries[name]

    def ask(self, names: Iterable[str]) -> None:
        """Begins to ask the binaries for their versions, all at once; `require` waits for the answers."""
        for name in names:
            if name not in self._binaries and name not in self._asked:
                # Entered first: a signal that comes between must find it.
                self._asked[name] = AskedVersion(name, find_binaries(name, self._dcmtk_dir)[0])
                self._asked[name].__enter__()

    def require(self, names: Iterable[str]) -> None:
        """Checks that the binaries are there, are DCMTK's own and recent enough; asks each only once.

        Raises:
            ToolError: one is absent, older than DCMTK 3.6.6, or another program of the same name.
        """
        check_dictionary()
        names = tuple(names)
        try:
            self.ask(names)
            for name in [name for name in names if name not in self._binaries]:
                others = find_binaries(name, self._dcmtk_dir)[1:]
                self._binaries[name] = first_of_dcmtk(name, self._asked[name], others)
        finally:
            self._end_asked()

    def start(
        self,
        name: str,
        arguments: Sequence[str],
        folder: Path,
        tag: str,
        *,
        level: str = "",
        writes_to: Path | None = None,
        dictionary: str = "",
        door: Door | None = None,
    ) -> Process:
        """Starts a binary in `folder` (0700); its log and command file there are named after `tag`.

        `level`: how much it logs of its work, INFO as with `-v`, DEBUG as with `-d`; `writes_to`: it may write below
        that folder only (see `confinement`, which must be possible), and so takes no `level`; `dictionary`: its data
        dictionary, as a path from `folder`, where DCMDICTPATH names none; `door`: the one by which it reaches the PACS.
        """
        self.require([name])
        if level:
            _write_private(folder / f"{tag}.log.cfg", _LOGGING.format(level=level, tag=tag))
            arguments = ["-lc", f"{tag}.log.cfg", *arguments]
        arguments_file = folder / f"{tag}.args"
        owner = _write_private(arguments_file, "\n".join(_quoted(each) for each in arguments) + "\n")
        argv = (str(self._binaries[name].path), f"@{arguments_file.name}")
        log.debug("starting %s in %s", name, folder.name)
        log_path = _log_path(arguments_file)
        with signals_held():
            command = self._spawn(argv, arguments_file, owner, writes_to, dictionary)
            process = Process(name, argv, command, log_path, self._forget)
            self._running.append(process)
            if door is not None:
                self._doors[process] = door
                process.failure = door.failure
                door.admit(process.group)
        return process

    def door(self, config: PacsConfig, timeouts: Timeouts) -> Door:
        """A way to the PACS by TLS for the next process; whoever starts none for it has to shut it.

        Raises:
            InputError: the files of `config.tls` cannot be used.
        """
        from pacsifier.dcmtk.dialing import Dialer
        from pacsifier.dcmtk.forwarder import Door

        key = config, timeouts
        if key not in self._dialers:
            self._dialers[key] = Dialer(config, timeouts)
        return Door(self._dialers[key], timeouts.acse_timeout_s)

    def close(self) -> None:
        """Ends every process that still runs, all groups at once, then the guardian."""
        for process in self._running:
            signal_group(process.group, signal.SIGTERM)
        for process in list(self._running):
            process.end()
        while self._doors:
            _, door = self._doors.popitem()
            door.end(_GOODBYE_S)
        self._end_asked()
        if self._guardian_pipe is not None:
            os.close(self._guardian_pipe)
            self._guardian_pipe = None

    def kill(self) -> None:
        """Kills every process group at once, waiting for nothing."""
        for process in self._running:
            signal_group(process.group, signal.SIGKILL)
        self._end_asked()

    def _end_asked(self) -> None:
        while self._asked:
            _, asked = self._asked.popitem()
            asked.__exit__()

    def _forget(self, process: Process) -> None:
        self._running.remove(process)
        if process in self._doors:
            self._doors[process].shut()
            # What was said last may still be on its way: the thread is waited for at the end.
            self._doors = {each: door for each, door in self._doors.items() if not door.over}
        self._tell_guardian(f"-{process.group}\n")

    def _tell_guardian(self, line: str) -> None:
        if self._guardian_pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._guardian_pipe, line.encode())

    def _start_guardian(self) -> None:
        read_end, write_end = os.pipe()
        program = [sys.executable, "-I", "-S", str(Path(guardian.__file__))]
        with os.fdopen(read_end, "rb") as source:
            run_in_background(program, source, None, Path("/"), None)
        self._guardian_pipe = write_end

    def _spawn(
        self,
        argv: Sequence[str],
        arguments_file: Path,
        owner: int,
        writes_to: Path | None,
        dictionary: str,
    ) -> Any:
        if self._guardian_pipe is None:
            self._start_guardian()

        folder = arguments_file.parent

        def announce() -> None:
            if not _belong_to(owner, Path(), arguments_file.name):
                raise PermissionError
            # Runs in the child before exec: a SIGKILL of pacsifier at any later moment finds it announced.
            self._tell_guardian(f"+{os.getpid()}\n")
            # What it receives is nothing for others.
            os.umask(os.umask(0o077) | 0o007)
            if writes_to is not None:
                confinement.confine(writes_to)

        # Opened to append, so that a reader may empty it.
        descriptor = os.open(
            _log_path(arguments_file), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600
        )
        with os.fdopen(descriptor, "wb") as output, Path(os.devnull).open("rb") as nothing:
            try:
                return run_in_background(argv, nothing, output, folder, announce, dictionary=dictionary)
            except muted_sh().ForkException as error:
                if _belong_to(owner, folder, arguments_file.name):
                    raise
                raise InputError(
                    f"{folder} was exchanged for a folder of somebody else, so nothing is started in it: somebody who "
                    "may write to the folder above it cannot be trusted"
                ) from error


def _log_path(arguments_file: Path) -> Path:
    return arguments_file.with_suffix(".log")


def _write_private(path: Path, text: str) -> int:
    """Writes a new file that only its owner may read; returns who owns it."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        return os.fstat(descriptor).st_uid


def _belong_to(owner: int, folder: Path, name: str) -> bool:
    """Whether a folder and a file in it belong to a user.

    Asked by the child of the folder it works in: whoever may write to the folder above may have exchanged it, command
    file and all, but cannot exchange it under a process.
    """
    with contextlib.suppress(OSError):
        return folder.stat().st_uid == owner == (folder / name).lstat().st_uid
    return False
