"""What the commands share: logging, signals, and the one place where errors become exit statuses."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

from pacsifier import __version__
from pacsifier.errors import AssociationError, Fault, InputError, PacsError, PacsifierError, ToolError

_First = TypeVar("_First")
_Second = TypeVar("_Second")

EXIT_COMPLETE = 0
EXIT_MISSING = 1
EXIT_INPUT = 2
EXIT_ASSOCIATION = 3
EXIT_TOOL = 4

EXIT_STATUSES = """exit status:
  0    everything asked for is there, complete
  1    the run ended, something is missing or failed: the summary and the log name it
  2    a mistake in the config, the query file, a folder or an option
  3    no association with the PACS: unreachable, rejected or silent
  4    DCMTK is missing, too old, or another program of the same name
  130  interrupted (Ctrl-C); 143: terminated; 129: hung up; --resume goes on from there"""


class Interrupted(BaseException):
    """A signal asks the run to end; raised once in the main thread."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(signal.Signals(number).name)


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--version`."""
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")


def set_up_logging(verbosity: int) -> None:
    """Sends log records to stderr: warnings; with -v a line a row and a series; with -vv what the tools are told."""
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbosity, 2)]
    logging.basicConfig(stream=sys.stderr, level=level, format="%(levelname)s: %(message)s")


def on_signals(kill: Callable[[], None]) -> None:
    """Makes the first SIGINT, SIGTERM or SIGHUP raise `Interrupted`; a second one ends at once after `kill`."""
    seen: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        if seen:
            kill()
            os._exit(128 + number)
        seen.append(number)
        raise Interrupted(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # nohup lets a run outlive its terminal by ignoring SIGHUP.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handle)


def run(work: Callable[[], int], prog: str, *, verbosity: int = 0, remedy: str = "") -> int:
    """Runs a flow and maps what it raises to an exit status, with one message on stderr.

    `remedy` says how to go on after an interruption.
    """
    try:
        return work()
    except PacsifierError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        if verbosity:
            logging.getLogger(__name__).debug("raised here", exc_info=error)
        return _status(error)
    except Interrupted as interruption:
        print(f"{prog}: ended by {interruption}{remedy}", file=sys.stderr)
        return 128 + interruption.number
    except OSError as error:
        # The path may hold a PatientID: it is not for the console.
        logging.getLogger(__name__).debug("raised here", exc_info=error)
        print(f"{prog}: the run ended early: {error.strerror or error}{remedy}", file=sys.stderr)
        return EXIT_MISSING
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def read_all(first: Callable[[], _First], second: Callable[[], _Second]) -> tuple[_First, _Second]:
    """Reads two inputs; where one or both are faulty, all faults come in one InputError."""
    faults: list[Fault | str] = []
    results: list[Any] = []
    for read in (first, second):
        try:
            results.append(read())
        except InputError as error:
            faults += error.faults
    if faults:
        raise InputError(*faults)
    return results[0], results[1]


def _status(error: PacsifierError) -> int:
    statuses: tuple[tuple[type[PacsifierError], int], ...] = (
        (InputError, EXIT_INPUT),
        (AssociationError, EXIT_ASSOCIATION),
        (PacsError, EXIT_MISSING),
        (ToolError, EXIT_TOOL),
    )
    return next((status for kind, status in statuses if isinstance(error, kind)), EXIT_MISSING)
