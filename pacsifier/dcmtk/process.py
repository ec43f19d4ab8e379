"""Finds DCMTK's binaries, starts them, and ends whatever was started on every way out.

Every child gets `TCP_NODELAY=1` (DCMTK leaves Nagle's algorithm on otherwise, which costs 40 ms an object),
a process group of its own, and its arguments by a command file, so that nothing of a query or of a
path stands in the process list. A guardian process outlives pacsifier's own death by SIGKILL just long enough
to end those groups.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacsifier.dcmtk import confinement, guardian
from pacsifier.errors import ToolError

if TYPE_CHECKING:
    from types import TracebackType

log = logging.getLogger(__name__)

OLDEST_VERSION = (3, 6, 6)
_BANNER = re.compile(rb"\$dcmtk: (\w+) v(\d+)\.(\d+)\.(\d+)")
_ANY_EXIT_STATUS = range(-64, 256)
_LAST_LINES = 12
_LAST_BYTES = 8192
_POLL_S = 0.005
_START_S = 20.0
_VERSION_S = 10.0
# Exit statuses of a shell and of the loader that could not start a program; below 0: ended by a signal.
_NOT_RUN = 126
_VERSION_POLL_S = 0.002


# With `-v` or `-d` a tool writes each line in four pieces and a dot for each PDU, up to 200 system calls an instance.
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


def find_binaries(name: str, dcmtk_dir: Path | None = None) -> list[Path]:
    """The executables of that name where DCMTK is looked for, in the order of preference.

    `dcmtk_dir` or PACSIFIER_DCMTK_DIR are binding when given; else PATH, then the folder of the Python interpreter (an
    environment that is not activated). Python scripts come last: pynetdicom installs some of these names, and to ask
    one for its version takes a second.

    Raises:
        ToolError: there is none.
    """
    named = dcmtk_dir or os.environ.get("PACSIFIER_DCMTK_DIR")
    if named:
        folders = [Path(named)]
    else:
        path = [Path(folder) for folder in os.get_exec_path() if folder]
        folders = [*path, Path(sys.executable).parent]
    candidates = [folder / name for folder in dict.fromkeys(folders)]
    found = [each.absolute() for each in candidates if _is_program(each)]
    if found:
        return sorted(found, key=_is_python_script)
    if named:
        _check_searchable(Path(named), name)
    where = f"in {named}" if named else "on PATH"
    raise ToolError(
        f"DCMTK's {name} was not found {where}; install DCMTK (Debian: apt install dcmtk; "
        f"conda: conda install -c conda-forge dcmtk) or name its folder with --dcmtk_dir",
        binary=name,
    )


def _is_program(path: Path) -> bool:
    """Whether a program lies there; not so where the folder may not be searched (root's on PATH, under su)."""
    with contextlib.suppress(OSError):
        return path.is_file() and os.access(path, os.X_OK)
    return False


def _check_searchable(folder: Path, name: str) -> None:
    """A folder that was named on purpose is not passed over in silence."""
    try:
        (folder / name).stat()
    except PermissionError as error:
        raise ToolError(
            f"{folder} may not be searched: {error.strerror}; have it opened to you, or name another folder of DCMTK's "
            "with --dcmtk_dir",
            binary=name,
        ) from error
    except OSError:
        return


def _is_python_script(path: Path) -> bool:
    with contextlib.suppress(OSError), path.open("rb") as file:
        return re.match(rb"#!.*python", file.readline(256)) is not None
    return False


def _quoted(argument: str) -> str:
    """One argument as DCMTK reads it from a command file, which knows quotes but no escapes."""
    if "\n" in argument or "\r" in argument:
        raise ToolError(f"DCMTK cannot be given the argument {argument!r}: it holds a line break")
    for quote in ('"', "'"):
        if quote not in argument:
            return f"{quote}{argument}{quote}"
    raise ToolError(f"DCMTK cannot be given the argument {argument!r}: it holds both kinds of quotes")


class Process:
    """One running DCMTK binary, with its output in `log_path` (0600, removed with the staging folder)."""

    def __init__(
        self,
        name: str,
        argv: tuple[str, ...],
        command: Any,
        log_path: Path,
        done: Callable[[Process], None],
    ) -> None:
        self.name = name
        self.argv = argv
        self.log_path = log_path
        self._command = command
        self._done = done
        self._exit_status: int | None = None
        self.silenced = False

    @property
    def group(self) -> int:
        """The process group, which is also the process id of the binary itself."""
        return int(self._command.pid)

    def poll(self) -> int | None:
        """The exit status, or None while it runs; negative: the signal that ended it."""
        if self._exit_status is None:
            alive, exit_status = self._command.process.is_alive()
            if not alive:
                self._exit_status = int(exit_status)
                # What it forked (storescp does for each association) must not outlive it.
                _signal_group(self.group, signal.SIGKILL)
                self._done(self)
        return self._exit_status

    def wait(self, timeout_s: float) -> int | None:
        """Waits at most so long for the exit status; None when the time is over."""
        deadline = time.monotonic() + timeout_s
        while self.poll() is None and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return self._exit_status

    def end(self, grace_s: float = guardian.GRACE_S) -> None:
        """Ends the whole group: SIGTERM (an SCU then aborts its association), SIGKILL after `grace_s`."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._exit_status is None:
                _signal_group(self.group, number)
                self.wait(grace_s)

    def follow(self, silence_timeout_s: float) -> Iterator[bytes]:
        """Yields the log piece by piece until the process has ended; a longer silence ends it."""
        for data in self.news(silence_timeout_s):
            if data:
                yield data
            else:
                time.sleep(_POLL_S)

    def news(self, silence_timeout_s: float) -> Iterator[bytes]:
        """As `follow`, but yields b"" at once where there is nothing new."""
        heard = time.monotonic()
        with self.log_path.open("rb") as output:
            while True:
                ended = self.poll() is not None
                data = output.read()
                if data:
                    heard = time.monotonic()
                elif ended:
                    return
                elif time.monotonic() - heard > silence_timeout_s:
                    log.warning("%s heard nothing for %g s and is ended", self.name, silence_timeout_s)
                    self.silenced = True
                    self.end()
                yield data

    def wait_until_it_listens(self, port: int) -> None:
        """Waits until a server accepts connections on the port.

        Raises:
            ToolError: it ended, or does not listen after 20 s.
        """
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            self.check()
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(_POLL_S)
        raise ToolError(f"{self.name} did not listen on port {port} within {_START_S:g} s", binary=self.name)

    def check(self) -> None:
        """Raises ToolError when a server has ended by itself."""
        if self.poll() is not None:
            raise ToolError(
                f"{self.name} ended by itself: {'; '.join(self.last_lines()) or 'no reason given'}",
                binary=self.name,
                argv=self.argv,
                exit_status=self.poll(),
                last_lines=self.last_lines(),
            )

    def last_lines(self) -> tuple[str, ...]:
        """The last lines of the log, for an error message (no data set is ever dumped there)."""
        with contextlib.suppress(OSError), self.log_path.open("rb") as output:
            # A long C-MOVE makes it as long as 1 kB an instance.
            output.seek(max(0, output.seek(0, os.SEEK_END) - _LAST_BYTES))
            return tuple(output.read().decode("utf-8", "replace").splitlines()[-_LAST_LINES:])
        return ()


@dataclass(frozen=True)
class Binary:
    """A DCMTK binary that was asked for its version."""

    path: Path
    version: str


class Toolbox:
    """The DCMTK binaries of one run; as a context manager it ends every process it started."""

    def __init__(self, dcmtk_dir: Path | None = None) -> None:
        self._dcmtk_dir = dcmtk_dir
        self._binaries: dict[str, Binary] = {}
        self._running: list[Process] = []
        self._guardian_pipe: int | None = None
        self._asked: dict[str, _Asked] = {}

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
                self._asked[name] = _Asked(name, find_binaries(name, self._dcmtk_dir)[0])
                self._asked[name].__enter__()

    def require(self, names: Iterable[str]) -> None:
        """Checks that the binaries are there, are DCMTK's own and recent enough; once a binary.

        Raises:
            ToolError: one is absent, older than DCMTK 3.6.6, or another program of the same name.
        """
        _check_dictionary()
        names = tuple(names)
        try:
            self.ask(names)
            for name in [name for name in names if name not in self._binaries]:
                others = find_binaries(name, self._dcmtk_dir)[1:]
                self._binaries[name] = _first_of_dcmtk(name, self._asked[name], others)
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
    ) -> Process:
        """Starts a binary in `folder` (0700); its log and command file there are named after `tag`.

        `level`: what it is to tell of its work, INFO as with `-v`, DEBUG as with `-d`; `writes_to`: it may write below
        that folder only (see `confinement`, which must be possible), and so takes no `level`; `dictionary`: its data
        dictionary, as a path from `folder`, where DCMDICTPATH names none.
        """
        self.require([name])
        if level:
            (folder / f"{tag}.log.cfg").write_text(_LOGGING.format(level=level, tag=tag), encoding="ascii")
            arguments = ["-lc", f"{tag}.log.cfg", *arguments]
        arguments_file = folder / f"{tag}.args"
        _write_private(arguments_file, "\n".join(_quoted(each) for each in arguments) + "\n")
        argv = (str(self._binaries[name].path), f"@{arguments_file.name}")
        log.debug("starting %s in %s", name, folder.name)
        log_path = folder / f"{tag}.log"
        with _signals_held():
            command = self._spawn(argv, folder, log_path, writes_to, dictionary)
            process = Process(name, argv, command, log_path, self._forget)
            self._running.append(process)
        return process

    def close(self) -> None:
        """Ends every process that still runs, all groups at once, then the guardian."""
        for process in self._running:
            _signal_group(process.group, signal.SIGTERM)
        for process in list(self._running):
            process.end()
        self._end_asked()
        if self._guardian_pipe is not None:
            os.close(self._guardian_pipe)
            self._guardian_pipe = None

    def kill(self) -> None:
        """Kills every process group at once, waiting for nothing."""
        for process in self._running:
            _signal_group(process.group, signal.SIGKILL)
        self._end_asked()

    def _end_asked(self) -> None:
        while self._asked:
            _, asked = self._asked.popitem()
            asked.__exit__()

    def _forget(self, process: Process) -> None:
        self._running.remove(process)
        self._tell_guardian(f"-{process.group}\n")

    def _tell_guardian(self, line: str) -> None:
        if self._guardian_pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._guardian_pipe, line.encode())

    def _start_guardian(self) -> None:
        read_end, write_end = os.pipe()
        program = [sys.executable, "-I", "-S", str(Path(guardian.__file__))]
        with os.fdopen(read_end, "rb") as source:
            _run_in_background(program, source, None, Path("/"), None)
        self._guardian_pipe = write_end

    def _spawn(
        self, argv: Sequence[str], folder: Path, log_path: Path, writes_to: Path | None, dictionary: str
    ) -> Any:
        if self._guardian_pipe is None:
            self._start_guardian()

        def announce() -> None:
            # Runs in the child before exec: a SIGKILL of pacsifier at any later moment finds it announced.
            self._tell_guardian(f"+{os.getpid()}\n")
            if writes_to is not None:
                confinement.confine(writes_to)

        # To append lets a reader empty it.
        descriptor = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "wb") as output, Path(os.devnull).open("rb") as nothing:
            return _run_in_background(argv, nothing, output, folder, announce, dictionary=dictionary)


def _first_of_dcmtk(name: str, first: _Asked, others: Sequence[Path]) -> Binary:
    """The first path that is DCMTK's tool and recent enough; else the error of the first."""
    try:
        return Binary(first.path, _version(first))
    except ToolError:
        for path in others:
            with contextlib.suppress(ToolError), _Asked(name, path) as asked:
                return Binary(path, _version(asked))
        raise


def _check_dictionary() -> None:
    """DCMTK cannot encode anything without its data dictionary, and says so only once it is connected."""
    named = os.environ.get("DCMDICTPATH", "")
    if named and not any(os.access(each, os.R_OK) for each in named.split(os.pathsep) if each):
        raise ToolError(
            f"the environment variable DCMDICTPATH ({named}) names no data dictionary that can be read; "
            f"unset it, or let it name DCMTK's dicom.dic"
        )


def _version(asked: _Asked) -> str:
    """The version of DCMTK's tool; raises ToolError where it is none, or too old."""
    name, path = asked.name, asked.path
    exit_status, output = asked.answer()
    found = _BANNER.search(output)
    if not found and (exit_status < 0 or exit_status >= _NOT_RUN):
        said = output.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
        raise ToolError(
            f"{path} does not run (exit status {exit_status}): {said[-1]:.200}; "
            f"mend this DCMTK, or name another one's folder with --dcmtk_dir",
            binary=name,
            exit_status=exit_status,
        )
    if not found or found[1].decode() != name:
        raise ToolError(
            f"{path} is not DCMTK's {name} (dcm4che has tools of the same names); "
            f"name DCMTK's folder with --dcmtk_dir",
            binary=name,
        )
    numbers = tuple(int(part) for part in found.groups()[1:])
    version = ".".join(map(str, numbers))
    if numbers < OLDEST_VERSION:
        raise ToolError(
            f"{path} is DCMTK {version}; {'.'.join(map(str, OLDEST_VERSION))} or later is needed", binary=name
        )
    return version


class _Asked:
    """A program that is asked for its `--version`; as a context manager it does not outlive it."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self._output = io.BytesIO()
        self._command: Any = None

    def __enter__(self) -> _Asked:
        with contextlib.ExitStack() as stack:
            stack.push(self.__exit__)
            with Path(os.devnull).open("rb") as nothing, _signals_held():
                try:
                    argv = [str(self.path), "--version"]
                    self._command = _run_in_background(argv, nothing, self._output, Path("/"), None)
                except (_sh().ForkException, _sh().CommandNotFound, OSError):
                    # Told by `answer`: another program of the name may do.
                    log.debug("%s cannot be started", self.name)
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        if self._command is not None:
            # Also what it started itself, which would hold its output open.
            _signal_group(int(self._command.pid), signal.SIGKILL)
            self._command.wait()
            self._command = None

    def answer(self) -> tuple[int, bytes]:
        """Exit status and output; raises ToolError where it could not be started or does not end."""
        if self._command is None:
            raise ToolError(
                f"{self.path} cannot be started; name DCMTK's folder with --dcmtk_dir", binary=self.name
            )
        # sh's own time-out polls every 100 ms: three checks of 13 ms would take 300.
        deadline = time.monotonic() + _VERSION_S
        while self._command.process.is_alive()[0]:
            if time.monotonic() > deadline:
                raise ToolError(
                    f"{self.path} --version has not ended after {_VERSION_S:g} s; is its file system in order? "
                    f"Name another DCMTK's folder with --dcmtk_dir",
                    binary=self.name,
                )
            time.sleep(_VERSION_POLL_S)
        _signal_group(int(self._command.pid), signal.SIGKILL)
        self._command.wait()
        return int(self._command.exit_code), self._output.getvalue()


def _run_in_background(
    argv: Sequence[str],
    source: Any,
    output: Any,
    folder: Path,
    before_exec: Callable[[], None] | None,
    *,
    dictionary: str = "",
) -> Any:
    environment = {**os.environ, "TCP_NODELAY": "1"}
    if named := environment.get("DCMDICTPATH"):
        # The tool works in another folder than we do.
        paths = [str(Path(each).absolute()) for each in named.split(os.pathsep) if each]
        environment["DCMDICTPATH"] = os.pathsep.join(paths)
    if dictionary:
        environment.setdefault("DCMDICTPATH", dictionary)
    return _sh().Command(argv[0])(
        *argv[1:],
        _in=source,
        _out=output if output is not None else os.devnull,
        _err_to_out=True,
        _tty_out=False,
        _bg=True,
        _bg_exc=False,
        _new_session=True,
        _cwd=str(folder),
        _env=environment,
        _ok_code=_ANY_EXIT_STATUS,
        _preexec_fn=before_exec,
    )


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Lets signals wait: Python swallows what their handlers raise in its callbacks at a fork, and goes on."""
    came: list[int] = []
    handlers: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        # SIGALRM raises once more what was swallowed.
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
        handlers = {number: signal.getsignal(number) for number in numbers}
    for number, handler in handlers.items():
        if callable(handler):
            signal.signal(number, lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if callable(handler):
                signal.signal(number, handler)
        for number in came[:1]:
            signal.raise_signal(number)


def _sh() -> Any:
    """The library sh, muted: it logs every command with its arguments, which are nobody's business."""
    import sh

    logging.getLogger("sh").setLevel(logging.CRITICAL)
    return sh


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(group, number)


def _write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
