"""The wrapper commands, `docker_pacsifier` and the like: each takes the options of a command and runs it in the image.

Another wrapper: one line in `WRAPPERS`, one in setup.cfg.
"""

from __future__ import annotations

import errno
import importlib
import os
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from pacsifier.cli import common, streams
from pacsifier.cli.container import Needs, engine_command, keep_texts, written_out
from pacsifier.cli.parser import Parser
from pacsifier.cli.site import fill_from_site
from pacsifier.disk.files import make_folders
from pacsifier.errors import InputError, ToolError

IMAGE = "quay.io/translationalml/pacsifier:latest"
_SERVICE = ("DEID_TOKEN", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")


def _needs(
    folders: str = "",
    made: str = "",
    beside: str = "",
    *,
    network: bool = False,
    variables: tuple[str, ...] = (),
) -> Needs:
    own = frozenset(made.split())
    every = own | frozenset(folders.split())
    return Needs(every, own, frozenset(beside.split()), network=network, variables=variables)


# By wrapper: the module of the wrapped command, and which of its options name what it writes: in a folder that is
# there, in one that it makes, or beside others.
WRAPPERS = {
    "docker_pacsifier": ("retrieve", _needs(made="out_directory", beside="capabilities", network=True)),
    "docker_anonymize_dicoms": ("anonymize", _needs(beside="out_folder key")),
    "docker_create_dicomdir": ("create_dicomdir", _needs(made="out_folder")),
    "docker_get_pseudonyms": (
        "get_pseudonyms",
        _needs(made="out_directory", network=True, variables=_SERVICE),
    ),
    "docker_move_dumps": ("move_csv", _needs("data_folder", made="info_folder")),
    "docker_add_karnak_tags": ("add_karnak_tags", _needs("in_folder")),
    "docker_extract_carestream_report": ("extract_report", _needs("data_folder")),
    "docker_report": ("report", _needs(beside="folder key out_file")),
}

_ENVIRONMENT = """
environment:
  PACSIFIER_ENGINE        docker (default) or podman, with options of its own if need be
  PACSIFIER_DOCKER_IMAGE  the image, where --image does not name one
The container sees only the paths that the options name, and what they link to only where it lies inside one of them.
The exit status is the command's own; 125: the engine could not start it."""


def _wrapped_parser(name: str) -> Parser:
    module = importlib.import_module(f"pacsifier.cli.{WRAPPERS[name][0]}")
    parser: Parser = module.build_parser()
    return parser


def build_parser(name: str) -> Parser:
    """The parser of one wrapper: that of the wrapped command, and options for the container; no side effects."""
    parser = _wrapped_parser(name)
    wrapped, closing = parser.prog, parser.closing
    parser.closing = lambda: f"{_renamed(closing(), wrapped, name)}\n{_ENVIRONMENT}"
    parser.prog = name
    add = parser.add_argument_group("the container").add_argument
    add("--image", metavar="IMAGE", help=f"The image to run (default: PACSIFIER_DOCKER_IMAGE, else {IMAGE})")
    add("--print", action="store_true", help="Only print the command line of the engine")
    return parser


def _renamed(text: str, wrapped: str, name: str) -> str:
    """The examples with the name of the wrapper."""
    before, title, examples = text.partition("examples:\n")
    return before + title + re.sub(rf"^  {re.escape(wrapped)} ", f"  {name} ", examples, flags=re.MULTILINE)


def command_line(name: str, argv: Sequence[str] | None) -> tuple[list[str], list[Path], bool]:
    """The engine's command line for what was typed, the folders that it needs, and whether it is only to be printed."""
    parser, wrapped, needs = build_parser(name), _wrapped_parser(name), WRAPPERS[name][1]
    keep_texts(parser)
    arguments = parser.parse_args(argv)
    if hasattr(arguments, "site"):
        # The paths that it holds are those of this machine: the command gets them as options.
        fill_from_site(arguments)
    words, mounts = written_out(wrapped._actions, arguments, needs)
    engine = shlex.split(os.environ.get("PACSIFIER_ENGINE", "")) or ["docker"]
    image = arguments.image or os.environ.get("PACSIFIER_DOCKER_IMAGE") or IMAGE
    command = engine_command(engine, image, [wrapped.prog, *words], mounts, needs)
    return command, [each.source for each in mounts if each.writable], arguments.print


def main(argv: Sequence[str] | None = None, name: str | None = None) -> int:
    """Runs the wrapper of that name (that of the program, when none is given) in place of this process."""
    streams.secure()
    called = name or Path(sys.argv[0]).name
    if called not in WRAPPERS:
        print(f"{called}: is none of the wrapper commands: {', '.join(WRAPPERS)}", file=sys.stderr)
        return common.EXIT_INPUT
    command, folders, only_print = command_line(called, argv)
    new = [each for each in folders if not each.exists()]
    if only_print:
        if new:
            print(f"it needs: {shlex.join(['mkdir', '-p', '--', *map(str, new)])}", file=sys.stderr)
        print(shlex.join(command))
        return common.EXIT_COMPLETE
    return common.run(lambda: _become(command, new), called)


def _become(command: list[str], folders: Sequence[Path]) -> int:
    # Mounted alone, an output folder has to be there; the command would have needed the one around it.
    for folder in folders:
        try:
            make_folders(folder)
        except OSError as error:
            raise InputError(f"{folder}: cannot be made a folder: {error.strerror}") from error
    try:
        os.execvp(command[0], command)  # noqa: S606 - in place of this process: signals and exit status are its own
    except OSError as error:
        # Where the engine is nowhere, the error may be that of a folder on PATH that may not be searched.
        absent = "/" not in command[0] and shutil.which(command[0]) is None
        why = os.strerror(errno.ENOENT) if absent else error.strerror
        raise ToolError(
            f"the engine {command[0]!r} cannot be started: {why}; install docker or podman, or name one in "
            f"PACSIFIER_ENGINE"
        ) from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[2:], sys.argv[1] if sys.argv[1:] else None))
