"""The command `pacsifier-get-pseudonyms`: create new pseudonyms for a list of PatientIDs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pacsifier.cli import common
from pacsifier.cli.events import Events, add_json, check_json
from pacsifier.cli.parser import Parser

if TYPE_CHECKING:
    from pacsifier.flows.get_pseudonyms import Written

_PROG = "pacsifier-get-pseudonyms"

_EXAMPLES = """examples:
  pacsifier-get-pseudonyms --config deid.json --queryfile query.csv --project_name MYPROJECT --out_directory ids
      ask the de-ID service; deid.json is {"deid_URL": "https://...", "deid_token": "..."}
  pacsifier-get-pseudonyms --mode custom --mappingfile map.csv --shift-days --project_name MYPROJECT --out_directory ids
      take pseudonyms from map.csv (one line "1234,P0001" per patient), draw a day shift for each

  Both write ids/new_ids_MYPROJECT.json and ids/day_shift_MYPROJECT.json, for --new_ids and --day_shift of
  pacsifier-anonymize and pacsifier-add-karnak-tags; de-id also writes ids/log_get_pseudonyms.csv. They are the key to
  the patients: only you can read them, keep them apart from the images.

"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command; no side effects."""
    parser = Parser(
        prog=_PROG,
        description="Create new pseudonyms for a list of PatientIDs.",
        epilog=_EXAMPLES + common.exit_statuses(common.EXIT_ASSOCIATION),
    )
    parser.documented = (
        *("--help", "--mode", "--config", "--queryfile", "--mappingfile", "--shift-days", "--project_name"),
        *("--out_directory", "--verbose"),
    )
    _add_documented(parser)
    common.add_common_arguments(parser)
    group = parser.add_argument_group("further options")
    group.add_argument(
        "--ca_bundle",
        type=Path,
        metavar="FILE",
        help="Certificates (PEM file or folder) to trust instead of the usual ones: a site's own",
    )
    group.add_argument(
        "--extra_columns",
        action="store_true",
        help="Keep columns of the query file that are no query columns: they are carried into log_get_pseudonyms.csv, "
        "and never sent",
    )
    group.add_argument(
        "--new_shifts",
        action="store_true",
        help="With --shift-days: draw new day shifts for patients that have one from an earlier run, too",
    )
    add_json(group.add_argument)
    return parser


def _add_documented(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what is read and written").add_argument
    add(
        *("--mode", "-m"),
        choices=("de-id", "custom"),
        default="de-id",
        help='Mode of operation: use de-ID API to get new pseudonyms and day shifts ("de-id") or use a custom '
        'mapping file in CSV format that specifies the new pseudonyms ("custom") (default: "de-id")',
    )
    add(
        *("--config", "-c"),
        type=Path,
        help="Deidentification configuration file path (required for --mode de-id): JSON with deid_URL and "
        "deid_token; DEID_TOKEN of the environment may stand for deid_token",
    )
    add(
        *("--queryfile", "-q"),
        type=Path,
        help="Path to PACSIFIER query file (used to find PatientIDs, required for --mode de-id)",
    )
    add(
        *("--mappingfile", "-mf"),
        type=Path,
        help="Path to custom mapping file in CSV format (required for --mode custom): no header, two columns, the "
        "old pseudonym and the new one, no empty cells",
    )
    add(
        "--shift-days",
        action="store_true",
        help="Generate random day shifts for all pseudonyms in the +- 30 days range (employed for --mode custom); "
        "those of an earlier run are kept. If not specified, day shifts are set to 0",
    )
    add(
        *("--project_name", "-a"),
        required=True,
        help="Name of the project in GPCR (may or may not correspond to Kheops album)",
    )
    add(
        *("--out_directory", "-d"),
        type=Path,
        required=True,
        help="Output directory where the pseudonyms will be saved as a json",
    )
    parser.add_argument("--verbose", "-v", action="count", default=0, help="Print verbose output")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = build_parser()
    arguments = common.parsed(parser, argv)
    _check(parser, arguments)
    common.set_up_logging(arguments.verbose)
    events = Events.of(_PROG, arguments)
    return events.run(
        [arguments.mode],
        lambda: _get(arguments, events),
        verbosity=arguments.verbose,
        remedy="; nothing was written, run it again",
        arguments=arguments,
    )


def _get(arguments: argparse.Namespace, events: Events) -> int:
    _say_what_is_ignored(arguments, events)
    written = (_ask_service if arguments.mode == "de-id" else _read_mapping)(arguments, events)
    events.warnings(written.notes, "remarks on patients")
    unchanged = len(written.paths) - len(written.changed)
    events.result(
        complete=True,
        patients={"named": written.patients},
        files={"written": len(written.changed), "unchanged": unchanged},
    )
    return _print_summary(written)


def _check(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    check_json(parser, arguments)
    needed = ("config", "queryfile") if arguments.mode == "de-id" else ("mappingfile",)
    if arguments.mode == "de-id" and arguments.mappingfile:
        # Whoever meant a mapping does not want the patients sent to a service.
        parser.error("--mappingfile is for --mode custom: give that, or leave it out")
    missing = " and ".join(f"--{name}" for name in needed if not getattr(arguments, name))
    if missing:
        parser.error(f"--mode {arguments.mode} needs {missing}")
    if arguments.new_shifts and not arguments.shift_days:
        parser.error("--new_shifts needs --shift-days")


def _say_what_is_ignored(arguments: argparse.Namespace, events: Events) -> None:
    unused = ("shift_days",) if arguments.mode == "de-id" else ("config", "queryfile", "ca_bundle")
    for name in unused:
        if getattr(arguments, name):
            option = "--shift-days" if name == "shift_days" else f"--{name}"
            _warn(f"{option} has no effect with --mode {arguments.mode}", events)


def _warn(message: str, events: Events) -> None:
    print(f"{_PROG}: {message}", file=sys.stderr)
    events.warning(message)


def _ask_service(arguments: argparse.Namespace, events: Events) -> Written:
    from pacsifier.cli.ticker import Ticker
    from pacsifier.config import load_deid_config
    from pacsifier.flows import get_pseudonyms
    from pacsifier.flows.deid_service import DeidService

    get_pseudonyms.check_project(arguments.project_name)
    config, table = common.read_all(
        lambda: load_deid_config(arguments.config),
        lambda: get_pseudonyms.read_patients(arguments.queryfile, extra_columns=arguments.extra_columns),
    )
    if config.url.lower().startswith("http:"):
        _warn("deid_URL is no https address: token and PatientIDs travel readable", events)
    service = DeidService(config, arguments.ca_bundle)
    common.on_signals(lambda: None)
    with Ticker(events) as ticker:
        return get_pseudonyms.from_service(
            table,
            arguments.project_name,
            arguments.out_directory,
            lambda patients: service.ask(arguments.project_name, patients, ticker),
        )


def _read_mapping(arguments: argparse.Namespace, _events: Events) -> Written:
    from pacsifier.flows import get_pseudonyms

    get_pseudonyms.check_project(arguments.project_name)
    mapping = get_pseudonyms.read_mapping(arguments.mappingfile)
    common.on_signals(lambda: None)
    return get_pseudonyms.from_mapping(
        mapping,
        arguments.project_name,
        arguments.out_directory,
        shift_days=arguments.shift_days,
        new_shifts=arguments.new_shifts,
    )


def _print_summary(written: Written) -> int:
    for note in written.notes:
        print(note, file=sys.stderr)
    print(f"patients: {written.patients}", file=sys.stderr)
    for path in written.paths:
        print(f"{'written' if path in written.changed else 'as it was'}: {path}", file=sys.stderr)
    print("these files are the key to the patients: keep them apart from the images", file=sys.stderr)
    return common.EXIT_COMPLETE


if __name__ == "__main__":
    sys.exit(main())
