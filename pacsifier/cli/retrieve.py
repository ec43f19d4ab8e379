"""The command `pacsifier`: query, move and retrieve DICOM images from a PACS server."""

from __future__ import annotations

import argparse
import contextlib
import gc
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacsifier.allowed import SECONDS, SIZE, UID
from pacsifier.cli import common, report
from pacsifier.cli.events import Events, add_json, check_json, given
from pacsifier.cli.parser import Parser
from pacsifier.cli.site import add_tls_options, load_config
from pacsifier.cli.summary import PROG, again, plan_lines, summary_lines
from pacsifier.dcmtk.timeouts import Timeouts
from pacsifier.errors import ToolError
from pacsifier.figures import counted, time_text

if TYPE_CHECKING:
    from pacsifier.config import PacsConfig
    from pacsifier.transfer.options import Options
    from pacsifier.transfer.record.summary import Summary
    from pacsifier.transfer.upload import UploadSummary

# The long options of the documentation: an abbreviation means one of these, whatever is added later.
_DOCUMENTED = (
    *("--help", "--config", "--save", "--info", "--move", "--queryfile", "--out_directory"),
    *("--upload", "--upload_directory", "--version", "--resume", "--verbose"),
)

# What a run does, as events name it.
_VERBS = ("save", "info", "move", "resume", "dry_run", "upload", "check")

_EXAMPLES = """examples:
  pacsifier --info --config config.json --queryfile query.csv
      list what a query would bring: one CSV per series, nothing is fetched
  pacsifier --save --info --config config.json --queryfile query.csv --out_directory images
      bring the images to disk as sub-<PatientID>/ses-<StudyDate><StudyTime>/<SeriesNumber>-<SeriesDescription>/
  pacsifier --save --resume --config config.json --queryfile query.csv --out_directory images
      go on after an interruption, or fetch what was missing (logs/redo.csv holds those rows); a series that failed
      for good before (FailedForGood in logs/pacsifier_log.csv: refused, not_sent, missing) is asked for once
  pacsifier --upload --config config.json --upload_directory images
      send a folder of DICOM files to the PACS; nothing compressed is decompressed on the way
  pacsifier --save --dry_run --config config.json --queryfile query.csv
      how many studies, series and instances each row would bring; nothing is fetched or written
  pacsifier --check --config config.json
      try config, DCMTK, network, PACS and folders one by one, with a remedy for what does not work

"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command; no side effects."""
    parser = Parser(
        prog=PROG,
        description="Query, move and retrieve DICOM images from a PACS server.",
        epilog=_EXAMPLES + common.EXIT_STATUSES,
    )
    parser.documented = _DOCUMENTED
    paths, work = (parser.add_argument_group(title) for title in ("what is read and written", "what is done"))
    _add_retrieve_options(paths, work)
    _add_upload_options(paths, work)
    common.add_common_arguments(parser)
    _add_run_options(parser, work)
    for add_options in (_add_query_options, _add_pace_options, _add_time_limits, _add_site_options):
        add_options(parser)
    add_tls_options(parser)
    return parser


def _add_retrieve_options(paths: argparse._ArgumentGroup, work: argparse._ArgumentGroup) -> None:
    # In the order of the documentation, which is that of the usage.
    add, flag = work.add_argument, "store_true"
    paths.add_argument("--config", "-c", type=Path, required=True, help="Configuration file path")
    add(
        *("--save", "-s"),
        action=flag,
        help="Store images resulting from query (cannot be used together with '--move')",
    )
    add("--info", "-i", action=flag, help="Store parsed version of findscu output (DICOM header subset)")
    add(
        *("--move", "-m"),
        action=flag,
        help="Move images resulting from query (cannot be used together with '--save')",
    )
    paths.add_argument(
        *("--queryfile", "-q"),
        type=Path,
        help="Path to query file (mandatory if '--save', '--move' or '--info' is used)",
    )
    paths.add_argument(
        *("--out_directory", "-d"),
        type=Path,
        default=Path("./data"),
        help='Output directory where images, info files and logs will be saved (default: "./data")',
    )


def _add_upload_options(paths: argparse._ArgumentGroup, work: argparse._ArgumentGroup) -> None:
    work.add_argument("--upload", "-u", action="store_true", help="Upload DICOM images to PACS server")
    paths.add_argument(
        *("--upload_directory", "-ud"),
        type=Path,
        default=Path("./data"),
        help="Directory containing the DICOM images to upload (only used with '--upload' option; "
        'default: "./data")',
    )


def _add_run_options(parser: argparse.ArgumentParser, work: argparse._ArgumentGroup) -> None:
    work.add_argument(
        "--resume",
        action="store_true",
        help="Resume extraction by skipping already downloaded series",
    )
    parser.add_argument(
        *("--verbose", "-v"),
        action="count",
        default=0,
        help="Print verbose progress information during retrieval (-vv: what the tools are told, too)",
    )


def _add_query_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what is taken").add_argument
    common.add_extra_columns(add)
    add(
        "--dry_run",
        action="store_true",
        help="Only print how many studies, series and instances each row would bring; fetch and write nothing",
    )
    add("--limit", type=common.positive, metavar="N", help="Take N series at most")
    add(
        "--shard",
        type=common.shard,
        metavar="I/N",
        help="Take part I of N parts, divided by patient: for runs side by side, each with an output folder of its "
        "own (see docs/cluster.md)",
    )
    add(
        "--yes",
        action="store_true",
        help="Do not ask before a row that matches very many series; with --check, let the PACS send a few images",
    )
    add(
        "--exclude_patients",
        type=Path,
        metavar="FILE",
        help="Never fetch these patients: a text file of one PatientID per line",
    )
    add(
        "--sop_class",
        action="append",
        type=_uid,
        default=[],
        metavar="UID",
        help="A further SOP class to accept from the PACS, such as a private one (may be repeated)",
    )
    add(
        "--retrieve_method",
        choices=("move", "get", "auto"),
        default="move",
        help="How --save gets the images: by C-MOVE to this machine; by C-GET, for which no port need be open here, "
        "but of a fixed list of SOP classes, and which the PACS may decompress; or auto: by C-GET where C-MOVE reaches "
        "nothing (default: move)",
    )


def _add_pace_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("pace").add_argument
    add(
        "--associations",
        type=common.positive,
        default=2,
        metavar="N",
        help="Associations with the PACS at a time for C-MOVE or C-GET, tried one by one (default: 2)",
    )
    add(
        "--hours",
        type=_hours,
        metavar="FROM-TO",
        help="Start nothing outside these hours of the day, such as 19:00-06:00; wait and go on",
    )
    add(
        "--rate",
        type=_rate,
        metavar="RATE",
        help="Take on average no more a second: instances (50), or bytes (5MB); whole series at a time",
    )
    add(
        "--max_failures",
        type=common.positive,
        default=10,
        metavar="N",
        help="Stop the run after so many failed C-MOVE or C-GET requests in a row (default: 10)",
    )
    add(
        "--min_free",
        type=_size,
        default=200_000_000,
        metavar="SIZE",
        help="Stop the run when less is free in the output folder, such as 500MB (default: 200MB)",
    )
    add(
        "--max_unexpected",
        type=common.positive,
        default=10_000,
        metavar="N",
        help="Keep at most so many objects that nobody asked for in logs/unexpected; drop and count the others "
        "(default: 10000)",
    )
    add(
        "--max_unexpected_size",
        type=_size,
        default=2_000_000_000,
        metavar="SIZE",
        help="The same by their size together (default: 2GB)",
    )


def _add_time_limits(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("time limits")
    for limit in fields(Timeouts):
        group.add_argument(
            f"--{limit.name.removesuffix('_s')}",
            dest=limit.name,
            type=_seconds,
            default=limit.default,
            metavar="SECONDS",
            help=f"{limit.metadata['meaning']} (default: {limit.default:g})",
        )


def _add_site_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("the site").add_argument
    add(
        "--check",
        action="store_true",
        help="Try config, DCMTK, network, PACS and folders one by one, with a remedy each; with --capabilities, "
        "write down what the PACS can do",
    )
    add_json(add)
    add(
        "--capabilities",
        type=Path,
        metavar="FILE",
        help="What the PACS can do: written by --check, read by later runs",
    )
    report.add_report(add, "<out_directory>/report.html")
    add(
        "--dcmtk_dir",
        type=Path,
        metavar="DIR",
        help="Folder of DCMTK's binaries (default: PACSIFIER_DCMTK_DIR, PATH, the interpreter's own folder)",
    )


def _seconds(text: str) -> Any:
    return common.of_text(SECONDS, text)


def _uid(text: str) -> Any:
    return common.of_text(UID, text)


def _size(text: str) -> Any:
    return common.of_text(SIZE, text)


def _hours(text: str) -> Any:
    from pacsifier.transfer.options import HOURS

    return common.of_text(HOURS, text)


def _rate(text: str) -> Any:
    from pacsifier.transfer.options import RATE

    return common.of_text(RATE, text)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    arguments = checked(argv)
    common.set_up_logging(arguments.verbose)
    # What a run holds lives to its end and has no cycles: a collection would only walk it again. What the library sh
    # leaves of each tool is one, of 12 kB, so that some hundred of them are enough for one.
    gc.set_threshold(10_000, 50, 50)
    work = _check_site if arguments.check else _upload if arguments.upload else _retrieve
    words = [*(sys.argv[1:] if argv is None else argv)]
    events = Events.of(PROG, arguments)
    return events.run(
        given(arguments, *_VERBS),
        lambda: work(arguments, words, events),
        verbosity=arguments.verbose,
        remedy=lambda: _remedy(arguments, words),
        arguments=arguments,
    )


def checked(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line, read and checked; ends the process with exit status 2 where it is wrong."""
    parser = build_parser()
    arguments = common.parsed(parser, argv)
    _check(parser, arguments)
    return arguments


def _remedy(arguments: argparse.Namespace, words: Sequence[str]) -> str:
    """How a run that ended early goes on; "" where nothing of it was begun."""
    from pacsifier.disk.names import LOG_FOLDER, LOG_NAME

    if not (arguments.save or arguments.move) or arguments.dry_run:
        return ""
    with contextlib.suppress(OSError):
        if (arguments.out_directory / LOG_FOLDER / LOG_NAME).exists():
            return f"; --resume goes on from here: {again(words)}"
    return ""


def _check(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Exactly one of save, move, upload, check, or info alone."""
    check_json(parser, arguments)
    _check_report(parser, arguments)
    if arguments.check:
        if arguments.save or arguments.move or arguments.upload or arguments.info or arguments.dry_run:
            parser.error("--check goes alone: it fetches and sends nothing of a query")
        return
    if arguments.shard and arguments.upload:
        parser.error("--shard divides what is taken; it cannot be used together with --upload")
    if arguments.dry_run and arguments.upload:
        parser.error("--dry_run cannot be used together with --upload")
    if arguments.move and arguments.rate and arguments.rate.in_bytes:
        parser.error("--rate in bytes cannot be used together with --move: only the PACS sees the bytes")
    if arguments.retrieve_method != "move" and not arguments.save:
        parser.error("--retrieve_method is for --save")
    if arguments.save and arguments.move:
        parser.error("--save cannot be used together with --move")
    if arguments.upload and (arguments.save or arguments.move or arguments.info):
        parser.error("--upload cannot be used together with --save, --move or --info")
    if not (arguments.save or arguments.move or arguments.upload or arguments.info):
        parser.error("nothing to do: give one of --save, --move, --upload, --check, or --info")
    if not arguments.upload and arguments.queryfile is None:
        parser.error("--queryfile is needed with --save, --move and --info")


def _check_report(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    if not arguments.report:
        return
    if arguments.check or arguments.upload or arguments.dry_run:
        parser.error("--report shows what --save, --move and --info leave in the output folder")
    report.check_report(parser)


def _retrieve(arguments: argparse.Namespace, words: Sequence[str], events: Events) -> int:
    from pacsifier.cli.progress import Console
    from pacsifier.cli.telling import Teller, tell_plan, told_summary
    from pacsifier.dcmtk.toolbox import Toolbox
    from pacsifier.query import read_query_file
    from pacsifier.transfer.options import Job
    from pacsifier.transfer.retrieve import retrieve

    with Toolbox(arguments.dcmtk_dir) as toolbox, Console() as console:
        common.on_signals(toolbox.kill)
        teller = Teller(console, events)
        with contextlib.suppress(ToolError):
            # They answer while the inputs are read; what is wrong with them is told after what is wrong with those.
            toolbox.ask(["findscu", *(["movescu", "storescp"] if arguments.save else [])])
        config, table = common.read_all(
            lambda: load_config(arguments),
            lambda: read_query_file(arguments.queryfile, extra_columns=arguments.extra_columns),
        )
        options = _options(arguments, config)
        for note in table.notes:
            console.say(note)
        events.warnings(table.notes, "remarks on the query file")
        job = Job.of(config, table, arguments.out_directory, options)
        summary = retrieve(job, teller, toolbox)
    events.result(**told_summary(summary), run=job.name)
    if arguments.dry_run:
        if events.wanted:
            tell_plan(summary, events)
        else:
            _print_plan(summary)
        lines = plan_lines(summary, words)
    else:
        lines = summary_lines(summary, arguments, words)
    for line in lines:
        print(line, file=sys.stderr)
    status = common.EXIT_COMPLETE if summary.complete else common.EXIT_MISSING
    if arguments.report:
        on = again(words) if arguments.save or arguments.move else ""
        status = max(status, report.of_run(arguments.out_directory, on))
    return status


def _options(arguments: argparse.Namespace, config: PacsConfig) -> Options:
    from pacsifier.query import WHOLE
    from pacsifier.transfer.capabilities import USUAL, load_capabilities
    from pacsifier.transfer.exclusion import NOBODY, load_excluded
    from pacsifier.transfer.options import Options

    excluded, capabilities = arguments.exclude_patients, arguments.capabilities
    return Options(
        save=arguments.save,
        info=arguments.info,
        move=arguments.move,
        resume=arguments.resume,
        dry_run=arguments.dry_run,
        list_all=arguments.yes,
        associations=arguments.associations,
        retrieve_method=arguments.retrieve_method,
        limit=arguments.limit,
        sop_classes=tuple(arguments.sop_class),
        timeouts=_timeouts(arguments),
        hours=arguments.hours,
        rate=arguments.rate,
        max_failures=arguments.max_failures,
        min_free_bytes=arguments.min_free,
        max_unexpected=arguments.max_unexpected,
        max_unexpected_bytes=arguments.max_unexpected_size,
        capabilities=load_capabilities(capabilities, config) if capabilities else USUAL,
        excluded=load_excluded(excluded) if excluded else NOBODY,
        shard=arguments.shard or WHOLE,
    )


def _timeouts(arguments: argparse.Namespace) -> Timeouts:
    return Timeouts(**{limit.name: getattr(arguments, limit.name) for limit in fields(Timeouts)})


def _check_site(arguments: argparse.Namespace, _words: Sequence[str], events: Events) -> int:
    from pacsifier.cli.checkup import check_site

    return check_site(arguments, _timeouts(arguments), events)


def _upload(arguments: argparse.Namespace, _words: Sequence[str], events: Events) -> int:
    from pacsifier.cli.progress import Console
    from pacsifier.cli.telling import Teller
    from pacsifier.dcmtk.toolbox import Toolbox
    from pacsifier.transfer.upload import upload

    config = load_config(arguments)
    with Toolbox(arguments.dcmtk_dir) as toolbox, Console() as console:
        common.on_signals(toolbox.kill)
        teller = Teller(console, events, "upload")
        summary = upload(config, arguments.upload_directory, toolbox, teller, _timeouts(arguments))
    events.files("not_stored", summary.failures)
    numbers = {"found": summary.files, "stored": summary.stored, "not_stored": len(summary.failures)}
    events.result(complete=not summary.failures, files={**numbers, "encoded": summary.encoded})
    _print_upload_summary(summary)
    return common.EXIT_MISSING if summary.failures else common.EXIT_COMPLETE


def _print_plan(summary: Summary) -> None:
    """Prints the plan of a dry run as a table on stdout, without any value of the query."""
    print("row,outcome,studies,series,instances,reason")
    for plan in summary.plan:
        instances = "" if plan.instances is None else plan.instances
        reason = plan.reason.replace('"', "'")
        print(f'{plan.row},{plan.outcome},{plan.studies},{plan.series},{instances},"{reason}"')


def _print_upload_summary(summary: UploadSummary) -> None:
    from pacsifier.disk.names import shown

    for note in summary.notes:
        print(f"{PROG}: {note}", file=sys.stderr)
    for path, reason in summary.failures:
        print(f"{PROG}: {shown(path)}: {reason}", file=sys.stderr)
    if summary.encoded:
        print(
            f"{counted(summary.encoded, 'file')} stored in another uncompressed transfer syntax, since the PACS does "
            "not take their own; values and pixels are the same",
            file=sys.stderr,
        )
    print(
        f"files: {summary.files} found, {summary.stored} stored, {len(summary.failures)} not stored, "
        f"{time_text(summary.seconds)}",
        file=sys.stderr,
    )


if __name__ == "__main__":
    sys.exit(main())
