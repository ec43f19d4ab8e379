"""The command `pacsifier-add-karnak-tags`: private tags by which Karnak de-identifies and routes studies."""

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
    from pacsifier.flows.add_karnak_tags import Tagged

_PROG = "pacsifier-add-karnak-tags"
_LONGEST_LIST = 20

_EXAMPLES = """examples:
  pacsifier-add-karnak-tags --in_folder data --new_ids ids/new_ids_MYPROJECT.json \\
      --day_shift ids/day_shift_MYPROJECT.json --album_name "My album"
      writes (000B,xx01) patient code, (000B,xx02) album and (000B,xx03) day shift under the creator CHUV_DEV_TML into
      every instance below data, in place, each file whole or as it was; pixel data stays as it is
  pacsifier-add-karnak-tags --in_folder data --new_ids ids/new_ids_MYPROJECT.json --album_name "My album" --dry_run
      checks everything and says how many files would change

  The maps: {"sub-1234": "P0001"} and {"sub-1234": -12}, sub-<PatientID> or PatientID. The images stay identified.

"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command; no side effects."""
    parser = Parser(
        prog=_PROG,
        description="Add private DICOM tags to several studies so that Karnak can de-identify them using provided "
        "patient codes and route them to the appropriate Kheops album.",
        epilog=_EXAMPLES + common.exit_statuses(),
    )
    parser.documented = ("--help", "--in_folder", "--new_ids", "--day_shift", "--album_name")
    add = parser.add_argument_group("what is read and written").add_argument
    add(
        *("--in_folder", "-d"),
        type=Path,
        required=True,
        default=Path("./data"),
        help="Directory to the dicom files",
    )
    add(
        *("--new_ids", "-n"),
        type=Path,
        required=True,
        help='List of new patient IDentifiers: a JSON file {"sub-1234": "P0001"}',
    )
    add(
        *("--day_shift", "-s"),
        type=Path,
        help='List of day shift per patient: a JSON file {"sub-1234": -12}; a patient who is not there gets 0',
    )
    add(
        *("--album_name", "-a"),
        required=True,
        help="Name of destination Kheops album to route the tagged study",
    )
    common.add_common_arguments(parser)
    group = parser.add_argument_group("further options")
    group.add_argument("--dry_run", action="store_true", help="Check everything, change nothing")
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
        given(arguments, "dry_run"),
        lambda: _tag(arguments, events),
        remedy="; the same command again does the rest",
        arguments=arguments,
    )


def _tag(arguments: argparse.Namespace, events: Events) -> int:
    from pacsifier.cli.ticker import Ticker
    from pacsifier.flows.add_karnak_tags import add_tags
    from pacsifier.maps import read_day_shifts, read_new_ids

    new_ids, day_shifts = common.read_all(
        lambda: read_new_ids(arguments.new_ids),
        lambda: read_day_shifts(arguments.day_shift) if arguments.day_shift else None,
    )
    common.on_signals(lambda: None)
    with Ticker(events) as ticker:
        summary = add_tags(
            arguments.in_folder,
            new_ids,
            day_shifts,
            arguments.album_name,
            ticker,
            dry_run=arguments.dry_run,
        )
    _tell(summary, events, dry_run=arguments.dry_run)
    for note in summary.notes:
        print(f"{_PROG}: {note}", file=sys.stderr)
    for line in first_of([f"{path}: {why}" for path, why in summary.failures], _LONGEST_LIST):
        print(f"{_PROG}: {line}", file=sys.stderr)
    if not summary.patients and not summary.failures:
        print(f"{_PROG}: no DICOM instance below {arguments.in_folder}", file=sys.stderr)
        return common.EXIT_MISSING
    verb = "would be tagged" if arguments.dry_run else "tagged"
    print(
        f"patients: {summary.patients}; instances: {summary.changed} {verb}, {summary.already} were tagged already, "
        f"{len(summary.failures)} failed; {counted(summary.others, 'other file')} left",
        file=sys.stderr,
    )
    return common.EXIT_MISSING if summary.failures else common.EXIT_COMPLETE


def _tell(summary: Tagged, events: Events, *, dry_run: bool) -> None:
    events.warnings(summary.notes, "remarks on patients and folders")
    events.files("not_tagged", summary.failures)
    events.result(
        complete=bool(summary.patients) and not summary.failures,
        patients={"found": summary.patients},
        files={
            "tagged": 0 if dry_run else summary.changed,
            "to_tag": summary.changed if dry_run else 0,
            "already": summary.already,
            "not_tagged": len(summary.failures),
            "others": summary.others,
        },
    )


if __name__ == "__main__":
    sys.exit(main())
