"""The command `pacsifier-slurm`: a query in parts as jobs of Slurm, and the table of their states.

What was typed is read and checked here, what goes to `pacsifier` in each part too, so that a mistake costs one line and
not N tasks. Then this process becomes the script `submit.sh`, so signals and exit status are the script's own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pacsifier import slurm
from pacsifier.cli import common
from pacsifier.cli.parser import Parser
from pacsifier.errors import ToolError

_PROG = "pacsifier-slurm"
_USAGE = """\
%(prog)s submit OPTIONS -- OPTIONS OF PACSIFIER
       %(prog)s states DIR"""
_EPILOG = """What follows -- goes to pacsifier, in each part. Submitting again goes on: only parts that are not complete
are taken. DIR must lie on a disk that all nodes share, and so must the environment that this command is installed in.

examples:
  pacsifier-slurm submit --config config.json --queryfile query.csv \\
      --out_directory /shared/export --parts 100 --at_a_time 4 \\
      --seats seats.txt -- --save --info
      fetches in 100 parts, four at a time, each at a place of seats.txt
  pacsifier-slurm states /shared/export
      prints how far each part is

exit status:
  0    submitted; or the table was printed
  1    Slurm has refused a job: its message says why; what was submitted
       before stays
  2    a mistake in an option, the config or the seats; or another query or
       number of parts than DIR was begun with
  4    a program of Slurm is not on the PATH, or one of pacsifier's is neither
       beside this one nor there"""

_SLURM = ("sbatch", "squeue", "scontrol")
# Stands for a path that the tasks set; nobody names it by chance.
_NOWHERE = "/dev/null/set_for_each_part"


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command, without what follows `--`; no side effects."""
    parser = Parser(
        prog=_PROG,
        usage=_USAGE,
        description="Fetch what a query asks for with many Slurm tasks: N parts of the query, divided by patient, K at "
        "a time; then a job that merges their logs, also when a part failed; and, if asked, N tasks that anonymize, "
        "and a merge of their reports.",
        epilog=_EPILOG,
    )
    parser.add_argument(
        "what",
        choices=("submit", "states"),
        help="submit: print the ids of the jobs and the table of states; states: only the table, of a folder that "
        "jobs were submitted for",
    )
    parser.add_argument("folder", metavar="DIR", nargs="?", type=Path, help="The folder, for states")
    _add_query_options(parser)
    _add_job_options(parser)
    _add_anonymizing(parser)
    common.add_common_arguments(parser)
    return parser


def _add_query_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what is fetched (needed)").add_argument
    add("--config", "-c", type=Path, metavar="FILE", help="The configuration file of pacsifier")
    add("--queryfile", "-q", type=Path, metavar="FILE", help="The query file")
    add("--out_directory", "-d", type=Path, metavar="DIR", help="The output folder")
    add(
        "--parts",
        type=common.positive,
        metavar="N",
        help="Parts of the query, up to MaxArraySize of the site",
    )


def _add_job_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("the jobs").add_argument
    add(
        "--at_a_time",
        type=common.positive,
        default=1,
        metavar="K",
        help="Tasks at a time, as many as the PACS admits (default: 1)",
    )
    add(
        "--seats",
        metavar="FILE",
        help="The places that the PACS can send to, a line each: NODE AET PORT (NODE * is any node); a running task "
        "holds one (default: AET and move_port of the config). none: no place is needed (--move)",
    )
    add(
        "--licenses",
        metavar="NAME:1",
        help="A licence that a running task holds, where the site limits the PACS so",
    )
    add(
        "--time",
        metavar="LIMIT",
        help="Time limit of a task (default: that of the partition); one that hits it goes on by itself",
    )
    add("--requeues", type=common.positive, default=20, metavar="M", help="How many times (default: 20)")
    add(
        "--sbatch",
        action="append",
        default=[],
        metavar="OPTION",
        help="A further option of sbatch for every job, such as --sbatch=--partition=long (may be repeated)",
    )
    add("--all", action="store_true", help="Also parts that are complete already")


def _add_anonymizing(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("anonymizing").add_argument
    add(
        "--anonymize",
        type=Path,
        metavar="DIR",
        help="Afterwards, if all is complete, pacsifier-anonymize into this folder; key and reports in DIR.key",
    )
    add(
        "--anonymize_at_a_time",
        type=common.positive,
        default=1,
        metavar="K",
        help="Tasks at a time that anonymize (default: 1)",
    )
    add(
        "--anonymize_option",
        action="append",
        default=[],
        metavar="OPTION",
        help="An option of pacsifier-anonymize, such as --anonymize_option=--fuzz_acq_dates (may be repeated)",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Becomes the script; returns only where it does not come to that, with the exit status."""
    words = [*(sys.argv[1:] if argv is None else argv)]
    end = words.index("--") if "--" in words else len(words)
    options = words[end + 1 :]
    parser = build_parser()
    arguments = common.parsed(parser, words[:end])
    _check(parser, arguments, options)
    common.set_up_logging(0)
    return common.run(lambda: _become(arguments, options), _PROG, arguments=arguments)


def _check(parser: argparse.ArgumentParser, arguments: argparse.Namespace, options: Sequence[str]) -> None:
    """What each of the two needs."""
    if arguments.what == "states":
        if arguments.folder is None:
            parser.error("states: name the output folder that jobs were submitted for")
        return
    if arguments.folder is not None:
        parser.error("submit takes no folder: options of pacsifier follow --")
    needed = ("config", "queryfile", "out_directory", "parts")
    if missing := [f"--{name}" for name in needed if getattr(arguments, name) is None]:
        parser.error(f"submit needs {' and '.join(missing)}")
    if not options:
        parser.error("nothing to do: options of pacsifier follow --, such as -- --save --info")
    for name in ("config", "queryfile"):
        if not getattr(arguments, name).is_file():
            parser.error(f"--{name}: there is no such file")
    if arguments.seats not in (None, "none") and not Path(arguments.seats).is_file():
        parser.error("--seats: there is no such file")
    _check_part(parser, options)
    if arguments.anonymize:
        _check_anonymizing(parser, arguments.anonymize_option)


def _check_part(parser: argparse.ArgumentParser, options: Sequence[str]) -> None:
    """What goes to `pacsifier`, read as it would be read there."""
    from pacsifier.cli.retrieve import checked

    of_the_task = [
        word for name in ("config", "queryfile", "out_directory") for word in (f"--{name}", _NOWHERE)
    ]
    given = checked([*of_the_task, *options])
    unset = checked([*of_the_task, "--info"])
    for name in ("config", "queryfile", "out_directory", "shard"):
        if getattr(given, name) != getattr(unset, name):
            parser.error(f"--{name} after -- is set for each part")
    for name in ("upload", "check", "dry_run"):
        if getattr(given, name):
            parser.error(f"--{name} after -- is nothing for parts")


def _check_anonymizing(parser: argparse.ArgumentParser, options: Sequence[str]) -> None:
    from pacsifier.cli.anonymize import build_parser as parser_of_anonymize

    of_the_task = [word for name in ("in_folder", "out_folder", "key") for word in (f"--{name}", _NOWHERE)]
    given = parser_of_anonymize().parse_args([*of_the_task, *options])
    unset = parser_of_anonymize().parse_args(of_the_task)
    for name in ("in_folder", "out_folder", "key", "shard"):
        if getattr(given, name) != getattr(unset, name):
            parser.error(f"--anonymize_option=--{name}: it is set for each part")


def _become(arguments: argparse.Namespace, options: Sequence[str]) -> int:
    script = Path(slurm.__file__).with_name("submit.sh")
    values = [*(_states_values if arguments.what == "states" else _submit_values)(arguments)]
    command = [_program("bash"), str(script), arguments.what, *(f"{name}={value}" for name, value in values)]
    os.execv(command[0], [*command, "--", *options])  # noqa: S606 - in place of this process


def _states_values(arguments: argparse.Namespace) -> Iterator[tuple[str, object]]:
    _program("squeue")
    yield "PYTHON", sys.executable
    yield "OUT", arguments.folder


def _submit_values(arguments: argparse.Namespace) -> Iterator[tuple[str, object]]:
    """The variables of the script.

    Raises:
        InputError: the config is none.
        ToolError: a program is missing.
    """
    from pacsifier.config import load_pacs_config

    load_pacs_config(arguments.config)
    for name in _SLURM:
        _program(name)
    yield "PYTHON", sys.executable
    yield "PACSIFIER", _program("pacsifier")
    yield "MERGE", _program("pacsifier-merge-parts")
    if arguments.anonymize:
        yield "ANONYMIZER", _program("pacsifier-anonymize")
        yield "ANONYMIZE", arguments.anonymize
        yield "ANONYMIZE_AT_A_TIME", arguments.anonymize_at_a_time
        yield from (("ANONYMIZE_OPTIONS", each) for each in arguments.anonymize_option)
    yield "CONFIG", arguments.config
    yield "QUERY", arguments.queryfile
    yield "OUT", arguments.out_directory
    for name in ("parts", "at_a_time", "seats", "licenses", "time", "requeues"):
        value = getattr(arguments, name)
        yield name.upper(), "" if value is None else value
    yield "ALL", int(arguments.all)
    yield from (("SBATCH", each) for each in arguments.sbatch)


def _program(name: str) -> str:
    """The path of a program: of ours that of this installation, which need not be on the PATH.

    Raises:
        ToolError: there is none.
    """
    this = Path(sys.argv[0]).absolute()
    if name.startswith("pacsifier") and this.name == _PROG:
        for folder in (this.parent, this.resolve().parent):
            if found := shutil.which(name, path=folder):
                return found
    if found := shutil.which(name):
        return str(Path(found).absolute())
    raise ToolError(f"{name} is not on the PATH")


if __name__ == "__main__":
    sys.exit(main())
