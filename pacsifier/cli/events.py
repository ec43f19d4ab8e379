"""`--json`: what happens, as lines of JSON on stdout for a program that reads along.

First `started`, then `progress`, `series`, `patient`, `row`, `file`, `probe` and `warning` in the order in which things
happen, and at last, whatever happens, one `summary` with the exit status. `events.schema.json` beside this file
describes each. No event holds an identity of a patient, which UIDs and folders are too, unless `--json_identities` was
given. What goes to stderr, and the exit status, are the same with and without. A command says what it has to tell to
`Events`; without `--json` nothing comes of it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pacsifier import __version__
from pacsifier.cli import common
from pacsifier.errors import Fault, InputError, PacsifierError, ServiceError

SCHEMA = Path(__file__).with_name("events.schema.json")
_PROGRESS_EVERY_S = 0.5
_KNOWN_AFTER_S = 2.0


def add_json(add: Callable[..., Any]) -> None:
    """Adds the options to a parser, or to a group of its options."""
    add(
        "--json",
        action="store_true",
        help="Tell a program what happens: one event a line on stdout as JSON, at last a summary; stderr is as without",
    )
    add(
        "--json_identities",
        action="store_true",
        help="With --json: also tell UIDs, PatientIDs, folders and reasons, which are identities of patients",
    )


def given(arguments: argparse.Namespace, *names: str) -> list[str]:
    """Those of the options that the user gave: what a command is to do."""
    return [name for name in names if getattr(arguments, name)]


def check_json(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Refuses what makes no sense; ends the command."""
    if arguments.json_identities and not arguments.json:
        parser.error("--json_identities is for --json")


class Events:
    """What one command tells a program; `wanted`: somebody reads it."""

    def __init__(self, command: str, *, wanted: bool, identities: bool = False) -> None:
        self._command = command
        self.wanted = wanted
        self.identities = identities
        self._began = time.monotonic()
        # The stage of the work that goes on, since when, and how much of it was told of when.
        self._stage: tuple[str, int | None] = ("", None)
        self._since = self._told = 0.0
        self._done = -1
        self._results: dict[str, Any] = {}
        self._error: BaseException | None = None

    @classmethod
    def of(cls, command: str, arguments: argparse.Namespace) -> Events:
        """As the options say."""
        return cls(command, wanted=arguments.json, identities=arguments.json_identities)

    def emit(self, event: str, fields: Mapping[str, Any]) -> None:
        """Writes one line, at once."""
        if self.wanted:
            at = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
            sys.stdout.write(_line({"event": event, "at": at, **fields}) + "\n")
            sys.stdout.flush()

    def started(self, did: list[str]) -> None:
        """The command has begun; `did`: what it is to do, by its options."""
        self.emit("started", {"command": self._command, "version": __version__, "did": did})

    def progress(self, stage: str, done: int, total: int | None, **more: int | None) -> None:
        """So much of a stage is done; told twice a second at most, and when all of it is done."""
        now = time.monotonic()
        if (stage, total) != self._stage:
            self._stage, self._since, self._told, self._done = (stage, total), now, 0.0, -1
        is_end = done == total and done != self._done
        if not self.wanted or (now - self._told < _PROGRESS_EVERY_S and not is_end):
            return
        self._told, self._done = now, done
        left = _seconds_left(now - self._since, done, total)
        self.emit("progress", {"stage": stage, "done": done, "total": total, "seconds_left": left, **more})

    def identified(self, **fields: Any) -> dict[str, Any]:
        """These fields where identities may be told, else none."""
        return fields if self.identities else {}

    def warning(self, message: str) -> None:
        """What a person is told on the console, which names nobody."""
        self.emit("warning", {"message": message})

    def warnings(self, notes: Sequence[str], kind: str) -> None:
        """Remarks that may quote cells of the user's file or name folders: told as `kind`, and how many they are."""
        if self.identities:
            for note in notes:
                self.warning(note)
        elif notes:
            self.warning(f"{kind}: {len(notes)}; stderr has them")

    def files(self, outcome: str, failures: Iterable[tuple[Path | str, str]]) -> None:
        """Files of which the work was not done, and why."""
        for path, reason in failures:
            self.emit("file", {"outcome": outcome, **self.identified(path=str(path), reason=reason)})

    def result(self, **fields: Any) -> None:
        """What the summary will tell."""
        self._results |= fields

    def run(self, did: Iterable[str], work: Callable[[], int], **settings: Any) -> int:
        """Runs a flow as `common.run` does, between `started` and `summary`; returns the exit status."""
        self.started([*did])
        return self.summary(common.run(lambda: self.watched(work), self._command, **settings))

    def watched(self, work: Callable[[], int]) -> int:
        """Does the work, and keeps what it raises for the summary."""
        try:
            return work()
        except BaseException as error:
            self._error = error
            raise

    def summary(self, exit_status: int) -> int:
        """The last word; returns the exit status."""
        seconds = round(time.monotonic() - self._began, 3)
        fields = {"command": self._command, "exit_status": exit_status, "seconds": seconds, **self._results}
        if self._error is not None:
            fields["error"] = self._told_error(self._error)
        self.emit("summary", fields)
        return exit_status

    def _told_error(self, error: BaseException) -> dict[str, Any]:
        told: dict[str, Any] = {"kind": type(error).__name__}
        if isinstance(error, InputError):
            told["faults"] = [self._fault(fault) for fault in error.faults]
        elif isinstance(error, PacsifierError) and (self.identities or not isinstance(error, ServiceError)):
            # An answer that cannot be used names its patients.
            told["message"] = str(error)
        return told

    def _fault(self, fault: Fault | str) -> dict[str, Any]:
        if isinstance(fault, str):
            # Most name a folder, some name patients.
            return {"problem": fault if self.identities else "stderr tells it"}
        place = {"row": fault.row, "column": fault.column}
        # A problem may quote another cell of the file.
        if not self.identities:
            return place
        return {**place, "source": fault.source, "value": fault.value, "problem": fault.problem}


def _line(fields: Mapping[str, Any]) -> str:
    """One line of JSON in ASCII; a path that the locale could not read is told as UTF-8 (half a pair is no JSON)."""
    line = json.dumps(fields)
    if "\\udc" not in line:
        return line
    text = (
        json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    )
    return json.dumps(json.loads(text))


def _seconds_left(passed_s: float, done: int, total: int | None) -> float | None:
    """How long a stage will take that goes on as until now; None where that cannot be known yet."""
    if not done or total is None or (passed_s < _KNOWN_AFTER_S and done < total):
        return None
    return round(max(0.0, passed_s * (total - done) / done), 1)
