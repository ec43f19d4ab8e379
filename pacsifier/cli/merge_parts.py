"""The command `pacsifier-merge-parts`: the tables of runs with `--shard` as those of one run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pacsifier.cli import common
from pacsifier.cli.events import Events, add_json, check_json
from pacsifier.cli.parser import Parser
from pacsifier.cli.summary import redo_lines

if TYPE_CHECKING:
    from pacsifier.transfer.record.merging import MergeSummary

_PROG = "pacsifier-merge-parts"

_EXAMPLES = """examples:
  pacsifier-merge-parts --queryfile query.csv --out_directory export --parts 100
      after 100 runs with --shard 1/100 to 100/100 into export/parts/1 to export/parts/100
  pacsifier-merge-parts --queryfile query.csv --out_directory export --parts 100 --extra_columns
      where the runs had --extra_columns, too

"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command; no side effects."""
    parser = Parser(
        prog=_PROG,
        description="Write the logs of <out_directory>/parts/1 to N, each of a run with --shard I/N, as those of one "
        "run into <out_directory>/logs, and link the patients' folders into <out_directory>. Also when parts failed; "
        "may be run again.",
        epilog=_EXAMPLES + common.exit_statuses(),
    )
    add = parser.add_argument_group("what is read and written").add_argument
    add("--queryfile", "-q", type=Path, required=True, help="The query file of the parts")
    add("--out_directory", "-d", type=Path, required=True, help="The folder that holds parts/1 to parts/N")
    add("--parts", type=common.positive, required=True, metavar="N", help="How many parts there are")
    common.add_extra_columns(add)
    add_json(add)
    common.add_common_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = build_parser()
    arguments = common.parsed(parser, argv)
    check_json(parser, arguments)
    common.set_up_logging(0)
    events = Events.of(_PROG, arguments)
    return events.run([], lambda: _merge(arguments, events), arguments=arguments)


def _merge(arguments: argparse.Namespace, events: Events) -> int:
    from pacsifier.query import read_query_file
    from pacsifier.transfer.record.merging import merge_parts

    common.on_signals(lambda: None)
    table = read_query_file(arguments.queryfile, extra_columns=arguments.extra_columns)
    summary = merge_parts(arguments.out_directory, table, arguments.parts)
    _tell(summary, events)
    for name, counts in (("rows", summary.rows), ("series", summary.series)):
        told = ", ".join(f"{number} {word}" for word, number in sorted(counts.items()))
        print(f"{name}: {counts.total()}" + (f" ({told})" if told else ""), file=sys.stderr)
    print(f"patients: {summary.patients}; instances: {summary.files}", file=sys.stderr)
    for note in summary.notes:
        print(note, file=sys.stderr)
    for problem in summary.problems:
        print(f"{_PROG}: {problem}", file=sys.stderr)
    if summary.open_parts:
        print(f"parts with something left to do: {' '.join(map(str, summary.open_parts))}", file=sys.stderr)
    for line in redo_lines(summary.rows, summary.redo):
        print(line, file=sys.stderr)
    return common.EXIT_COMPLETE if summary.complete else common.EXIT_MISSING


def _tell(summary: MergeSummary, events: Events) -> None:
    events.warnings(summary.notes, "remarks on the parts")
    events.result(
        complete=summary.complete,
        rows=dict(sorted(summary.rows.items())),
        series=dict(sorted(summary.series.items())),
        patients={"found": summary.patients},
        instances=summary.files,
        problems=[*summary.problems],
        open_parts=[*summary.open_parts],
        redo=str(summary.redo) if summary.redo else None,
    )


if __name__ == "__main__":
    sys.exit(main())
