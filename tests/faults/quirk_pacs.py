"""A PACS with faults to be switched on: `Quirks` is the table of them, `QuirkPacs` the face towards the tests.

It is written with pynetdicom, not with DCMTK, and runs as a process of its own (`faults.quirk_server`), so that it can
be killed. Without any quirk it is a strict, hierarchical Study Root PACS that sends each file's bytes as they are.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pacs.servers import LOOPBACK, Peers, Server, free_port

AE_TITLE = "QUIRK"
FOR_EVER = 1e6
"""Seconds that no test waits for."""

Values = dict[str, dict[str, str]]
"""UID of a study, series or instance -> keyword -> value."""


@dataclass(frozen=True)
class Quirks:
    """One switch a misbehaviour. Levels are STUDY, SERIES and IMAGE; objects are named by SOP Instance UID."""

    # Associations. Requests are counted from the start, or from the last `become`.
    mute: bool = False  # takes TCP connections and never answers an association request
    reject_first: int = 0  # rejects the first N association requests (transient, congestion)
    reject_first_moves: int = 0  # rejects the first N association requests that offer C-MOVE (the same)
    reject_moves_after: int = 0  # admits N association requests that offer C-MOVE, and rejects all later ones
    most_associations: int = 0  # admits at most N at a time (0: any number)
    over_limit: str = "transient"  # how it refuses one too many: "transient", "permanent", "abort", or "wait"
    breaks_release: bool = False  # cuts the TCP connection where it should answer a release

    # C-FIND
    refused_find_levels: tuple[str, ...] = ()  # refuses them, 0xA900
    find_status: dict[str, int] = field(default_factory=dict)  # level -> final status, without any answer
    find_cap: dict[str, int] = field(default_factory=dict)  # level -> answers at most
    find_cap_status: int = 0x0000  # the final status of a capped list, such as 0xA700 or 0xFE00
    find_silence_s: dict[str, float] = field(
        default_factory=dict
    )  # level -> silent for so long before it answers
    find_break: dict[str, int] = field(
        default_factory=dict
    )  # level -> answers before the TCP connection is reset
    find_times: int = 0  # the five above strike so often a level (0: always)
    ignored_keys: tuple[str, ...] = ()  # matching keys that restrict nothing; ("*",): none does
    omitted_keys: tuple[str, ...] = ()  # left out of answers
    empty_keys: tuple[str, ...] = ()  # returned empty
    relational: str = (
        "refused"  # a level without the UIDs above it: "refused" (0xA900), "answered", "everything"
    )
    synthetic_series: int = (
        0  # the first study holds N invented series (and no other); only C-FIND knows them
    )
    announced_offset: int = 0  # added to NumberOfSeriesRelatedInstances
    announced_series: str | None = None  # NumberOfStudyRelatedSeries says this of every study
    unlisted_series: tuple[str, ...] = ()  # counted by their study and sent with it, but listed at no level
    emptied_series: tuple[str, ...] = ()  # listed, announced with 0 instances, and indeed without any
    # a request for NumberOf..., ModalitiesInStudy or SOPClassesInStudy is answered with one line for all that match
    counts_as_one: bool = False
    endless_finds: tuple[str, ...] = ()  # levels at which the answers never end
    hidden: tuple[str, ...] = ()  # objects that no C-FIND tells of, but that go with their series
    index_says: Values = field(default_factory=dict)  # C-FIND tells these values; the files say others

    # C-MOVE and C-GET, as a whole
    no_get: bool = False  # does not offer C-GET
    undeclared: str = ""  # a move destination that it does not know, though it takes associations from there
    decompresses: bool = False  # takes no compressed syntax, and sends what it holds so uncompressed
    prefers_uncompressed: bool = False  # accepts by C-GET an uncompressed syntax wherever one is proposed
    refused_move_levels: tuple[str, ...] = ()  # refuses them, 0xA900
    # lists of UIDs: "taken", "first" (Success, but only the first counts), "ignored" (Success, nothing sent), "refused"
    # (with `list_status`), "aborted" (A-ABORT), "reset" (TCP RST)
    uid_lists: str = "taken"
    list_status: int = 0xA900  # of a list that is "refused"
    move_status: int = 0  # final status instead of the true one
    status_sends: bool = False  # sends all the same before `move_status`
    series_status: dict[str, int] = field(
        default_factory=dict
    )  # series -> final status of a request for it alone, without sending
    move_silence_s: float = 0  # silent for so long before the first object or a refusal
    break_after: int | None = (
        None  # ends the C-MOVE association after N objects, before the next or the final response
    )
    break_by: str = "reset"  # by "reset" (TCP RST) or "abort" (A-ABORT)
    move_times: int = (
        0  # uid_lists and all between it and here strike only the first N C-MOVE requests (0: all)
    )
    move_after: int = 0  # ... after the first so many, which go well
    die_after: int | None = None  # ends itself by SIGKILL after N objects
    late: int = 0  # so many last objects of a request come after its final Success ...
    late_s: float = 0.2  # ... so many seconds after
    intruders: dict[str, str] = field(
        default_factory=dict
    )  # file -> AE title: somebody else sends it to the destination of the first request, before that is served
    sends_as: tuple[str, ...] = ()  # AE titles from which its objects come, one association each in turn
    extra: tuple[str, ...] = ()  # sent with the first request, though it did not ask for them
    pace: float = 0  # objects a second at most, for each request (0: as fast as it goes)
    no_pending: bool = False  # only a final response
    # where the receiver takes none of its contexts: a final status in hexadecimal, or "reset" (TCP RST)
    none_accepted: str = ""
    # where it counts what it sent: "completed", "warning" (each with a warning, final status 0xB000), "pending" (the
    # final response leaves its counters out), "never"
    counts: str = "completed"
    offered: tuple[str, ...] = ()  # transfer syntaxes offered in one context with, and before, the file's own

    # Objects
    lose: tuple[str, ...] = ()  # not sent, counted as failed
    drop: tuple[str, ...] = ()  # not sent, counted as completed
    gone: tuple[str, ...] = ()  # not sent and not counted: only C-FIND knows them
    twice: tuple[str, ...] = ()  # sent twice
    twice_differs: bool = False  # the second time with another last byte
    twice_as: str = ""  # the second time in another transfer syntax: "rle", or "lossy" (no real pixels)
    truncate: dict[str, str] = field(
        default_factory=dict
    )  # data set ends in the "pixels" or right after "Rows"
    cut_at: dict[str, float] = field(
        default_factory=dict
    )  # TCP reset in the C-STORE, after this share of its bytes
    slow: dict[str, float] = field(default_factory=dict)  # seconds that its bytes take in the C-STORE
    header_says: Values = field(
        default_factory=dict
    )  # sent with these values, a new SOP Instance UID included
    object_times: int = (
        0  # the switches on objects strike the first N times that one is asked for (0: always)
    )


def tuples(values: dict[str, Any]) -> dict[str, Any]:
    """What JSON made lists of, as the tuples that they were."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


@dataclass
class QuirkPacs(Server):
    """The quirk PACS as it runs; what it was asked and what it did is read from its record."""

    @property
    def _record(self) -> Path:
        return self.folder / "record.jsonl"

    def entries(self, what: str) -> list[dict[str, Any]]:
        """Entries since the start or the last `become`, each with `at`: `time.monotonic` when it was written.

        - "association": calling, offers ("find", "move", "get", "echo"), open (associations then, this one included)
        - "rejected": calling, offers, reason (result, source, diagnostic)
        - "find": association, level, keys, answers, status, began, cpu_s (its own)
        - "move": number, association, level, keys, destination, began; "moved": number, status, completed
        - "contexts": move, accepted (pairs of SOP class and transfer syntax that the receiver took)
        - "sent": move, sop_uid, syntax, status (None: not taken)
        """
        entries = [json.loads(line) for line in self._record.read_text(encoding="utf-8").splitlines()]
        starts = [number for number, entry in enumerate(entries) if entry["what"] == "ready"]
        return [entry for entry in entries[starts[-1] :] if entry["what"] == what]

    def finds(self, level: str | None = None) -> list[dict[str, Any]]:
        """The C-FIND requests answered so far, of one level or of all."""
        return [entry for entry in self.entries("find") if level in (None, entry["level"])]

    @property
    def lists(self) -> list[dict[str, Any]]:
        """The C-FIND requests for the instances of series, without those for one instance that is named."""
        return [entry for entry in self.finds("IMAGE") if not entry["keys"].get("SOPInstanceUID")]

    @property
    def moves(self) -> list[dict[str, Any]]:
        """The C-MOVE and C-GET requests so far, as they began."""
        return self.entries("move")

    @property
    def sent(self) -> list[str]:
        """The SOP Instance UIDs of the objects that the receiver took, in order."""
        return [entry["sop_uid"] for entry in self.entries("sent") if entry["status"] == 0]

    @property
    def most_open(self) -> int:
        """The largest number of associations that it had open at a time."""
        return max((entry["open"] for entry in self.entries("association")), default=0)

    def become(self, quirks: Quirks, files: Sequence[Path]) -> QuirkPacs:
        """Change its quirks and what it holds, and begin to count anew; requests that still run are given up."""
        self._write(quirks, files)
        number = self._readies()
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is dead: `_await` says so
            self.process.stdin.write(b"\n")
            self.process.stdin.flush()
        self._await(number + 1)
        return self

    def kill(self) -> None:
        """End it by SIGKILL."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def restart(self, quirks: Quirks, files: Sequence[Path]) -> QuirkPacs:
        """Start it again on its port, after `kill` or a death of its own."""
        self._write(quirks, files)
        number = self._readies()
        self.process = _start(self.folder)
        self._await(number + 1)
        return self

    def _write(self, quirks: Quirks, files: Sequence[Path]) -> None:
        config = {
            "aet": self.aet,
            "port": self.port,
            "peers": dict(self.peers),
            "record": str(self._record),
            "files": [str(path) for path in files],
            "quirks": asdict(quirks),
        }
        (self.folder / "quirks.json").write_text(json.dumps(config), encoding="utf-8")

    def _readies(self) -> int:
        return self._record.read_text(encoding="utf-8").count('"what": "ready"')

    def _await(self, number: int) -> None:
        deadline = time.monotonic() + 60
        while self._readies() < number:
            if self.process.poll() is not None or time.monotonic() > deadline:
                status = self.process.poll()
                self.stop()
                raise RuntimeError(
                    f"the quirk PACS does not get ready (exit status {status}):\n{self.log[-2000:]}"
                )
            time.sleep(0.005)


def start_quirk_pacs(
    folder: Path, files: Sequence[Path], peers: Peers, quirks: Quirks | None = None
) -> QuirkPacs:
    """Start it in `folder` (made) with `files` in it and `peers` known: callers, and destinations of a C-MOVE."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "record.jsonl").touch()
    pacs = QuirkPacs("quirk", folder, AE_TITLE, free_port(), peers, _nobody(), LOOPBACK)
    return pacs.restart(quirks or Quirks(), files)


def _start(folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "server.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "faults.quirk_server", "quirks.json"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _nobody() -> Any:
    """The place of a process before there is one."""
    return None


def altered(source: Path, target: Path, **values: str) -> Path:
    """Write a copy of a Part 10 file with other values (by keyword) to `target`, and return it; pixels stay."""
    import pydicom

    dataset = pydicom.dcmread(source)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    target.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(target, enforce_file_format=True)
    return target
