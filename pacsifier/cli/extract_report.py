"""The command `pacsifier-extract-carestream-report`: plain text from radiology reports in SR."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pacsifier.cli import common
from pacsifier.cli.events import Events, add_json, check_json
from pacsifier.cli.parser import Parser
from pacsifier.figures import counted

_PROG = "pacsifier-extract-carestream-report"

_EXAMPLES = """examples:
  pacsifier-extract-carestream-report --data_folder data
      beside every structured report below data, whatever its file is called: Clean_Report_<SOPInstanceUID>.txt (UTF-8),
      with HTML made plain text; and data/reports.csv, one row per report
  pacsifier-extract-carestream-report --data_folder data --format json
      besides, Clean_Report_<SOPInstanceUID>.json with the content tree, its codes and references

  The texts are not de-identified; only you can read them.

"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command; no side effects."""
    parser = Parser(
        prog=_PROG,
        description="Extract plain text from Carestream radiology reports in SR.",
        epilog=_EXAMPLES + common.exit_statuses(),
    )
    parser.documented = ("--help", "--data_folder")
    parser.add_argument_group("what is read and written").add_argument(
        *("--data_folder", "-d"), type=Path, required=True, help="Path to the folder containing the reports"
    )
    common.add_common_arguments(parser)
    group = parser.add_argument_group("further options")
    group.add_argument(
        "--format",
        choices=("txt", "json"),
        default="txt",
        help="Write texts, or texts and the content trees as JSON (default: txt)",
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
        [],
        lambda: _extract(arguments, events),
        remedy="; the same command again goes on",
        arguments=arguments,
    )


def _extract(arguments: argparse.Namespace, events: Events) -> int:
    from pacsifier.cli.ticker import Ticker
    from pacsifier.flows.extract_report import extract

    common.on_signals(lambda: None)
    with Ticker(events) as ticker:
        summary = extract(arguments.data_folder, as_json=arguments.format == "json", progress=ticker)
    events.warnings(summary.notes, "folders passed over")
    events.files("not_read", summary.failures)
    numbers = {"found": summary.files, "reports": summary.reports, "written": summary.changed}
    is_complete = bool(summary.reports) and not summary.failures
    events.result(complete=is_complete, files={**numbers, "not_read": len(summary.failures)})
    for note in summary.notes:
        print(f"{_PROG}: {note}", file=sys.stderr)
    for path, why in summary.failures:
        print(f"{_PROG}: {path}: {why}", file=sys.stderr)
    if not summary.reports and not summary.failures:
        print(f"{_PROG}: no structured report below {arguments.data_folder}", file=sys.stderr)
        return common.EXIT_MISSING
    print(
        f"reports: {summary.reports} of {summary.files} files, {len(summary.failures)} not read; "
        f"{counted(summary.changed, 'file')} written"
        + (f", all texts in {summary.table}" if summary.table else ""),
        file=sys.stderr,
    )
    return common.EXIT_MISSING if summary.failures else common.EXIT_COMPLETE


if __name__ == "__main__":
    sys.exit(main())
