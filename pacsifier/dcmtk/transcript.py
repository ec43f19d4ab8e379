"""Reads what findscu, movescu, storescu and echoscu say while they work.

The wordings are those of DCMTK 3.6.7 to 3.7.0; recorded logs of real runs stand in `tests/transcripts/`. Only lines
that the tools write themselves are read: answers go to files (`-X`), never into the log.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

SUCCESS = 0x0000
WARNING_SUBOPERATIONS = 0xB000
REFUSED_OUT_OF_RESOURCES = 0xA700
CANCELLED = 0xFE00
REFUSED_MATCHES = 0xA701
REFUSED_SUBOPERATIONS = 0xA702
MOVE_DESTINATION_UNKNOWN = 0xA801
CANCELLED = 0xFE00
RESOURCE_LIMITATION = 0x0213

# findscu says its final status in words; PS3.4 C.4.1.1.4 has the numbers.
_FIND_STATUS = {
    b"Success": SUCCESS,
    b"Refused: OutOfResources": REFUSED_OUT_OF_RESOURCES,
    b"Failed: IdentifierDoesNotMatchSOPClass": 0xA900,
    b"Error: DataSetDoesNotMatchSOPClass": 0xA900,
    b"Failed: UnableToProcess": 0xC000,
    b"Cancel: MatchingTerminatedDueToCancelRequest": CANCELLED,
}
_OTHER_FAILURE = 0xC000

_SENDING = re.compile(rb"^I: Sending Find Request")
_ANSWER = re.compile(rb"^I: Writing response dataset to file: (?:\./)?(\S+)$")
_FINAL_FIND = re.compile(rb"^I: Received Final Find Response \((.*)\)$")
# What getscu is asked by C-STORE and answers has statuses, too.
_OF_A_MOVE = re.compile(
    rb"^(?:I: (Sending|Received|Association Accepted)\b(?! C-STORE)"
    rb"|D: (Completed|Failed|Warning) Suboperations *: (\d+)|D: DIMSE Status *: 0x([0-9a-f]{4})(.*)"
    rb"|D:   (Filename|SOP Class UID): (.*)|(F: No adequate Presentation Contexts))",
    re.MULTILINE,
)
_SENDING_FILE = re.compile(rb"^I: Sending file: (?:\./)?(\S+)$")
_STORE_RESPONSE = re.compile(rb"^I: Received Store Response \((.*)\)$")
_CONVERTING = re.compile(rb"^I: Converting transfer syntax: (.*) -> (.*)$")
_NO_CONTEXT = "No presentation context for"
# PS3.7 Annex C: warnings are 0x0001, 0x0107, 0x0116 and 0xBxxx, of which DCMTK names some.
_STORED = re.compile(r"Success$|Warning|Unknown Status: 0x(?:0*1|0*107|0*116|b[0-9a-f]{3})$")
_ECHO_RESPONSE = re.compile(rb"^I: Received Echo Response \((.*)\)$", re.MULTILINE)
_IGNORED_FILE = re.compile(rb"^W: cannot access file: (?:\./)?(\S+), ignoring file$")
# Conditions of DCMTK's module dcmnet (dul.h, dimcond.h): the association is gone.
_GONE = re.compile(r"0006:03[0-9a-f]{2} |DIMSE (?:Failed to (?:send|receive) message|Read PDV failed)")


@dataclass(frozen=True)
class Answer:
    """The `request`-th identifier (from 0) was answered by the data set in file `name`."""

    request: int
    name: str


@dataclass(frozen=True)
class FindEnd:
    """The `request`-th C-FIND ended with this final status (PS3.4 C.4.1.1.4), `words` as DCMTK says it."""

    request: int
    status: int
    words: str


@dataclass(frozen=True, slots=True)
class MoveState:
    """Counters and status of the `request`-th C-MOVE (PS3.4 C.4.2.1.4); counters are None until told.

    `at_least`: this response leaves out counters that an earlier one told: there may be more by now.
    """

    request: int
    status: int | None = None
    words: str = ""
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None
    at_least: bool = False

    @property
    def final(self) -> bool:
        """Whether the status is a final one (not 0xFF00, pending)."""
        return self.status is not None and self.status != 0xFF00

    @property
    def begun(self) -> int:
        """At least so many sub-operations were performed, with a warning or without; 0 also where none is told of."""
        return (self.completed or 0) + (self.warning or 0)

    @property
    def done(self) -> int | None:
        """The sub-operations that were performed, with a warning or without (PS3.7 9.1.4.1); None: not told.

        Success says that there was no warning (PS3.4 C.4.2.1.5); elsewhere a counter that is absent is not 0.
        """
        untold = self.completed is None or (self.warning is None and self.status == WARNING_SUBOPERATIONS)
        return None if self.at_least or untold else self.begun


class _Lines:
    """Cuts a growing log into whole lines."""

    def __init__(self) -> None:
        self._rest = b""

    def whole(self, data: bytes) -> bytes:
        text, end, self._rest = (self._rest + data).rpartition(b"\n")
        return text + end

    def feed(self, data: bytes) -> list[bytes]:
        return self.whole(data).split(b"\n")[:-1]


def echo_response(log: bytes) -> str | None:
    """The status of the C-ECHO as `echoscu -v` says it in words; None: it was not answered."""
    found = _ECHO_RESPONSE.search(log)
    return found[1].decode("utf-8", "replace") if found else None


class FindTranscript:
    """The log of `findscu -v -X`, piece by piece."""

    def __init__(self) -> None:
        self._lines = _Lines()
        self._request = -1
        self._announced: Answer | None = None

    def feed(self, data: bytes) -> Iterator[Answer | FindEnd]:
        """Takes the next bytes of the log and yields what they tell, in order.

        findscu announces a file before it writes it, so an answer is told of only once a later line shows that the
        tool has gone on; one that no line follows may be short, and is not told of.
        """
        for line in self._lines.feed(data):
            if self._announced is not None:
                yield self._announced
                self._announced = None
            if _SENDING.match(line):
                self._request += 1
            elif found := _ANSWER.match(line):
                self._announced = Answer(self._request, found[1].decode("utf-8", "replace"))
            elif found := _FINAL_FIND.match(line):
                words = found[1]
                yield FindEnd(
                    self._request, _FIND_STATUS.get(words, _OTHER_FAILURE), words.decode("utf-8", "replace")
                )


class MoveTranscript:
    """The log of movescu, or of getscu, at level DEBUG, piece by piece.

    `stored`: file name and SOP Class UID of each object that getscu has written since the caller last took them out.
    """

    def __init__(self) -> None:
        self._lines = _Lines()
        self._request = -1
        self._counters: dict[str, int] = {}
        self._told: set[str] = set()
        self._answering = False
        self._name = b""
        self.accepted = False
        self.stored: list[tuple[str, str]] = []

    def feed(self, data: bytes) -> Iterator[MoveState]:
        """Takes the next bytes of the log and yields the state after each response, pending ones included."""
        # One search over all lines: there are a dozen for each instance.
        for found in _OF_A_MOVE.finditer(self._lines.whole(data)):
            event, counter, number, status, words, what, value, refused = found.groups()
            if event == b"Sending":
                self._request += 1
                self._counters = {}
                self._answering = False
            elif event == b"Received":
                self._answering = True
                self._told.clear()
            elif event:
                self.accepted = True
            elif refused:
                self.accepted = False
            elif what:
                self._note_stored(what, value)
            elif self._answering and counter:
                self._count(counter.decode().lower(), int(number))
            elif self._answering:
                self._answering = False
                words = words.lstrip(b": ").decode("ascii", "replace")
                at_least = not self._counters.keys() <= self._told
                yield MoveState(self._request, int(status, 16), words, **self._counters, at_least=at_least)

    def _count(self, key: str, number: int) -> None:
        """A response may leave its counters out, or show 0 in their place: those told before still hold."""
        before = self._counters.get(key, 0)
        self._counters[key] = max(number, before)
        if number >= before:
            self._told.add(key)

    def _note_stored(self, what: bytes, value: bytes) -> None:
        if what == b"Filename":
            self._name = value
        elif self._name:
            self.stored.append((os.fsdecode(self._name), value.decode("ascii", "replace")))
            self._name = b""


@dataclass(frozen=True)
class StoreEnd:
    """What became of one file of `storescu`: `words` is `Success` or the reason of the refusal.

    `lost`: it got no answer, since the association was gone; it may be sent again. `no_context`: the PACS takes its SOP
    class in no form that it may be sent in. `encoded`: it was sent in another transfer syntax than its own.
    """

    name: str
    stored: bool
    words: str
    lost: bool = False
    no_context: bool = False
    encoded: bool = False


class StoreTranscript:
    """The log of `storescu -v -nh`, piece by piece; files are sent, and answered, one after the other."""

    def __init__(self) -> None:
        self._lines = _Lines()
        self._name: str | None = None
        self._reasons: list[str] = []
        self._encoded = False

    def feed(self, data: bytes) -> Iterator[StoreEnd]:
        """Takes the next bytes of the log and yields the outcome of each file."""
        for line in self._lines.feed(data):
            if found := _SENDING_FILE.match(line):
                yield from self._unanswered()
                self._name = found[1].decode("utf-8", "replace")
                self._reasons = []
            elif found := _CONVERTING.match(line):
                self._encoded = found[1] != found[2]
            elif found := _STORE_RESPONSE.match(line):
                words = found[1].decode("ascii", "replace")
                name, self._name = self._name, None
                if name is not None:
                    yield StoreEnd(name, bool(_STORED.match(words)), words, encoded=self._encoded)
            elif found := _IGNORED_FILE.match(line):
                yield StoreEnd(found[1].decode("utf-8", "replace"), False, "cannot be read any more")
            elif line.startswith((b"E: ", b"W: ", b"F: ")):
                self._reasons.append(line[3:].decode("utf-8", "replace").strip())

    def finish(self) -> Iterator[StoreEnd]:
        """The outcome of a last file that was never answered."""
        yield from self._unanswered()

    def _unanswered(self) -> Iterator[StoreEnd]:
        if self._name is not None:
            words = "; ".join(filter(None, self._reasons))
            lost = not words or bool(_GONE.search(words))
            no_context = words.startswith(_NO_CONTEXT)
            yield StoreEnd(self._name, False, words or "not answered", lost, no_context=no_context)
            self._name = None
