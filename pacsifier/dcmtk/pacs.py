"""`Pacs`: the verbs echo, find, move and get towards one PACS, by DCMTK's echoscu, findscu, movescu and getscu.

Success is read from final statuses in the tools' logs, never from exit statuses: findscu took 100,000 answers well
and then exited 2 because the release failed, and exits 0 after failed requests.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pacsifier import part10
from pacsifier.config import PacsConfig
from pacsifier.dcmtk import confinement, dictionary, profile
from pacsifier.dcmtk.process import Process, Toolbox
from pacsifier.dcmtk.timeouts import DEFAULT_TIMEOUTS, Timeouts
from pacsifier.dcmtk.transcript import (
    SUCCESS,
    Answer,
    FindTranscript,
    MoveState,
    MoveTranscript,
    echo_response,
)
from pacsifier.errors import AssociationError, OperationError
from pacsifier.query.attributes import ATTRIBUTES
from pacsifier.query.series import PackedValues

Keys = Mapping[str, str]
Values = Mapping[str, "str | None"]

# Answers that a PACS may have sent before it hears of a C-CANCEL.
_AFTER_CANCEL = 50
_NO_GET = "No adequate Presentation Contexts"
# getscu tells the particulars of a rejection with `-d` only.
_REASONS = ("F: ", "E: ", "D: Result: ", "D: Reason: ")
_INCOMING = "incoming"
_DICTIONARY = "dictionary.dic"
_POLL_S = 0.005
# Answers that stay in staging until the end: ext4 passes over each inode that was freed in the last minutes whenever a
# file is created, which made each of 3,200 received objects 0.5 ms slower.
_KEPT_ANSWERS = 2000
_TRANSIENT = "Rejected Transient"
_ACCEPTED = "Association Accepted"
_TEXT_VRS = frozenset({"LO", "SH", "PN", "LT", "ST", "UT", "UC"})


@dataclass(frozen=True)
class FindResult:
    """What one C-FIND identifier brought: the answers (keyword -> value, None: key absent) and the end.

    An empty list with `failure` None is an honest "nothing matches"; `failure` says why there is no honest answer.
    `lost`: there was no final response since the association was cut off, so that it may be asked again. `outdone`:
    this PACS gave a longer answer of the level, so that the number of answers here is no limit of the PACS.
    """

    answers: tuple[Values, ...]
    status: int | None
    failure: str | None
    lost: bool = False
    outdone: bool = False

    @classmethod
    def of_lost(cls, failure: str) -> FindResult:
        """The result of an identifier that was never answered."""
        return cls((), None, failure, lost=True)


@dataclass(frozen=True)
class MoveRequest:
    """One C-MOVE identifier: whole studies, those series of one study that are named, or instances of one series."""

    study_uids: tuple[str, ...]
    series_uids: tuple[str, ...] = ()
    instance_uids: tuple[str, ...] = ()

    def keys(self) -> Keys:
        """The identifier's keys (PS3.4 C.4.2.1.4.2); Study Root."""
        uids = {
            "StudyInstanceUID": "\\".join(self.study_uids),
            "SeriesInstanceUID": "\\".join(self.series_uids),
            "SOPInstanceUID": "\\".join(self.instance_uids),
        }
        level = "IMAGE" if self.instance_uids else "SERIES" if self.series_uids else "STUDY"
        return {"QueryRetrieveLevel": level, **{keyword: value for keyword, value in uids.items() if value}}


class Pacs:
    """One PACS as its config names it; the tools work in folders below `staging`."""

    def __init__(
        self, config: PacsConfig, toolbox: Toolbox, staging: Path, timeouts: Timeouts = DEFAULT_TIMEOUTS
    ) -> None:
        self.config = config
        self._toolbox = toolbox
        self._staging = staging
        self._timeouts = timeouts
        self._runs = 0
        (staging / _DICTIONARY).write_text(dictionary.render(), encoding="ascii")

    def echo(self) -> None:
        """Asks for a C-ECHO over an association of its own.

        Raises:
            AssociationError: there was no association, or it ended without an answer.
            OperationError: the answer is not Success.
        """
        folder, _ = self._write_identifiers("echo", ())
        peer = peer_arguments(self.config, self._timeouts)
        process = self._toolbox.start("echoscu", peer, folder, "echoscu", level="INFO")
        words = echo_response(b"".join(process.follow(self._timeouts.silence_timeout_s)))
        if words is None:
            raise self.no_association(process)
        _remove(folder)
        if words != "Success":
            raise OperationError(f"C-ECHO ended with {words!r}")

    def find(
        self, level: str, requests: Sequence[Keys], at_most: int | None = None, associations: int = 1
    ) -> list[FindResult]:
        """Asks all identifiers at one level (STUDY, SERIES, IMAGE; Study Root) over that many associations.

        A failed request is a `FindResult` with a failure; the others stand, and those of an association that was not
        admitted beside others are lost. After `at_most` answers to one request it is cancelled; a PACS that then still
        goes on is cut off, and with it the requests behind.

        Raises:
            AssociationError: there was no association at all.
        """
        shares = [range(number, len(requests), associations) for number in range(associations)]
        shares = [share for share in shares if share]
        finds = [self._start_find(level, [requests[at] for at in share], at_most) for share in shares]
        _listen(finds, self._timeouts.silence_timeout_s)
        results = [FindResult.of_lost("there was no association for it")] * len(requests)
        errors = []
        for find, share in zip(finds, shares, strict=True):
            try:
                for at, result in zip(share, find.results(self.config, self._timeouts), strict=True):
                    results[at] = result
            except AssociationError as error:
                errors.append(error)
        if errors and len(errors) == len(finds):
            raise errors[0]
        return results

    def _start_find(self, level: str, requests: Sequence[Keys], at_most: int | None) -> _Find:
        wanted = [{"QueryRetrieveLevel": level, **keys} for keys in requests]
        folder, names = self._write_identifiers("find", wanted)
        (folder / "answers").mkdir()
        peer = peer_arguments(self.config, self._timeouts)
        cancel = ["--cancel", str(at_most)] if at_most else []
        arguments = ["-S", "-X", "-od", "answers", *cancel, *peer, *names]
        process = self._toolbox.start(
            "findscu", arguments, folder, "findscu", level="INFO", dictionary=f"../{_DICTIONARY}"
        )
        return _Find(process, folder, wanted, at_most)

    def move(self, requests: Sequence[MoveRequest], destination: str) -> Move:
        """Starts C-MOVE of the requests, one after the other over one association, to an AE title."""
        folder, names = self._write_identifiers("move", [request.keys() for request in requests])
        arguments = ["-S", "-aem", destination, *peer_arguments(self.config, self._timeouts), *names]
        process = self._toolbox.start(
            "movescu", arguments, folder, "movescu", level="DEBUG", dictionary=f"../{_DICTIONARY}"
        )
        return Move(tuple(requests), process, folder)

    def get(self, request: MoveRequest, received: Path, syntax: str = "") -> Get:
        """Starts a C-GET of one request; what it brings goes to the folder `received` as storescp names it.

        getscu 3.6.7 proposes 120 storage classes, uncompressed, and before that one compressed `syntax` for all; it
        takes one request, for with several it crashes. Where the kernel cannot keep it from writing elsewhere, it
        stores what it understood (`-B`, under names that are safe) in place of what it was sent (`+B`).
        """
        folder, names = self._write_identifiers("get", [request.keys()])
        (folder / _INCOMING).mkdir(mode=0o700)
        confined = folder / _INCOMING if confinement.is_possible() else None
        prefer = profile.GETSCU_PREFERENCES.get(syntax)
        arguments = [
            *("-d", "-S", "+B" if confined else "-B", "-pdu", "131072", "-od", _INCOMING),
            *([prefer] if prefer else []),
            *(*peer_arguments(self.config, self._timeouts), *names),
        ]
        # Its log comes by the standard output: confined, it could write no other.
        process = self._toolbox.start("getscu", arguments, folder, "getscu", writes_to=confined)
        return Get(request, process, folder, received)

    def no_association(self, process: Process) -> AssociationError:
        """The error for a tool that ended before any response, with what its log says."""
        return association_error(self.config, process)

    def _write_identifiers(self, verb: str, identifiers: Iterable[Keys]) -> tuple[Path, list[str]]:
        self._runs += 1
        folder = self._staging / f"{verb}{self._runs:05d}"
        folder.mkdir(mode=0o700)
        names = []
        for number, keys in enumerate(identifiers):
            name = f"q{number:06d}.dcm"
            (folder / name).write_bytes(encode_identifier(keys))
            names.append(name)
        return folder, names


class _Find:
    """A running findscu and what it has been answered."""

    def __init__(self, process: Process, folder: Path, wanted: Sequence[Keys], at_most: int | None) -> None:
        self.process = process
        self._folder = folder
        self._wanted = wanted
        self._at_most = at_most
        self._answers: list[list[Values]] = [[] for _ in wanted]
        self._ends: dict[int, tuple[int, str]] = {}
        self._transcript = FindTranscript()
        self._read = 0

    def hear(self, data: bytes) -> None:
        """Takes the next bytes of the log, and the answers that they tell of."""
        for event in self._transcript.feed(data):
            if isinstance(event, Answer):
                path = self._folder / event.name
                answers = self._answers[event.request]
                answers.append(_read_answer(path, self._wanted[event.request]))
                self._read += 1
                if self._read > _KEPT_ANSWERS:
                    path.unlink()
                if self._at_most and len(answers) == self._at_most + _AFTER_CANCEL:
                    self.process.end()
            else:
                self._ends[event.request] = event.status, event.words

    def results(self, config: PacsConfig, timeouts: Timeouts) -> list[FindResult]:
        """What each request has come to, once the process has ended; raises AssociationError where there was none."""
        answered = any(self._answers)
        if not self._ends and not (self._at_most and answered):
            raise association_error(config, self.process, answered=answered)
        if self._read > _KEPT_ANSWERS:
            _remove(self._folder)
        results = [_result(answers, self._ends.get(index)) for index, answers in enumerate(self._answers)]
        if self.process.silenced:
            # The one that the PACS was silent on would be so again; those behind it were never asked.
            in_flight = next((number for number, result in enumerate(results) if result.lost), None)
            if in_flight is not None:
                failure = f"no answer for {timeouts.silence_timeout_s:g} s (--silence_timeout)"
                results[in_flight] = replace(results[in_flight], lost=False, failure=failure)
        return results


def _listen(finds: Sequence[_Find], silence_timeout_s: float) -> None:
    """Takes what the tools have to say, in turn, until all have ended."""
    news = {find: find.process.news(silence_timeout_s) for find in finds}
    while news:
        heard = False
        for find in list(news):
            data = next(news[find], None)
            if data is None:
                del news[find]
            elif data:
                heard = True
                find.hear(data)
        if news and not heard:
            time.sleep(_POLL_S)


class Move:
    """A running movescu: poll it for what its requests have come to."""

    def __init__(self, requests: tuple[MoveRequest, ...], process: Process, folder: Path) -> None:
        self.requests = requests
        self.process = process
        self._folder = folder
        self._output = process.log_path.open("rb")
        self._transcript = MoveTranscript()
        self._states = [MoveState(index) for index in range(len(requests))]
        self.heard = time.monotonic()
        self.ended = False

    def poll(self) -> list[MoveState]:
        """The states that became final since the last call; after the process's end, all that remain."""
        exit_status = self.process.poll()
        data = self._output.read()
        if data:
            self.heard = time.monotonic()
        final = []
        for state in self._transcript.feed(data):
            if not self._states[state.request].final:
                self._states[state.request] = state
                if state.final:
                    final.append(state)
        if exit_status is not None and not self.ended:
            self.ended = True
            words = self._unanswered()
            final += [replace(state, status=None, words=words) for state in self._states if not state.final]
        return final

    @property
    def associated(self) -> bool:
        """Whether the PACS answered at all, pending responses included."""
        return any(state.status is not None for state in self._states)

    @property
    def admitted(self) -> bool:
        """Whether the PACS accepted the association."""
        return self._transcript.accepted

    @property
    def rejected(self) -> bool:
        """Whether the PACS answered the association request with a rejection."""
        return any("Association Rejected" in line for line in self.process.last_lines())

    @property
    def completed(self) -> int:
        """Sub-operations completed so far, over all requests."""
        return sum(state.completed or 0 for state in self._states)

    def close(self) -> None:
        """Ends the process if it runs, and removes identifiers and log."""
        self.process.end()
        self._output.close()
        _remove(self._folder)

    def _unanswered(self) -> str:
        reasons = [line[3:] for line in self.process.last_lines() if line.startswith(("E: ", "F: "))]
        name = self.process.name
        return "; ".join(reasons) or f"{name} ended ({self.process.poll()}) without a final response"


class Get(Move):
    """A running getscu: what it has stored is put under names of its own among the received objects at each poll."""

    def __init__(self, request: MoveRequest, process: Process, folder: Path, received: Path) -> None:
        super().__init__((request,), process, folder)
        self._received = received
        self._stored = 0

    def poll(self) -> list[MoveState]:
        """As `Move.poll`."""
        states = super().poll()
        for name, sop_class in self._transcript.stored:
            # Another object of the same UID may be written to the old name from now on.
            self._stored += 1
            target = f"{profile.file_prefix(sop_class)}.{self._folder.name}.{self._stored}"
            if Path(name).parent == Path(_INCOMING):
                with contextlib.suppress(FileNotFoundError):
                    (self._folder / name).rename(self._received / target)
        self._transcript.stored.clear()
        return states

    def close(self) -> None:
        """As `Move.close`; what came whole until then is kept."""
        self.process.end()
        self.poll()
        super().close()


def peer_arguments(config: PacsConfig, timeouts: Timeouts) -> list[str]:
    """The arguments of every SCU: time-outs in whole seconds from 1, AE titles, host and port."""
    return [
        *("-to", str(max(1, round(timeouts.tcp_timeout_s)))),
        *("-ta", str(max(1, round(timeouts.acse_timeout_s)))),
        *("-aet", config.aet, "-aec", config.server_aet),
        *(config.server_address, str(config.port)),
    ]


def association_error(
    config: PacsConfig, process: Process, *, answered: bool | None = None
) -> AssociationError:
    """The error for a tool that ended before any final response, with what its log says and a remedy.

    `answered`: whether there were pending ones; a PACS that admits a stranger and hangs up at his first word is no
    temporary fault. None: not known.
    """
    peer = f"{config.server_aet} at {config.server_address}:{config.port}"
    if process.silenced:
        return AssociationError(f"{peer} accepted the association as {config.aet} and was then silent")
    lines = process.last_lines()
    errors = [line[3:].strip(" :") for line in lines if line.startswith(_REASONS)]
    said = "; ".join(filter(None, errors)) or "no reason given"
    admitted = any(_ACCEPTED in line for line in lines) and _NO_GET not in said
    what = "lost the association with" if admitted else "no association with"
    return AssociationError(
        f"{what} {peer} as {config.aet}: {said}",
        temporary=_TRANSIENT in said or (admitted if answered is None else answered),
        remedy=_remedy(said, config),
    )


def encode_identifier(keys: Keys) -> bytes:
    """An identifier as a DICOM file for findscu and movescu; the character set is the least that holds all values.

    None for ASCII, ISO_IR 100 where it suffices, else ISO_IR 192 (PS3.5 6.1.2.3).
    """
    text = "".join(value for keyword, value in keys.items() if ATTRIBUTES[keyword].vr in _TEXT_VRS)
    character_set, _ = part10.encode_text(text)
    codec = {"ISO_IR 100": "latin-1", "ISO_IR 192": "utf-8"}.get(character_set, "ascii")
    elements = [
        (ATTRIBUTES[keyword].tag, ATTRIBUTES[keyword].vr, value.encode(codec, "replace"))
        for keyword, value in keys.items()
    ]
    if character_set:
        elements.append((ATTRIBUTES["SpecificCharacterSet"].tag, "CS", character_set.encode()))
    return part10.encode(elements)


def _read_answer(path: Path, keys: Collection[str]) -> Values:
    tags = {keyword: ATTRIBUTES[keyword].tag for keyword in (*keys, "SpecificCharacterSet")}
    file = part10.read(path, set(tags.values()))
    return PackedValues({keyword: file.text(tag) for keyword, tag in tags.items()})


def _result(answers: list[Values], end: tuple[int, str] | None) -> FindResult:
    if end is None:
        return FindResult(tuple(answers), None, "the association ended before the final response", lost=True)
    status, words = end
    return FindResult(tuple(answers), status, None if status == SUCCESS else f"C-FIND ended with {words!r}")


def own_place(config: PacsConfig) -> str:
    """Where the PACS must send to, in words: the address of this machine that leads to it, and the receive port."""
    address = ""
    with contextlib.suppress(OSError):
        family, kind, protocol, _, peer = socket.getaddrinfo(
            config.server_address, config.port, type=socket.SOCK_DGRAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # Connecting a datagram socket sends nothing; it only chooses the way.
            probe.connect(peer)
            address = f" ({probe.getsockname()[0]})"
    return f"this machine's address{address} and port {config.move_port}"


def _remedy(said: str, config: PacsConfig) -> str:
    declare = f"ask the PACS administrator to declare the AE title {config.aet} with {own_place(config)}"
    hints = {
        "Called AE Title": f"Check server_AET ({config.server_aet}) in the config; where it is right, {declare}: "
        "some PACS do not tell an unknown caller from an unknown name.",
        "Calling AE Title": f"{declare[0].upper()}{declare[1:]}.",
        _NO_GET: f"Ask the PACS administrator to allow C-GET to {config.aet}, or retrieve by C-MOVE "
        "(--retrieve_method move).",
        "Presentation Context": f"The PACS does not offer this service to {config.aet}: ask its administrator "
        "to allow query and retrieve (C-FIND, C-MOVE).",
        "refused": "Check server_address and port, and that the PACS runs.",
        "read timeout": "Something listens there but does not answer: check that port is the PACS's DICOM port.",
        "timed out": "Check server_address, port and the firewall.",
        "unknown host": "Check the spelling of server_address.",
        "aborted": f"The PACS breaks off what {config.aet} begins: {declare}.",
    }
    return next(
        (hint for word, hint in hints.items() if word in said), "Check server_address, port and AE titles."
    )


def _remove(folder: Path) -> None:
    """Removes a working folder of files and at most one level of folders."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            _remove(path) if path.is_dir() else path.unlink()
        folder.rmdir()
