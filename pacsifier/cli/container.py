"""Turns the command line of a command into one of docker or podman that runs the same command in the image.

Every path is mounted below `/host` under its own name: what lies inside another folder still does, nothing of the image
is hidden, and messages of the command name paths that the user recognizes. Inputs are mounted read-only.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

HOST = "/host"
_ZONE = Path("/etc/localtime")
_MOST_PROCESSES = 2048


@dataclass(frozen=True)
class Needs:
    """What a command needs of the machine, besides the paths that it reads (every option of type `Path`).

    `folders` are options that name a folder in which it writes; `made` those of them that it makes where it is
    missing; `beside` those that name a file or folder that it writes, or replaces, together with others beside it;
    `inside` those that mean the image's own files.
    """

    folders: frozenset[str] = frozenset()
    made: frozenset[str] = frozenset()
    beside: frozenset[str] = frozenset()
    inside: frozenset[str] = frozenset({"dcmtk_dir"})
    network: bool = False
    variables: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mount:
    """A file or folder of this machine as the container sees it."""

    source: Path
    writable: bool

    def option(self) -> str:
        """As an option of docker and podman, whatever characters the path holds."""
        fields = ["type=bind", f"source={self.source}", f"target={_in_container(self.source)}"]
        row = io.StringIO()
        csv.writer(row, lineterminator="").writerow([*fields, *([] if self.writable else ["readonly"])])
        return f"--mount={row.getvalue()}"


def keep_texts(parser: argparse.ArgumentParser) -> None:
    """Makes the parser check values as before, but return those that are not paths as they were typed."""
    for action in parser._actions:
        if callable(action.type) and action.type is not Path:
            action.type = _checked(action.type)


def _checked(convert: Callable[[str], Any]) -> Callable[[str], str]:
    @wraps(convert)
    def check(text: str) -> str:
        convert(text)
        return text

    return check


def written_out(
    actions: Iterable[argparse.Action], namespace: argparse.Namespace, needs: Needs
) -> tuple[list[str], list[Mount]]:
    """The options of a parsed command line as the container needs them, and what has to be mounted.

    Path options that have a default are always spelled out.
    """
    words: list[str] = []
    read: list[Path] = []
    written: dict[Path, Path] = {}
    for action in actions:
        value = getattr(namespace, action.dest, None)
        # A positional one has no name.
        name = max(action.option_strings, key=len, default="")
        if isinstance(value, Path) and action.dest not in needs.inside:
            path = value.resolve()
            value = _in_container(path)
            home = _written_in(path, action.dest, needs)
            if home:
                written[path] = home
            else:
                read.append(path)
        elif value == action.default:
            continue
        words += _words(name, action, value)
    return words, _mounts(read, written)


def _words(name: str, action: argparse.Action, value: Any) -> list[str]:
    if action.nargs == 0:
        return [name] * int(value or 0)
    values = value if isinstance(value, list) else [value]
    return [f"{name}={each}" if name else str(each) for each in values]


def _mounts(read: Sequence[Path], written: Mapping[Path, Path]) -> list[Mount]:
    """A folder that is written is one mount with all that is in it: no file can be renamed across mounts."""
    inputs = [path for path in read if not any(path.is_relative_to(target) for target in written)]
    modes = {path: False for path in inputs if os.access(path, os.F_OK)} | dict.fromkeys(
        written.values(), True
    )
    mounts: list[Mount] = []
    for source in sorted(modes, key=lambda path: (len(path.parts), path)):
        around = next((each for each in reversed(mounts) if source.is_relative_to(each.source)), None)
        if around is None or around.writable != modes[source]:
            mounts.append(Mount(source, modes[source]))
    return mounts


def _written_in(path: Path, option: str, needs: Needs) -> Path | None:
    """The folder that has to be writable for an option; None: the path is only read, or is not there."""
    if option in needs.beside:
        return _existing_folder(path.parent)
    new = option in needs.made and not os.path.lexists(path)
    return path if option in needs.folders and (new or _is_folder(path)) else None


def _existing_folder(path: Path) -> Path:
    # The command creates folders that are missing: it needs the one in which they will lie.
    return next(each for each in (path, *path.parents) if _is_folder(each))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _in_container(path: Path) -> str:
    return f"{HOST}{path}" if path != Path("/") else HOST


def engine_command(
    engine: Sequence[str], image: str, command: Sequence[str], mounts: Iterable[Mount], needs: Needs
) -> list[str]:
    """The whole command line: as the current user, in a container that can write only to writable mounts."""
    zone, zone_mounts = _time_zone()
    variables = [name for name in needs.variables if name in os.environ]
    return [
        *engine,
        *("run", "--rm", "--read-only", "--tmpfs=/tmp"),
        *("--security-opt=no-new-privileges", "--security-opt=label=disable"),
        *_limits(engine),
        *(["--interactive", "--tty"] if _at_a_terminal() else []),
        "--net=host" if needs.network else "--net=none",
        *_user(engine),
        *(f"--env={each}" for each in [*zone, *variables]),
        *(mount.option() for mount in [*zone_mounts, *mounts]),
        image,
        *command,
    ]


def _limits(engine: Sequence[str]) -> list[str]:
    """What the container may not do: nothing that needs a capability, and no flood of processes."""
    # What root is used to: the files of others, and a port below 1024.
    kept = [] if os.geteuid() else ["--cap-add=DAC_OVERRIDE", "--cap-add=NET_BIND_SERVICE"]
    # podman has such a limit of its own, and refuses a given one where it has no say over processes.
    processes = [] if _is_podman(engine) else [f"--pids-limit={_MOST_PROCESSES}"]
    return ["--cap-drop=ALL", *kept, *processes]


def _is_podman(engine: Sequence[str]) -> bool:
    return any(Path(word).name == "podman" for word in engine)


def _user(engine: Sequence[str]) -> list[str]:
    user = os.geteuid()
    options = [f"--user={user}:{os.getegid()}"]
    if _is_podman(engine) and user:
        return ["--userns=keep-id", *options]
    further = sorted(set(os.getgroups()) - {os.getegid()})
    return [*options, *(f"--group-add={group}" for group in further)]


def _time_zone() -> tuple[list[str], list[Mount]]:
    """Hours of the day, and times in the logs, are those of this machine."""
    if "TZ" in os.environ:
        return ["TZ"], []
    zone = _ZONE.resolve()
    if not zone.is_file():
        return [], []
    return [f"TZ=:{_in_container(zone)}"], [Mount(zone, writable=False)]


def _at_a_terminal() -> bool:
    """Only in the foreground: a container that reads the terminal in the background would be stopped."""
    try:
        streams = (sys.stdin, sys.stdout, sys.stderr)
        return all(stream.isatty() for stream in streams) and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError, AttributeError):
        return False
