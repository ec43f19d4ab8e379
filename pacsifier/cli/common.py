"""What the commands share: logging, signals, and the one place where errors become exit statuses."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import resource
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from pacsifier import __version__
from pacsifier.allowed import POSITIVE, Kind
from pacsifier.cli import streams
from pacsifier.cli.completion import SHELLS, PrintCompletion
from pacsifier.errors import (
    AnswerError,
    AssociationError,
    Fault,
    InputError,
    PacsError,
    PacsifierError,
    ServiceError,
    ToolError,
)

if TYPE_CHECKING:
    from pacsifier.query import Shard

_First = TypeVar("_First")
_Second = TypeVar("_Second")

_AGAIN_S = 0.01

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

_STATUS_LINES = {
    EXIT_COMPLETE: "everything asked for is there, complete",
    EXIT_MISSING: "the run ended, something is missing or failed: the messages name it",
    EXIT_INPUT: "a mistake in a file, a folder or an option; nothing was written",
    EXIT_ASSOCIATION: "the de-ID service cannot be reached, refuses us or is silent; nothing was written",
    EXIT_TOOL: "DCMTK is missing, too old, or another program of the same name",
}


def exit_statuses(*further: int, again: str = "the same command again") -> str:
    """The exit statuses of a command that works on files: 0, 1, 2, interruptions, and `further` ones."""
    statuses = sorted({EXIT_COMPLETE, EXIT_MISSING, EXIT_INPUT, *further})
    lines = [f"  {status}    {_STATUS_LINES[status]}" for status in statuses]
    lines.append(f"  130  interrupted (Ctrl-C); 143: terminated; 129: hung up; {again} goes on from there")
    return "\n".join(["exit status:", *lines])


# What a person does next, by who must act; what an error itself says of it stands before.
_NEXT_STEPS: tuple[tuple[type[PacsifierError], str], ...] = (
    (InputError, "once that is put right, run the same command again; --help tells what is allowed"),
    (PacsError, "pacsifier --check tries config, network and PACS one by one, with a remedy for each"),
    (ServiceError, "once the service answers, run the same command again"),
    (ToolError, "once that is put right, run the same command again"),
)


class Interrupted(BaseException):
    """A signal asks the run to end; raised once in the main thread."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(signal.Signals(number).name)


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--version` and `--print_completion`."""
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument(
        "--print_completion",
        action=PrintCompletion,
        choices=SHELLS,
        metavar="SHELL",
        help="Print a script by which a shell completes the options of this command, and exit: bash, zsh or fish",
    )


def add_extra_columns(add: Callable[..., argparse.Action]) -> None:
    """Adds `--extra_columns`, for commands that read a query file."""
    add(
        "--extra_columns",
        action="store_true",
        help="Keep columns of the query file that are no query columns (a study arm, a comment): they are carried into "
        "logs/redo.csv, logs/query_rows.csv and the log (as query_NAME), and never sent",
    )


def positive(text: str) -> int:
    """The type of an option that takes a whole number from 1."""
    number: int = of_text(POSITIVE, text)
    return number


def shard(text: str) -> Shard:
    """The type of an option that takes one part of several."""
    from pacsifier.query import SHARD

    part: Shard = of_text(SHARD, text)
    return part


def of_text(kind: Kind, text: str) -> Any:
    """A value of a kind, as the type of an option has to give it."""
    try:
        return kind.of_text(text)
    except ValueError:
        raise argparse.ArgumentTypeError(kind.allowed) from None


def set_up_logging(verbosity: int) -> None:
    """Sends log records to stderr: warnings; with -v one line per row and series; with -vv what the tools do, too."""
    streams.secure()
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbosity, 2)]
    logging.basicConfig(stream=sys.stderr, level=level, format="%(levelname)s: %(message)s")
    # The warnings of libraries quote the values that they dislike.
    logging.getLogger("pydicom").disabled = True
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def on_signals(kill: Callable[[], None]) -> None:
    """Makes the first SIGINT, SIGTERM or SIGHUP raise `Interrupted`; a second one ends at once after `kill`.

    Where Python swallows the exception (it came in a finalizer, in a callback of a library), it is raised again.
    """
    seen: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        if seen:
            kill()
            os._exit(128 + number)
        seen.append(number)
        raise Interrupted(number)

    def raise_again(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted(seen[0])

    def hear(swallowed: Any) -> None:
        if isinstance(swallowed.exc_value, Interrupted):
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
        else:
            sys.__unraisablehook__(swallowed)

    sys.unraisablehook = hear
    signal.signal(signal.SIGALRM, raise_again)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # nohup lets a run outlive its terminal by ignoring SIGHUP.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handle)


def parsed(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line with every path absolute, defaults too: a tool works in another folder than we do.

    Links and `..` stay as they were typed: `link/..` is not the folder of the link.
    """
    # --help and --version are printed here; some Pythons end with a traceback where nobody can take them.
    streams.secure()
    arguments = parser.parse_args(argv)
    # Where this folder is gone, only relative paths are lost.
    with contextlib.suppress(OSError):
        for name, value in vars(arguments).items():
            if isinstance(value, Path):
                setattr(arguments, name, value.absolute())
            elif isinstance(value, list):
                # An option that may be given several times.
                setattr(
                    arguments, name, [each.absolute() if isinstance(each, Path) else each for each in value]
                )
    return arguments


def run(
    work: Callable[[], int],
    prog: str,
    *,
    verbosity: int = 0,
    remedy: Callable[[], str] | str = "",
    arguments: argparse.Namespace | None = None,
) -> int:
    """Runs a flow and maps what it raises to an exit status, with one message on stderr.

    `remedy` says how to go on after an interruption, as things are then; `arguments` hold the user's own paths.
    """

    def remedied() -> str:
        return remedy if isinstance(remedy, str) else remedy()

    with contextlib.suppress(OSError, ValueError):
        # A dump of our memory, or of a tool's, would hold patients' data.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        return work()
    except PacsifierError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        print(f"{prog}: {_next_step(error)}", file=sys.stderr)
        if verbosity:
            logging.getLogger(__name__).debug("raised here", exc_info=error)
        return _status(error)
    except Interrupted as interruption:
        print(f"{prog}: ended by {interruption}{remedied()}", file=sys.stderr)
        return 128 + interruption.number
    except OSError as error:
        logging.getLogger(__name__).debug("raised here", exc_info=error)
        why = error.strerror or type(error).__name__
        print(f"{prog}: the run ended early: {why}{_opened(error, arguments)}{remedied()}", file=sys.stderr)
        return EXIT_MISSING
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception as error:
        # Its text may hold a value of a patient; the place where it was raised does not.
        logging.getLogger(__name__).debug("raised here", exc_info=error)
        places = "".join(traceback.format_tb(error.__traceback__))
        print(
            f"{places}{prog}: {type(error).__name__}, a fault of pacsifier itself: please report the lines above"
            f"{remedied()}",
            file=sys.stderr,
        )
        return EXIT_MISSING


def _opened(error: OSError, arguments: argparse.Namespace | None) -> str:
    """What was being opened, such as " (/data/out)"; "" where that is not known or may name a patient."""
    values = [value for value in vars(arguments).values() if isinstance(value, Path)] if arguments else []
    given = [*values, *(Path(os.path.realpath(value)) for value in values)]
    paths = [os.fsdecode(each) for each in (error.filename, error.filename2) if isinstance(each, str | bytes)]
    told = dict.fromkeys(_told(Path(path), given) for path in paths if path)
    names = ", ".join(each for each in told if each)
    return f" ({names})" if names else ""


def _told(path: Path, given: Sequence[Path]) -> str:
    """A path as the console may show it: a name in a folder of the user's, or in one beside it, may be a patient's."""
    beside = [
        each.parent / path.relative_to(each.parent).parts[0] for each in given if each.parent in path.parents
    ]
    around = [each for each in given if path.is_relative_to(each)] or beside
    if around:
        nearest = max(around, key=lambda each: len(each.parts))
        return str(path) if path == nearest else f"in {nearest}"
    # A relative one comes from a walk through a folder.
    of_a_patient = not path.is_absolute() or any(part.startswith("sub-") for part in path.parts)
    return "" if of_a_patient else str(path)


def ask(question: str) -> bool | None:
    """Whether the person at the terminal says yes; None: nobody is there."""
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


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


def _next_step(error: PacsifierError) -> str:
    return next((step for kind, step in _NEXT_STEPS if isinstance(error, kind)), _NEXT_STEPS[0][1])


def _status(error: PacsifierError) -> int:
    statuses: tuple[tuple[type[PacsifierError], int], ...] = (
        (InputError, EXIT_INPUT),
        (AssociationError, EXIT_ASSOCIATION),
        (AnswerError, EXIT_MISSING),
        (ServiceError, EXIT_ASSOCIATION),
        (PacsError, EXIT_MISSING),
        (ToolError, EXIT_TOOL),
    )
    return next((status for kind, status in statuses if isinstance(error, kind)), EXIT_MISSING)
