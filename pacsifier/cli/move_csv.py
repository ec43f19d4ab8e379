"""The command `pacsifier-move-csv`: move all csv files within a dicom folder into a new folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pacsifier.cli import common
from pacsifier.cli.events import Events, add_json, check_json, given
from pacsifier.cli.parser import Parser

_PROG = "pacsifier-move-csv"

_EXAMPLES = """examples:
  pacsifier-move-csv --data_folder data --info_folder info
      data/sub-1/ses-2/00003-T1.csv becomes info/sub-1/ses-2/00003-T1.csv, and so on at any depth; mapper.json and the
      tables of logs/ too. A file is never overwritten by a different one.
  pacsifier-move-csv --data_folder data --info_folder info --dry_run
      only print what would be moved

"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command; no side effects."""
    parser = Parser(
        prog=_PROG,
        description="Move all csv files within a dicom folder into a new folder.",
        epilog=_EXAMPLES + common.exit_statuses(),
    )
    parser.documented = ("--help", "--data_folder", "--info_folder")
    add = parser.add_argument_group("what is read and written").add_argument
    add("--data_folder", "-d", type=Path, help="Path to the dicom folder (needed)")
    add(
        *("--info_folder", "-o"),
        type=Path,
        help="Path to the folder where all csv files will be moved (needed)",
    )
    common.add_common_arguments(parser)
    group = parser.add_argument_group("further options")
    group.add_argument("--dry_run", action="store_true", help="Only print what would be moved")
    add_json(group.add_argument)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = build_parser()
    arguments = common.parsed(parser, argv)
    check_json(parser, arguments)
    missing = [each for each in ("data_folder", "info_folder") if getattr(arguments, each) is None]
    if missing:
        parser.error(f"give {' and '.join(f'--{each}' for each in missing)}")
    common.set_up_logging(0)
    events = Events.of(_PROG, arguments)
    return events.run(
        given(arguments, "dry_run"),
        lambda: _move(arguments, events),
        remedy="; the same command again moves the rest",
        arguments=arguments,
    )


def _move(arguments: argparse.Namespace, events: Events) -> int:
    from pacsifier.cli.ticker import Ticker
    from pacsifier.flows import move_csv

    common.on_signals(lambda: None)
    if arguments.dry_run:
        planned = move_csv.plan(arguments.data_folder, arguments.info_folder)
        for source, target in planned.moves:
            if events.wanted:
                events.emit("file", {"outcome": "would_move", **events.identified(path=str(source))})
            else:
                print(f"{source} -> {target}")
    else:
        with Ticker(events) as ticker:
            planned = move_csv.move(arguments.data_folder, arguments.info_folder, ticker)
    events.files("not_moved", planned.left)
    numbers = {"found": len(planned.moves), "there": len(planned.there), "not_moved": len(planned.left)}
    moved = 0 if arguments.dry_run else len(planned.moves)
    events.result(complete=not planned.left, files={**numbers, "moved": moved})
    for path, why in planned.left:
        print(f"{_PROG}: {path}: {why}", file=sys.stderr)
    verb = "would be moved" if arguments.dry_run else "moved"
    there = f", {len(planned.there)} were there already" if planned.there else ""
    left = f", {len(planned.left)} left" if planned.left else ""
    print(f"csv files: {len(planned.moves)} {verb} to {arguments.info_folder}{there}{left}", file=sys.stderr)
    return common.EXIT_MISSING if planned.left else common.EXIT_COMPLETE


if __name__ == "__main__":
    sys.exit(main())
