"""The command `pacsifier-merge-parts`: the tables of runs with `--shard` as those of one run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pacsifier.cli import common
from pacsifier.cli.parser import Parser
from pacsifier.cli.summary import redo_lines

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
    common.add_common_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    arguments = common.parsed(build_parser(), argv)
    common.set_up_logging(0)
    return common.run(lambda: _merge(arguments), _PROG, arguments=arguments)


def _merge(arguments: argparse.Namespace) -> int:
    from pacsifier.query import read_query_file
    from pacsifier.transfer.record.merging import merge_parts

    common.on_signals(lambda: None)
    table = read_query_file(arguments.queryfile, extra_columns=arguments.extra_columns)
    summary = merge_parts(arguments.out_directory, table, arguments.parts)
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


if __name__ == "__main__":
    sys.exit(main())
