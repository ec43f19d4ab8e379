"""`Pacs`: the verbs echo, find and move towards one PACS, by DCMTK's echoscu, findscu and movescu.

Success is read from final statuses in the tools' logs, never from exit statuses: findscu took 100,000 answers well
and then exited 2 because the release failed, and exits 0 after failed requests.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pacsifier import part10
from pacsifier.config import PacsConfig
from pacsifier.dcmtk.process import Process, Toolbox
from pacsifier.dcmtk.transcript import SUCCESS, Answer, FindTranscript, MoveState, MoveTranscript
from pacsifier.errors import AssociationError
from pacsifier.query.attributes import ATTRIBUTES

Keys = Mapping[str, str]
Values = Mapping[str, "str | None"]

_TCP_TIMEOUT_S = 30
_ACSE_TIMEOUT_S = 30
_TEXT_VRS = frozenset({"LO", "SH", "PN", "LT", "ST", "UT", "UC"})


@dataclass(frozen=True)
class FindResult:
    """What one C-FIND identifier brought: the answers (keyword -> value, None: key absent) and the end.

    An empty list with `failure` None is an honest "nothing matches"; `failure` says why there is no honest answer.
    """

    answers: tuple[Values, ...]
    status: int | None
    failure: str | None


@dataclass(frozen=True)
class MoveRequest:
    """One C-MOVE identifier: a whole study, or those of its series that are named."""

    study_uid: str
    series_uids: tuple[str, ...] = ()

    def keys(self) -> Keys:
        """The identifier's keys (PS3.4 C.4.2.1.4.2); Study Root."""
        if not self.series_uids:
            return {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": self.study_uid}
        return {
            "QueryRetrieveLevel": "SERIES",
            "StudyInstanceUID": self.study_uid,
            "SeriesInstanceUID": "\\".join(self.series_uids),
        }


class Pacs:
    """One PACS as its config names it; the tools work in folders below `staging`."""

    def __init__(
        self, config: PacsConfig, toolbox: Toolbox, staging: Path, silence_timeout_s: float = 1800
    ) -> None:
        self.config = config
        self._toolbox = toolbox
        self._staging = staging
        self._silence_timeout_s = silence_timeout_s
        self._runs = 0

    def find(self, level: str, requests: Sequence[Keys]) -> list[FindResult]:
        """Asks all identifiers at one level (STUDY, SERIES, IMAGE; Study Root) over one association.

        A failed request is a `FindResult` with a failure; the others stand.

        Raises:
            AssociationError: there was no association at all.
        """
        if not requests:
            return []
        wanted = [{"QueryRetrieveLevel": level, **keys} for keys in requests]
        folder, names = self._write_identifiers("find", wanted)
        (folder / "answers").mkdir()
        arguments = ["-v", "-S", "-X", "-od", "answers", *peer_arguments(self.config), *names]
        process = self._toolbox.start("findscu", arguments, folder, "findscu")
        answers: list[list[Values]] = [[] for _ in requests]
        ends: dict[int, tuple[int, str]] = {}
        transcript = FindTranscript()
        for data in process.follow(self._silence_timeout_s):
            for event in transcript.feed(data):
                if isinstance(event, Answer):
                    path = folder / event.name
                    answers[event.request].append(_read_answer(path, wanted[event.request]))
                    path.unlink()
                else:
                    ends[event.request] = event.status, event.words
        if not ends:
            raise self.no_association(process)
        _remove(folder)
        return [_result(answers[index], ends.get(index)) for index in range(len(requests))]

    def move(self, requests: Sequence[MoveRequest], destination: str) -> Move:
        """Starts C-MOVE of the requests, one after the other over one association, to an AE title."""
        folder, names = self._write_identifiers("move", [request.keys() for request in requests])
        arguments = ["-d", "-S", "-aem", destination, *peer_arguments(self.config), *names]
        process = self._toolbox.start("movescu", arguments, folder, "movescu")
        return Move(tuple(requests), process, folder)

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
        """Whether the PACS answered at all."""
        return any(state.status is not None for state in self._states)

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
        return "; ".join(reasons) or f"movescu ended ({self.process.poll()}) without a final response"


def peer_arguments(config: PacsConfig) -> list[str]:
    """The arguments of every SCU: time-outs, AE titles, host and port."""
    return [
        *("-to", str(_TCP_TIMEOUT_S), "-ta", str(_ACSE_TIMEOUT_S)),
        *("-aet", config.aet, "-aec", config.server_aet),
        *(config.server_address, str(config.port)),
    ]


def association_error(config: PacsConfig, process: Process) -> AssociationError:
    """The error for a tool that ended before any response, with what its log says and a remedy."""
    lines = [line[3:] for line in process.last_lines() if line.startswith(("F: ", "E: "))]
    said = "; ".join(line.strip() for line in lines if line.strip()) or "no reason given"
    return AssociationError(
        f"no association with {config.server_aet} at {config.server_address}:{config.port} "
        f"as {config.aet}: {said}. {_remedy(said)}"
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
    return {keyword: file.text(tag) for keyword, tag in tags.items()}


def _result(answers: list[Values], end: tuple[int, str] | None) -> FindResult:
    if end is None:
        return FindResult(tuple(answers), None, "the association ended before the final response")
    status, words = end
    return FindResult(tuple(answers), status, None if status == SUCCESS else f"C-FIND ended with {words!r}")


def _remedy(said: str) -> str:
    hints = {
        "Called AE Title": "Check server_AET in the config, and that the PACS knows the AE title AET.",
        "Calling AE Title": "Ask the PACS administrator to declare the AE title AET with this machine's address.",
        "refused": "Check server_address and port, and that the PACS runs.",
        "timed out": "Check server_address, port and the firewall.",
        "lookup": "Check the spelling of server_address.",
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
