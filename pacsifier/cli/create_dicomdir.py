"""The command `pacsifier-create-dicomdir`: create a DICOMDIR of all dicoms within a folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pacsifier.cli import common
from pacsifier.cli.events import Events, add_json, check_json, given
from pacsifier.cli.parser import Parser
from pacsifier.errors import first_of
from pacsifier.figures import counted

if TYPE_CHECKING:
    from pacsifier.flows.create_dicomdir import FileSet

_PROG = "pacsifier-create-dicomdir"
_LONGEST_LIST = 20

_EXAMPLES = """examples:
  pacsifier-create-dicomdir --in_folder data --out_folder cd
      copies every instance below data to cd/PA000001/ST000001/SE000001/IM000001 and so on, names that every reader of
      media accepts, and lists all in cd/DICOMDIR; what a DICOMDIR needs and an instance lacks (StudyID, StudyTime,
      SeriesNumber ...) is invented in the copy, and told. A later run adds what is new.
  pacsifier-create-dicomdir --in_folder data --out_folder cd --link
      no copies where the file system can share the bytes
  pacsifier-create-dicomdir --in_folder cd --out_folder cd
      only the DICOMDIR: where all names are such already, and nothing is missing

  The File-set is not de-identified by this command.

"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command; no side effects."""
    parser = Parser(
        prog=_PROG,
        description="Create a DICOMDIR of all dicoms within a folder.",
        epilog=_EXAMPLES + common.exit_statuses(common.EXIT_TOOL),
    )
    parser.documented = ("--help", "--in_folder", "--out_folder")
    paths = parser.add_argument_group("what is read and written")
    paths.add_argument(
        *("--in_folder", "-d"),
        type=Path,
        default=Path("./data"),
        help='Directory to the dicom files (default: "./data")',
    )
    paths.add_argument(
        *("--out_folder", "-o"),
        type=Path,
        default=Path("./data"),
        help='Output directory where the dicoms and DICOMDIR will be saved (default: "./data")',
    )
    common.add_common_arguments(parser)
    group = parser.add_argument_group("further options")
    group.add_argument(
        "--link",
        action="store_true",
        help="Share bytes with the in folder instead of copying them, where the file system can: by reflinks, which "
        "nobody notices, else by hard links, which show later changes on both sides",
    )
    group.add_argument(
        "--dcmtk_dir", type=Path, metavar="DIR", help="Folder of DCMTK's binaries (default: on PATH)"
    )
    add_json(group.add_argument)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = build_parser()
    arguments = common.parsed(parser, argv)
    check_json(parser, arguments)
    common.set_up_logging(0)
    events = Events.of(_PROG, arguments)
    return events.run(
        given(arguments, "link"),
        lambda: _create(arguments, events),
        remedy="; the same command again does the rest",
        arguments=arguments,
    )


def _create(arguments: argparse.Namespace, events: Events) -> int:
    from pacsifier.cli.ticker import Ticker
    from pacsifier.dcmtk.toolbox import Toolbox
    from pacsifier.flows import create_dicomdir

    with Toolbox(arguments.dcmtk_dir) as toolbox, Ticker(events) as ticker:
        common.on_signals(toolbox.kill)
        summary = create_dicomdir.create(
            arguments.in_folder, arguments.out_folder, toolbox, ticker, link=arguments.link
        )
    _tell(summary, events)
    return _print_summary(summary)


def _tell(summary: FileSet, events: Events) -> None:
    events.warnings(summary.notes, "remarks on instances")
    events.files("not_taken", summary.refused)
    events.result(
        complete=not summary.refused,
        instances=summary.instances,
        media_profile=summary.media_profile,
        files={
            "written": summary.written,
            "earlier": summary.earlier,
            "not_taken": len(summary.refused),
            "others": summary.others,
        },
    )


def _print_summary(summary: FileSet) -> int:
    for lines in ([f"{path}: not taken: {why}" for path, why in summary.refused], summary.notes):
        for line in first_of(lines, _LONGEST_LIST, "more of this kind"):
            print(f"{_PROG}: {line}", file=sys.stderr)
    earlier = f", {summary.earlier} of them from earlier runs only" if summary.earlier else ""
    print(
        f"instances: {summary.instances}{earlier}; {summary.written} written, "
        f"{counted(summary.others, 'other file')} left",
        file=sys.stderr,
    )
    verb = "written" if summary.changed else "as it was"
    print(
        f"{verb}: {summary.path} (fits {summary.media_profile}); every instance is listed once",
        file=sys.stderr,
    )
    return common.EXIT_MISSING if summary.refused else common.EXIT_COMPLETE


if __name__ == "__main__":
    sys.exit(main())
