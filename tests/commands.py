"""Runs a command in this process as its console script would, much faster than a process of its own."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


def glimpse(folder: Path, pattern: str) -> list[Path]:
    """Return what matches in a folder that a command changes meanwhile: nothing where a folder went under the look.

    `Path.glob` asks whether a folder is there, then lists it: in between it may be gone.
    """
    try:
        return list(folder.glob(pattern))
    except (FileNotFoundError, NotADirectoryError):
        return []


def invoke(command: str, *arguments: object, cwd: Path, **environment: str) -> Done:
    """Runs `pacsifier.cli.<command>` in a folder; proxies of the environment do not count."""
    out, err = io.StringIO(), io.StringIO()
    main = importlib.import_module(f"pacsifier.cli.{command}").main
    with _as_it_was(), _folder(cwd), _environment(environment):
        handler = logging.StreamHandler(err)
        logging.getLogger().addHandler(handler)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = main([str(each) for each in arguments])
            except SystemExit as end:
                status = end.code
        logging.getLogger().removeHandler(handler)
    assert "Traceback" not in err.getvalue() or "-v" in arguments, err.getvalue()
    return Done(status, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _as_it_was() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    hook, disabled = sys.unraisablehook, logging.getLogger("pydicom").disabled
    with warnings.catch_warnings():
        try:
            yield
        finally:
            sys.unraisablehook = hook
            logging.getLogger("pydicom").disabled = disabled
            for number, handler in handlers.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def _folder(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _environment(added: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    for name in [each for each in before if each.lower().endswith("_proxy")]:
        del os.environ[name]
    os.environ.update(added)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
