"""The command `pacsifier`: query, move and retrieve DICOM images from a PACS server."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pacsifier.cli import common

if TYPE_CHECKING:
    from pacsifier.transfer.retrieve import Options, Summary
    from pacsifier.transfer.upload import UploadSummary

_PROG = "pacsifier"

_EXAMPLES = """examples:
  pacsifier --info --config config.json --queryfile query.csv
      list what a query would bring: one CSV a series, nothing is fetched
  pacsifier --save --info --config config.json --queryfile query.csv --out_directory images
      bring the images to disk as sub-<PatientID>/ses-<StudyDate><StudyTime>/<SeriesNumber>-<SeriesDescription>/
  pacsifier --save --resume --config config.json --queryfile query.csv --out_directory images
      go on after an interruption, or fetch what was missing (logs/redo.csv holds those rows)
  pacsifier --upload --config config.json --upload_directory images
      send a folder of DICOM files to the PACS

"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command; no side effects."""
    parser = argparse.ArgumentParser(
        prog=_PROG,
        description="Query, move and retrieve DICOM images from a PACS server.",
        epilog=_EXAMPLES + common.EXIT_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_retrieve_options(parser)
    _add_upload_options(parser)
    common.add_common_arguments(parser)
    _add_run_options(parser)
    _add_further_options(parser.add_argument_group("further options"))
    return parser


def _add_retrieve_options(parser: argparse.ArgumentParser) -> None:
    add, flag = parser.add_argument, "store_true"
    add("--config", "-c", type=Path, required=True, help="Configuration file path")
    add(
        *("--save", "-s"),
        action=flag,
        help="Store images resulting from query (cannot be used together with '--move')",
    )
    # argparse took `--s` for --save before the further options came.
    add("--s", dest="save", action=flag, help=argparse.SUPPRESS)
    add("--info", "-i", action=flag, help="Store parsed version of findscu output (DICOM header subset)")
    add(
        *("--move", "-m"),
        action=flag,
        help="Move images resulting from query (cannot be used together with '--save')",
    )
    add(
        *("--queryfile", "-q"),
        type=Path,
        help="Path to query file (mandatory if '--save', '--move' or '--info' is used)",
    )
    add(
        *("--out_directory", "-d"),
        type=Path,
        default=Path("./data"),
        help='Output directory where images, info files and logs will be saved (default: "./data")',
    )


def _add_upload_options(parser: argparse.ArgumentParser) -> None:
    add, flag = parser.add_argument, "store_true"
    add("--upload", "-u", action=flag, help="Upload DICOM images to PACS server")
    add(
        *("--upload_directory", "-ud"),
        type=Path,
        default=Path("./data"),
        help="Directory containing the DICOM images to upload (only used with '--upload' option; "
        'default: "./data")',
    )


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    add, flag = parser.add_argument, "store_true"
    add(
        "--resume",
        action=flag,
        help="Resume extraction by skipping already downloaded series",
    )
    add(
        *("--verbose", "-v"),
        action="count",
        default=0,
        help="Print verbose progress information during retrieval (-vv: what the tools are told, too)",
    )


def _add_further_options(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--associations",
        type=_positive,
        default=2,
        metavar="N",
        help="Associations with the PACS at a time for C-MOVE (default: 2)",
    )
    add("--limit", type=_positive, metavar="N", help="Take N series at most")
    add("--yes", action="store_true", help="Do not ask before a row that matches very many series")
    add(
        "--silence_timeout",
        type=_seconds,
        default=1800.0,
        metavar="SECONDS",
        help="End an association after so long without a response and without an object (default: 1800)",
    )
    add(
        "--sop_class",
        action="append",
        default=[],
        metavar="UID",
        help="A further SOP class to accept from the PACS, such as a private one (may be repeated)",
    )
    add(
        "--dcmtk_dir",
        type=Path,
        metavar="DIR",
        help="Folder of DCMTK's binaries (default: PACSIFIER_DCMTK_DIR, PATH, the interpreter's own folder)",
    )


def _positive(text: str) -> int:
    number = int(text) if text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: a whole number from 1 is allowed")
    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: a number of seconds above 0 is allowed")
    return seconds


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    _check(parser, arguments)
    common.set_up_logging(arguments.verbose)
    work = _upload if arguments.upload else _retrieve
    remedy = "; --resume goes on from here" if arguments.save or arguments.move else ""
    return common.run(lambda: work(arguments), _PROG, verbosity=arguments.verbose, remedy=remedy)


def _check(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Exactly one of save, move, upload, or info alone."""
    if arguments.save and arguments.move:
        parser.error("--save cannot be used together with --move")
    if arguments.upload and (arguments.save or arguments.move or arguments.info):
        parser.error("--upload cannot be used together with --save, --move or --info")
    if not (arguments.save or arguments.move or arguments.upload or arguments.info):
        parser.error("nothing to do: give one of --save, --move, --upload, or --info")
    if not arguments.upload and arguments.queryfile is None:
        parser.error("--queryfile is needed with --save, --move and --info")
    for uid in arguments.sop_class:
        if not set(uid) <= set("0123456789.") or not 0 < len(uid) <= 64:
            parser.error(f"--sop_class {uid!r}: a UID of digits and dots is allowed")


def _retrieve(arguments: argparse.Namespace) -> int:
    from pacsifier.cli.progress import Console
    from pacsifier.config import load_pacs_config
    from pacsifier.dcmtk.process import Toolbox
    from pacsifier.query import read_query_file
    from pacsifier.transfer.retrieve import Retrieval

    config, table = common.read_all(
        lambda: load_pacs_config(arguments.config), lambda: read_query_file(arguments.queryfile)
    )
    with Toolbox(arguments.dcmtk_dir) as toolbox, Console() as console:
        common.on_signals(toolbox.kill)
        for note in table.notes:
            console.say(note)
        retrieval = Retrieval(
            config, table, arguments.out_directory, _options(arguments), toolbox=toolbox, observer=console
        )
        summary = retrieval.run()
    _print_summary(summary, moved=arguments.move)
    return common.EXIT_COMPLETE if summary.complete else common.EXIT_MISSING


def _options(arguments: argparse.Namespace) -> Options:
    from pacsifier.transfer.retrieve import Options

    return Options(
        save=arguments.save,
        info=arguments.info,
        move=arguments.move,
        resume=arguments.resume,
        list_all=arguments.yes,
        associations=arguments.associations,
        limit=arguments.limit,
        silence_timeout_s=arguments.silence_timeout,
        sop_classes=tuple(arguments.sop_class),
    )


def _upload(arguments: argparse.Namespace) -> int:
    from pacsifier.cli.progress import Console
    from pacsifier.config import load_pacs_config
    from pacsifier.dcmtk.process import Toolbox
    from pacsifier.transfer.upload import upload

    config = load_pacs_config(arguments.config)
    with Toolbox(arguments.dcmtk_dir) as toolbox, Console() as console:
        common.on_signals(toolbox.kill)
        summary = upload(config, arguments.upload_directory, toolbox, console, arguments.silence_timeout)
    _print_upload_summary(summary)
    return common.EXIT_MISSING if summary.failures else common.EXIT_COMPLETE


def _print_summary(summary: Summary, *, moved: bool) -> None:
    from pacsifier.transfer.journal import Status

    count = summary.series
    out = sys.stderr
    outcomes = ", ".join(f"{number} {name}" for name, number in sorted(summary.outcomes.items()))
    print(f"rows: {summary.rows} ({outcomes})", file=out)
    states = ", ".join(f"{count[status]} {status.value}" for status in Status if count[status])
    print(f"series: {sum(count.values())} found" + (f" ({states})" if states else ""), file=out)
    where = "moved" if moved else "in place"
    print(
        f"instances: {summary.instances} {where}; {summary.bytes} bytes received in {summary.seconds:.1f} s",
        file=out,
    )
    if summary.unexpected:
        print(f"unexpected objects: {summary.unexpected}, see logs/unexpected", file=out)
    for problem in summary.problems:
        print(f"{_PROG}: {problem}", file=out)
    if summary.redo is not None:
        print(f"not complete: the rows to run again, with reasons, are in {summary.redo}", file=out)


def _print_upload_summary(summary: UploadSummary) -> None:
    for path, reason in summary.failures:
        print(f"{_PROG}: {path}: {reason}", file=sys.stderr)
    print(
        f"files: {summary.files} found, {summary.stored} stored, {len(summary.failures)} not stored, "
        f"{summary.seconds:.1f} s",
        file=sys.stderr,
    )


if __name__ == "__main__":
    sys.exit(main())
