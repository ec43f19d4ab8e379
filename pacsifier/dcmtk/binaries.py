"""Finds DCMTK's binaries and asks them for their versions."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacsifier.dcmtk.spawn import muted_sh, run_in_background, signal_group, signals_held
from pacsifier.errors import ToolError

log = logging.getLogger(__name__)

OLDEST_VERSION = (3, 6, 6)
_BANNER = re.compile(rb"\$dcmtk: (\w+) v(\d+)\.(\d+)\.(\d+)")
_VERSION_S = 10.0
# Exit statuses of a shell and of the loader that could not start a program; below 0: ended by a signal.
_NOT_RUN = 126
_VERSION_POLL_S = 0.002


def find_binaries(name: str, dcmtk_dir: Path | None = None) -> list[Path]:
    """The executables of that name where DCMTK is looked for, in the order of preference.

    `dcmtk_dir` or PACSIFIER_DCMTK_DIR are binding when given; else PATH, then the folder of the Python interpreter (an
    environment that is not activated). Python scripts come last: pynetdicom installs some of these names, and to ask
    one for its version takes a second.

    Raises:
        ToolError: there is no such executable.
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
        f"DCMTK's {name} was not found {where}",
        remedy="install DCMTK (Debian: apt install dcmtk; conda: conda install -c conda-forge dcmtk) "
        "or name its folder with --dcmtk_dir",
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
            f"{folder} may not be searched: {error.strerror}",
            remedy="have it opened to you, or name another folder of DCMTK's with --dcmtk_dir",
        ) from error
    except OSError:
        return


def _is_python_script(path: Path) -> bool:
    with contextlib.suppress(OSError), path.open("rb") as file:
        return re.match(rb"#!.*python", file.readline(256)) is not None
    return False


@dataclass(frozen=True)
class Binary:
    """A DCMTK binary that was asked for its version."""

    path: Path
    version: str


def first_of_dcmtk(name: str, first: AskedVersion, others: Sequence[Path]) -> Binary:
    """The first path that is DCMTK's tool and recent enough; else the error of the first."""
    try:
        return Binary(first.path, _version(first))
    except ToolError:
        for path in others:
            with contextlib.suppress(ToolError), AskedVersion(name, path) as asked:
                return Binary(path, _version(asked))
        raise


def check_dictionary() -> None:
    """Raises ToolError where DCMTK would find no data dictionary.

    Without one it cannot encode anything, and says so only once it is connected.
    """
    named = os.environ.get("DCMDICTPATH", "")
    if named and not any(os.access(each, os.R_OK) for each in named.split(os.pathsep) if each):
        raise ToolError(
            f"the environment variable DCMDICTPATH ({named}) names no data dictionary that can be read",
            remedy="unset it, or let it name DCMTK's dicom.dic",
        )


def _version(asked: AskedVersion) -> str:
    """The version of DCMTK's tool; raises ToolError where it is another program, or too old."""
    name, path = asked.name, asked.path
    exit_status, output = asked.answer()
    found = _BANNER.search(output)
    if not found and (exit_status < 0 or exit_status >= _NOT_RUN):
        said = output.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
        raise ToolError(
            f"{path} does not run (exit status {exit_status}): {said[-1]:.200}",
            remedy="fix this DCMTK installation, or name the folder of another with --dcmtk_dir",
            exit_status=exit_status,
        )
    if not found or found[1].decode() != name:
        raise ToolError(
            f"{path} is not DCMTK's {name} (dcm4che has tools of the same names)",
            remedy="name DCMTK's folder with --dcmtk_dir",
        )
    numbers = tuple(int(part) for part in found.groups()[1:])
    version = ".".join(map(str, numbers))
    if numbers < OLDEST_VERSION:
        raise ToolError(
            f"{path} is DCMTK {version}",
            remedy=f"{'.'.join(map(str, OLDEST_VERSION))} or later is needed",
        )
    return version


class AskedVersion:
    """A program that is asked for its `--version`; a context manager, which ends it on every way out."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self._output = io.BytesIO()
        self._command: Any = None

    def __enter__(self) -> AskedVersion:
        with contextlib.ExitStack() as stack:
            stack.push(self.__exit__)
            with Path(os.devnull).open("rb") as nothing, signals_held():
                try:
                    argv = [str(self.path), "--version"]
                    self._command = run_in_background(argv, nothing, self._output, Path("/"), None)
                except (muted_sh().ForkException, muted_sh().CommandNotFound, OSError):
                    # `answer` says so: another program of that name may do.
                    log.debug("%s cannot be started", self.name)
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        if self._command is not None:
            # Also what it started itself, which would hold its output open.
            signal_group(int(self._command.pid), signal.SIGKILL)
            self._command.wait()
            self._command = None

    def answer(self) -> tuple[int, bytes]:
        """Exit status and output; raises ToolError where it could not be started or does not end."""
        if self._command is None:
            raise ToolError(f"{self.path} cannot be started", remedy="name DCMTK's folder with --dcmtk_dir")
        # sh's own time-out polls every 100 ms: three checks of 13 ms would take 300.
        deadline = time.monotonic() + _VERSION_S
        while self._command.process.is_alive()[0]:
            if time.monotonic() > deadline:
                raise ToolError(
                    f"{self.path} --version has not ended after {_VERSION_S:g} s",
                    remedy="is its file system in order? Name another DCMTK's folder with --dcmtk_dir",
                )
            time.sleep(_VERSION_POLL_S)
        signal_group(int(self._command.pid), signal.SIGKILL)
        self._command.wait()
        return int(self._command.exit_code), self._output.getvalue()
