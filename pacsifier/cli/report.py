"""The command `pacsifier-report`: a page with pictures of what a folder holds, what was asked for, what is missing."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pacsifier.cli import common
from pacsifier.cli.parser import Parser
from pacsifier.errors import PacsifierError
from pacsifier.figures import counted, size_text, time_text

if TYPE_CHECKING:
    from pacsifier.deidentify.model import Request as Deidentified
    from pacsifier.report.folder import Request, Written

PROG = "pacsifier-report"

_EPILOG = """two kinds of report:
  Of what pacsifier brought (identified): FOLDER/report.html. It names patients, says so at its top, and only its owner
  may read it (0600).

  Of what pacsifier-anonymize wrote (anonymized): FOLDER.report.html beside FOLDER, never in it. Its text names nobody.
  Series that may show a patient come first; what is ticked there is saved as the file that pacsifier-anonymize
  --reviewed takes. Until somebody has looked, only its owner may read it (0600).

  A report is of the second kind only where every image says that pacsifier has de-identified it, and there are no logs.

  A page is written whatever it shows: that something is missing is no failure of this command (exit status 0).
  It asks nothing of a network, and is read without scripts. Where it would be large, its pictures and further
  pages lie in a folder beside it (report_files). It is written anew as a whole each time. Without logs (a folder that
  was moved, a tree of PACSIFIER 1.0.0) it tells what the images tell, and says what is not known.

examples:
  pacsifier-report images
      write images/report.html: what was asked, found and missing, and a picture of each series
  pacsifier-report shared --key keys/shared.key.json
      write keys/shared.report.html: an anonymized folder whose key and tables were kept elsewhere

"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command; no side effects."""
    parser = Parser(
        prog=PROG,
        description="Write one page with pictures that shows what a folder of images holds: what was asked for, found "
        "and arrived, what is missing and how to get it, and the middle image of each series "
        "(needs: pip install 'pacsifier[pixels]').",
        epilog=_EPILOG + common.exit_statuses(),
    )
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        type=Path,
        help="The folder of images: an output of pacsifier or "
        "pacsifier-anonymize, or any folder of DICOM files",
    )
    add = parser.add_argument_group("where things lie").add_argument
    add(
        "--key",
        type=Path,
        metavar="FILE",
        help="The key of an anonymized folder, beside which its tables lie (default: FOLDER.key.json); the page is "
        "written there, too",
    )
    add(
        "--out_file",
        type=Path,
        metavar="FILE",
        help="The page to write (default: FOLDER/report.html; of an anonymized folder FOLDER.report.html beside it)",
    )
    add = parser.add_argument_group("the run").add_argument
    add(
        "--no_pictures",
        action="store_true",
        help="Draw no pictures: grey tiles in their place (default: draw)",
    )
    add(
        "--workers",
        type=common.positive,
        metavar="N",
        help="Processes at a time (default: the CPUs of this job)",
    )
    add("--verbose", "-v", action="count", default=0, help="Say more about what goes wrong")
    common.add_common_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    arguments = common.parsed(build_parser(), argv)
    common.set_up_logging(arguments.verbose)
    return common.run(lambda: _report(arguments), PROG, verbosity=arguments.verbose, arguments=arguments)


def _report(arguments: argparse.Namespace) -> int:
    from pacsifier.deidentify.crew import available_cpus
    from pacsifier.report.folder import Request

    common.on_signals(lambda: None)
    request = Request(
        arguments.folder,
        key=arguments.key,
        output=arguments.out_file,
        pictures=not arguments.no_pictures,
        workers=arguments.workers or available_cpus(),
    )
    tell(written(request))
    return common.EXIT_COMPLETE


# --- for the commands that write a report at their end ------------------------------------------------------------


def add_report(add: Callable[..., argparse.Action], where: str) -> None:
    """Adds `--report`; `where` tells where the page is written."""
    add(
        "--report",
        action="store_true",
        help=f"At the end write a page with pictures of what is there: {where} "
        "(needs: pip install 'pacsifier[pixels]'; see pacsifier-report --help)",
    )


def check_report(parser: argparse.ArgumentParser) -> None:
    """Ends before the run where no page could be written after it."""
    from pacsifier.pictures import needs

    if absent := needs.missing(needs.PAGE):
        parser.error(f"--report needs {', '.join(absent)}, which is not installed: {needs.INSTALL}")


def of_run(folder: Path, again: str) -> int:
    """Writes the report of a run of `pacsifier`; returns an exit status. `again`: the command that goes on with it."""
    from pacsifier.report.folder import Request

    return _at_the_end(Request(folder, again=again)) if folder.is_dir() else common.EXIT_COMPLETE


def of_output(done: Deidentified) -> int:
    """Writes the report of a run of `pacsifier-anonymize`; returns an exit status."""
    from pacsifier.report.folder import Request

    return _at_the_end(Request(done.out_folder, key=done.key, workers=done.workers))


def _at_the_end(request: Request) -> int:
    """Writes a report after the work is done, which stays as it is where that cannot be."""
    from pacsifier.disk.names import shown

    try:
        tell(written(request))
    except PacsifierError as error:
        why = str(error)
    except OSError as error:
        why = error.strerror or type(error).__name__
    else:
        return common.EXIT_COMPLETE
    print(
        f"{PROG}: no report was written: {why}; all else is done: {PROG} {shown(request.folder)}",
        file=sys.stderr,
    )
    return common.EXIT_MISSING


def written(request: Request) -> Written:
    """Writes a report with its progress on stderr."""
    from pacsifier.cli.ticker import Ticker
    from pacsifier.report.folder import write_report

    with Ticker() as progress:
        return write_report(request, progress)


def tell(done: Written) -> None:
    """Says what was written, and where."""
    series = counted(done.series, "series", "series")
    pages = f" on {done.pages} pages" if done.pages > 1 else ""
    took = f"{size_text(done.bytes)} in {time_text(done.seconds)}"
    print(
        f"report of {done.kind.value} images: {series}, {done.pictures} with a picture{pages}; {took}",
        file=sys.stderr,
    )
    if done.to_review:
        print(f"to be looked at first: {counted(done.to_review, 'series', 'series')}", file=sys.stderr)
    print(f"open it in a browser: {done.path}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
